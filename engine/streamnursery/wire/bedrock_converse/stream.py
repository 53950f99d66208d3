"""The answer of a ConverseStream server: bytes to stream events, in any pieces.

Rule 1: framing and checksums are `AwsFrames`'; a body that is text is an error or a whole answer.
Rule 2: complete is what `evidence.BEDROCK_CONVERSE` calls complete: `messageStop`, and behind it
        the counts of `metadata` or a clean end.
Rule 3: nothing is raised. A failure is kept, after the events before it; nothing follows it.
Rule 4: text, thoughts and calls of the caller's tools have events. A block of thoughts comes back
        whole, with its signature, as an `OpaquePart` when it stops; what has no type here is handed
        on as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from streamnursery.values.errors import (
    MAX_BODY,
    EngineError,
    MalformedChunkError,
    TooLargeError,
    TruncatedStreamError,
)
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
from streamnursery.wire.bedrock_converse.frames import MAX_PAYLOAD, AwsFrames, AwsMessage
from streamnursery.wire.bedrock_converse.usage import read_usage
from streamnursery.wire.error_answers import error_from_text, error_in_stream
from streamnursery.wire.evidence import (
    BEDROCK_CONVERSE,
    BEDROCK_CONVERSE_FAILURES,
    Sign,
    complete,
)
from streamnursery.wire.finish_kinds import BEDROCK_CONVERSE_KINDS, finish_kind
from streamnursery.wire.json_text import as_raw, count, excerpt, objects, read_json, text_of
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS

if TYPE_CHECKING:
    from streamnursery.values.usage import Usage

MAX_BLOCKS = 65_536
"""Blocks of one answer."""
_TEXT = (b"{", b"[", b"<")
"""How a body begins that is no frame: the first byte of a frame that may be is 0 or 1."""
_STATUSES = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}


class _Text(msgspec.Struct, gc=False):
    text: str


class _TextPiece(msgspec.Struct, gc=False):
    """A piece of the answer's text, as most messages are. Its types are the check."""

    delta: _Text


_decode_text = msgspec.json.Decoder(_TextPiece).decode
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Block:
    """A block of content as far as it has come."""

    __slots__ = ("call", "kind", "signature", "text")

    def __init__(self, kind: str, call: int | None = None) -> None:
        self.kind = kind
        self.call = call
        self.text: list[str] = []
        self.signature = ""


