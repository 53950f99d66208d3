"""The answer of an Anthropic Messages server: bytes to stream events, in any pieces.

Rule 1: framing, bounds and the end of the body are `SseStream`'s.
Rule 2: complete is what `evidence.ANTHROPIC_MESSAGES` calls complete: `message_stop` and nothing
        else, with every block closed.
Rule 3: a second `message_start` belongs to another answer, which some proxy has spliced in: the
        stream fails there.
Rule 4: text, thoughts and calls of the caller's tools have events. Any other block is handed on
        whole as an `OpaquePart` when it ends, so that it can come back. Of a thinking block that
        part has the signature; its text was delivered.
Rule 5: a tool of the server's is not a call of the caller's: its blocks are opaque, and do not
        count among the caller's calls.
Rule 6: events and deltas that are not known say nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from streamnursery.values.errors import MalformedChunkError
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.anthropic_messages.event import (
    DECODE_ERRORS,
    BlockDelta,
    Event,
    JsonPiece,
    TextPiece,
    ThinkingPiece,
    decode_delta,
    decode_event,
)
from streamnursery.wire.anthropic_messages.usage import merged, read_usage
from streamnursery.wire.error_answers import error_in_stream, is_error
from streamnursery.wire.evidence import ANTHROPIC_MESSAGES, Sign, complete
from streamnursery.wire.finish_kinds import ANTHROPIC_MESSAGES_KINDS, finish_kind
from streamnursery.wire.json_text import as_raw, clean, excerpt, read_json
from streamnursery.wire.sse import MAX_EVENT, ServerSentEvent
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS, SseStream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.usage import Usage
    from streamnursery.wire.sse import Record
    from streamnursery.wire.sse_stream import Event as SseEvent

MAX_BLOCKS = 65_536
"""Of one answer."""
_DIRECT = {"type": "direct"}
"""Who calls a tool, where it is the model itself."""


class _Block:
    """A content block that has begun."""

    __slots__ = ("told", "tool", "value")

    def __init__(self, value: dict[str, Any], tool: int | None = None) -> None:
        self.value = value
        """As it came; deltas of opaque blocks are added to it."""
        self.tool = tool
        """Which call of the caller's tools it is."""
        self.told: list[str] | None = None
        """Pieces of an opaque block's input; of a call an empty list, once there was one."""