class BedrockStream:
    """`StreamDecoder` for one answer."""

    cursor = None
    """Answers are not kept: there is nothing to read on in."""

    def __init__(self) -> None:
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self._frames = AwsFrames()
        self._text: bytearray | None = None
        """The body, if it is text."""
        self._max_text = MAX_PAYLOAD
        self._begun = False
        self._messages = 0
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._reason: str | None = None
        self._usage: Usage | None = None

    @property
    def buffered(self) -> int:
        return self._frames.buffered + len(self._text or b"")

    def limit(self, max_event: int) -> None:
        """Bound messages to so many bytes, before the body has begun."""
        self._frames = AwsFrames(max_payload=max_event)
        self._max_text = max_event

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None or not data:
            return events
        if not self._begun:
            self._begun = True
            if data.lstrip()[:1] in _TEXT:
                self._text = bytearray()
        if self._text is not None:
            self._text += data
            if len(self._text) > self._max_text:
                self.failure = _too_many("bytes of text", self._max_text)
            return events
        messages = self._frames.read(data)
        taken = self._take_all(messages, events)
        if self.done or self.failure is not None:
            self.trailing = taken < len(messages)
        else:
            self.failure = self._frames.failure
        return events

    def _take_all(self, messages: list[AwsMessage], events: list[StreamEvent]) -> int:
        """Take messages up to the end of the answer; how many were taken."""
        for taken, message in enumerate(messages, 1):
            self._messages += 1
            if message.headers.get(":event-type") == "contentBlockDelta":
                try:
                    text = _decode_text(message.payload).delta.text
                except _DECODE_ERRORS:
                    pass
                else:
                    if text:
                        events.append(TextDelta(text))
                    continue
            self._take(message, events)
            if self.done or self.failure is not None:
                return taken
        return len(messages)

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        if self._text is not None:
            self._take_text_body(bytes(self._text), events)
            return events
        whole = delimited and not self._frames.buffered
        if self._reason is not None and whole and self._is_complete(Sign.CLEAN_END):
            self._finish(events)
        else:
            self.failure = self._incomplete()
        return events

    def _is_complete(self, sign: Sign) -> bool:
        return complete(BEDROCK_CONVERSE, {Sign.EVERY_CHOICE_FINISHED, sign})

    def _incomplete(self) -> TruncatedStreamError:
        if not self._messages:
            msg = "the provider answered 200 and an event stream without a single event"
        else:
            lacking = "messageStop" if self._reason is None else "metadata or a clean end"
            msg = (
                f"the stream ended after {self._messages} messages without {lacking}: the answer "
                "is not whole"
            )
        return TruncatedStreamError(msg, status=200)

    def _take_text_body(self, body: bytes, events: list[StreamEvent]) -> None:
        value = read_json(body)
        output = value.get("output") if isinstance(value, dict) else None
        message = output.get("message") if isinstance(output, dict) else None
        if not isinstance(value, dict) or not isinstance(message, dict):
            self.failure = error_from_text(body)
            return
        for place, block in enumerate(objects(message.get("content"))):
            self._take_whole(place, block, events)
        self._take_stop(value, body, events)
        if self.failure is None and self._reason is not None:
            self._take_usage(value.get("usage"), events)
            self._finish(events)
        elif self.failure is None:
            self.failure = error_from_text(body)

    # Messages. ----------------------------------------------------------------------------------

    def _take(self, message: AwsMessage, events: list[StreamEvent]) -> None:
        kind = message.headers.get(":message-type", "event")
        if kind != "event":
            self._take_error(kind, message)
            return
        value = read_json(message.payload)
        if not isinstance(value, dict):
            msg = f"message {self._messages - 1} of the stream is no JSON object"
            body = excerpt(message.payload, MAX_BODY)
            self.failure = MalformedChunkError(msg, status=200, body=body)
            return
        name = message.headers.get(":event-type", "")
        place = count(value.get("contentBlockIndex"))
        if name == "messageStop":
            self._take_stop(value, message.payload, events)
        elif name == "metadata":
            self._take_usage(value.get("usage"), events)
            if self._reason is not None and self._is_complete(Sign.END_MARK):
                self._finish(events)
        elif place is None:
            return
        elif name == "contentBlockStart" and isinstance(value.get("start"), dict):
            self._open(place, value["start"], events)
        elif name == "contentBlockDelta" and isinstance(value.get("delta"), dict):
            self._take_delta(place, value["delta"], events)
        elif name == "contentBlockStop":
            self._close(place, events)

    def _take_error(self, kind: str, message: AwsMessage) -> None:
        headers = message.headers
        found = read_json(message.payload)
        value = found if isinstance(found, dict) else {}
        if kind == "exception":
            name, words = headers.get(":exception-type", ""), text_of(value.get("message"))
        else:
            name, words = headers.get(":error-code", ""), headers.get(":error-message", "")
        status = count(value.get("originalStatusCode")) or _STATUSES.get(name)
        words = text_of(value.get("originalMessage")) or words
        told = {"code": name or "internalServerException", "message": words, "status_code": status}
        self.failure = error_in_stream({"error": told}, message.payload)

    def _take_stop(self, value: dict[str, Any], data: bytes, events: list[StreamEvent]) -> None:
        reason = text_of(value.get("stopReason"))
        for place in list(self._blocks):
            self._close(place, events)
        if reason in BEDROCK_CONVERSE_FAILURES:
            told = {"code": "model_error", "message": f"stopReason {reason}"}
            self.failure = error_in_stream({"error": told}, data)
        elif reason and self._reason is None:
            self._reason = reason
            events.append(ChoiceFinished(0, reason))

    def _finish(self, events: list[StreamEvent]) -> None:
        self.done = True
        kind = finish_kind(
            BEDROCK_CONVERSE_KINDS, self._reason, calls=bool(self._calls), refused=False
        )
        events.append(Finished(self._reason, kind))

    def _take_usage(self, raw: object, events: list[StreamEvent]) -> None:
        usage = read_usage(raw) if isinstance(raw, dict) else None
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(UsageReport(usage))

    # Blocks. ------------------------------------------------------------------------------------

    def _open(self, place: int, start: dict[str, Any], events: list[StreamEvent]) -> None:
        tool = start.get("toolUse")
        if not isinstance(tool, dict) or tool.get("type"):
            self._block(place, "own")
            events.append(OpaquePart(0, next(iter(start), "block"), as_raw(start)))
            return
        if self._calls >= MAX_TOOL_CALLS:
            self.failure = _too_many("tool calls", MAX_TOOL_CALLS)
            return
        if self._block(place, "toolUse", self._calls) is None:
            return
        call_id, name = text_of(tool.get("toolUseId")) or None, text_of(tool.get("name")) or None
        events.append(ToolCallDelta(self._calls, call_id, name))
        self._calls += 1

    def _block(self, place: int, kind: str, call: int | None = None) -> _Block | None:
        block = self._blocks.get(place)
        if block is None and len(self._blocks) >= MAX_BLOCKS:
            self.failure = _too_many("blocks of content", MAX_BLOCKS)
            return None
        if block is None or call is not None:
            block = self._blocks[place] = _Block(kind, call)
        return block

    def _take_delta(self, place: int, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        tool, thought = delta.get("toolUse"), delta.get("reasoningContent")
        if isinstance(delta.get("text"), str):
            if delta["text"]:
                events.append(TextDelta(text_of(delta["text"])))
        elif isinstance(thought, dict):
            self._take_thought(place, thought, events)
        elif isinstance(tool, dict):
            block = self._blocks.get(place)
            arguments = text_of(tool.get("input"))
            if block is not None and block.call is not None and arguments:
                events.append(ToolCallDelta(block.call, arguments=arguments))
            elif block is not None and block.kind == "own":
                events.append(OpaquePart(0, "toolUse", as_raw(delta)))
        elif delta:
            events.append(OpaquePart(0, next(iter(delta)), as_raw(next(iter(delta.values())))))

    def _take_thought(self, place: int, thought: dict[str, Any], events: list[StreamEvent]) -> None:
        block = self._block(place, "reasoningContent")
        if block is None:
            return
        if thought.get("redactedContent") is not None:
            told = {"reasoningContent": {"redactedContent": thought["redactedContent"]}}
            events.append(OpaquePart(0, "reasoningContent", as_raw(told)))
        if text := text_of(thought.get("text")):
            block.text.append(text)
            events.append(ReasoningDelta(text))
        block.signature += text_of(thought.get("signature"))

    def _close(self, place: int, events: list[StreamEvent]) -> None:
        block = self._blocks.get(place)
        if block is None or not (block.text or block.signature):
            return
        told: dict[str, Any] = {"text": "".join(block.text)}
        told |= {"signature": block.signature} if block.signature else {}
        events.append(
            OpaquePart(0, "reasoningContent", as_raw({"reasoningContent": {"reasoningText": told}}))
        )
        block.text, block.signature = [], ""

    def _take_whole(self, place: int, block: dict[str, Any], events: list[StreamEvent]) -> None:
        """A block of an answer that is not streamed."""
        tool, thought = block.get("toolUse"), block.get("reasoningContent")
        if isinstance(tool, dict):
            self._open(place, {"toolUse": tool}, events)
            arguments = bytes(as_raw(tool.get("input") or {})).decode()
            self._take_delta(place, {"toolUse": {"input": arguments}}, events)
        elif isinstance(thought, dict):
            inner = thought.get("reasoningText")
            self._take_thought(place, inner if isinstance(inner, dict) else thought, events)
        else:
            self._take_delta(place, block, events)


def _too_many(what: str, bound: int) -> TooLargeError:
    msg = f"the stream has more than {bound:,} {what}: no model answers like that"
    return TooLargeError(msg, status=200)