class AnthropicMessagesStream(SseStream):
    """`StreamDecoder` for one answer."""

    __slots__ = (
        "_begun",
        "_blocks",
        "_calls",
        "_count",
        "_expect_delta",
        "_foreign",
        "_kept",
        "_reason",
        "_records",
        "_sse",
        "_told",
        "_usage",
        "done",
        "failure",
        "response_id",
        "response_model",
        "trailing",
    )

    what = "events"

    def __init__(self) -> None:
        self.open()
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self._begun = False
        """`message_start` was seen."""
        self._expect_delta = False
        self._blocks: dict[int, _Block] = {}
        """Those that are open, by their index."""
        self._count = 0
        """Blocks so far."""
        self._calls = 0
        """Of the caller's tools."""
        self._kept = 0
        """Characters of opaque blocks that are open."""
        self._reason: str | None = None
        self._told: dict[str, Any] = {}
        """The provider's counts."""
        self._usage: Usage | None = None

    @property
    def cursor(self) -> None:
        """Messages are not kept: there is nothing to read on in."""
        return

    @property
    def buffered(self) -> int:
        return self._sse.buffered + self._kept

    def take_all(self, records: list[Record], events: list[StreamEvent]) -> int:
        # As the base's, with the event that most events are decoded here: a call less per token.
        for taken, record in enumerate(records, 1):
            data = record.data if type(record) is ServerSentEvent else record
            if self._expect_delta and type(data) is bytes:
                try:
                    delta = decode_delta(data)
                except DECODE_ERRORS:
                    self._expect_delta = False
                else:
                    self._records += 1
                    piece = delta.delta
                    if type(piece) is TextPiece:
                        if piece.text:
                            events.append(TextDelta(piece.text))
                    else:
                        self._take_piece(delta, events)
                        if self.failure is not None:
                            return taken
                    continue
            self.take_record(record, events)
            if self.done or self.failure is not None:
                return taken
        return len(records)

    def take(self, record: SseEvent, events: list[StreamEvent]) -> None:
        data, name = (record, "") if isinstance(record, bytes) else (record.data, record.event)
        try:
            event = decode_event(data)
        except (ValueError, RecursionError):
            self._take_unreadable(name, data)
        else:
            self._take_event(event, name, data, events)

    def _take_unreadable(self, name: str, data: bytes) -> None:
        if name == "error":
            self.failure = error_in_stream(data.decode("utf-8", "replace"), data)
        elif data.strip() and name != "ping":
            self.failure = self.malformed(data, "event of the Messages API")

    def _take_event(self, event: Event, name: str, data: bytes, events: list[StreamEvent]) -> None:
        kind = event.type or ("" if name == "message" else name)
        match kind:
            case "content_block_delta":
                self._take_delta(event, events)
            case "content_block_start":
                self._take_start(event, events)
            case "content_block_stop":
                self._take_stop(event.index or 0, events)
            case "message_start":
                self._begin(event.message or {}, data, events)
            case "message_delta":
                self._take_message_delta(event, events)
            case "message_stop":
                self._end(data, events)
            case "ping":
                pass
            case _:
                self._take_unknown(kind, event, data)

    def take_whole(self, value: dict[str, Any], events: list[StreamEvent]) -> bool:
        """A message that is not streamed."""
        if value.get("type") != "message" or not isinstance(value.get("content"), list):
            return False
        self._begin(value, b"", events)
        self._end(b"", events)
        return self.done

    def lacking(self) -> str:
        return "without message_stop"

    # The message. -------------------------------------------------------------------------------

    def _begin(self, message: dict[str, Any], data: bytes, events: list[StreamEvent]) -> None:
        if self._begun:
            msg = "a second message_start came in the stream: two answers were spliced together"
            self.failure = MalformedChunkError(msg, status=200, body=excerpt(data, 200))
            return
        self._begun = self._expect_delta = True
        self.response_id = _text(message.get("id")) or None
        self.response_model = _text(message.get("model")) or None
        content, usage = message.get("content"), message.get("usage")
        if isinstance(usage, dict) and not content:
            # What it has put out so far, which is not a count of the answer.
            usage = {name: value for name, value in usage.items() if name != "output_tokens"}
        self._take_usage(usage, events)
        self._reason = _text(message.get("stop_reason")) or None
        # Usually empty; a turn that goes on after a tool's result may hold what it had said.
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if isinstance(block, dict):
                self._take_start(Event(index=index, content_block=block), events)
                self._take_stop(index, events)

    def _take_message_delta(self, event: Event, events: list[StreamEvent]) -> None:
        delta = event.delta or {}
        self._reason = _text(delta.get("stop_reason")) or self._reason
        details = delta.get("stop_details")
        if isinstance(details, dict):
            events.append(OpaquePart(0, "stop_details", as_raw(details)))
        self._take_usage(event.usage, events)

    def _take_usage(self, raw: object, events: list[StreamEvent]) -> None:
        if not isinstance(raw, dict):
            return
        self._told = merged(self._told, raw)
        usage = read_usage(self._told)
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(UsageReport(usage))

    def _end(self, data: bytes, events: list[StreamEvent]) -> None:
        if self._blocks:
            msg = f"message_stop came before the end of content block {min(self._blocks)}"
            self.failure = MalformedChunkError(msg, status=200, body=excerpt(data, 200))
        elif not self._begun:
            self.failure = self._incomplete(at_mark=True)
        elif complete(ANTHROPIC_MESSAGES, {Sign.END_MARK}):
            reason = self._reason
            calls = self._calls > 0
            kind = finish_kind(ANTHROPIC_MESSAGES_KINDS, reason, calls=calls, refused=False)
            self.done = True
            events += [] if reason is None else [ChoiceFinished(0, reason)]
            events.append(Finished(reason, kind))

    def _take_unknown(self, kind: str, event: Event, data: bytes) -> None:
        if kind == "error" or event.error:
            self.failure = error_in_stream(read_json(data), data)
        elif not kind and is_error(value := read_json(data)):
            self.failure = error_in_stream(value, data)

    # Blocks. ------------------------------------------------------------------------------------

    def _take_start(self, event: Event, events: list[StreamEvent]) -> None:
        block, index = event.content_block or {}, event.index or 0
        self._count += 1
        if self._count > MAX_BLOCKS:
            self.failure = self.too_many("blocks", MAX_BLOCKS)
            return
        self._expect_delta = True
        match block.get("type"):
            case "text":
                self._say(TextDelta, block.get("text"), events)
                self._blocks[index] = _Block({"type": "text"})
                self._tell_citations(block.get("citations"), events)
            case "thinking":
                self._say(ReasoningDelta, block.get("thinking"), events)
                signature = _text(block.get("signature"))
                self._blocks[index] = _Block({"type": "thinking", "signature": signature})
            case "tool_use":
                self._begin_call(index, block, events)
            case _:
                self._blocks[index] = _Block(dict(block))

    def _begin_call(self, index: int, block: dict[str, Any], events: list[StreamEvent]) -> None:
        if self._calls >= MAX_TOOL_CALLS:
            self.failure = self.too_many("tool calls", MAX_TOOL_CALLS)
            return
        tool, self._calls = self._calls, self._calls + 1
        self._blocks[index] = _Block(block, tool)
        events.append(ToolCallDelta(tool, _text(block.get("id")), _text(block.get("name"))))
        caller = block.get("caller")
        if isinstance(caller, dict) and caller != _DIRECT:
            events.append(OpaquePart(0, "caller", as_raw(caller), tool))

    def _take_piece(self, delta: BlockDelta, events: list[StreamEvent]) -> None:
        piece = delta.delta
        if type(piece) is ThinkingPiece:
            self._say(ReasoningDelta, piece.thinking, events)
        elif type(piece) is JsonPiece and piece.partial_json:
            self._take_json(delta.index, piece.partial_json, events)
        elif type(piece) is TextPiece:
            self._say(TextDelta, piece.text, events)

    def _take_json(self, index: int, text: str, events: list[StreamEvent]) -> None:
        block = self._blocks.get(index)
        if block is None:
            return
        block.told = block.told or []
        if block.tool is not None:
            block.told = block.told or [""]
            events.append(ToolCallDelta(block.tool, arguments=text))
        else:
            block.told.append(text)
            self._keep(len(text))

    def _take_delta(self, event: Event, events: list[StreamEvent]) -> None:
        """A delta that the fast way did not know."""
        delta, index = event.delta or {}, event.index or 0
        block = self._blocks.get(index)
        self._expect_delta = True
        match delta.get("type"):
            case "text_delta":
                self._say(TextDelta, delta.get("text"), events)
            case "thinking_delta":
                self._say(ReasoningDelta, delta.get("thinking"), events)
            case "input_json_delta":
                if text := _text(delta.get("partial_json")):
                    self._take_json(index, text, events)
            case "signature_delta" if block is not None:
                block.value["signature"] = _text(delta.get("signature"))
            case "citations_delta":
                self._tell_citations([delta.get("citation")], events)
            case _ if block is not None and block.tool is None:
                # Of a block that is handed on whole: its fields replace those that it began with.
                more = {name: value for name, value in delta.items() if name != "type"}
                block.value.update(more)
                self._keep(sum(len(v) for v in more.values() if isinstance(v, str)))

    def _take_stop(self, index: int, events: list[StreamEvent]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        value, kind = block.value, _text(block.value.get("type"))
        if block.tool is not None:
            if block.told is None:  # a tool without parameters sends no delta
                whole = json.dumps(value.get("input") or {}, ensure_ascii=False)
                events.append(ToolCallDelta(block.tool, arguments=clean(whole)))
        elif kind == "thinking":
            if value["signature"]:
                events.append(OpaquePart(0, kind, as_raw(value)))
        elif kind != "text":
            self._kept = 0
            if block.told is not None:
                value["input"] = _input("".join(block.told))
            events.append(OpaquePart(0, kind or "block", as_raw(value)))
            if kind == "fallback":
                self._take_fallback(value)

    def _take_fallback(self, block: dict[str, Any]) -> None:
        """Another model answers in place of the one that was asked."""
        target = block.get("to")
        model = target.get("model") if isinstance(target, dict) else None
        self.response_model = _text(model) or self.response_model

    def _keep(self, characters: int) -> None:
        self._kept += characters
        if self._kept > MAX_EVENT:
            self.failure = self.too_many("characters in one block of a server's tool", MAX_EVENT)

    def _tell_citations(self, citations: object, events: list[StreamEvent]) -> None:
        told = citations if isinstance(citations, list) else []
        events += [OpaquePart(0, "citation", as_raw(c)) for c in told if isinstance(c, dict)]

    def _say(
        self, kind: type[TextDelta | ReasoningDelta], text: object, events: list[StreamEvent]
    ) -> None:
        if found := _text(text):
            events.append(kind(found))


def _text(value: object) -> str:
    """Text that encodes as UTF-8; empty for anything else."""
    return clean(value) if isinstance(value, str) else ""


def _input(text: str) -> object:
    """What the pieces of an opaque block's input are together; as text where they are not JSON."""
    return {} if not text.strip() else (read_json(text.encode("utf-8", "replace")) or text)
