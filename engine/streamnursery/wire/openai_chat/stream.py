"""The answer of an OpenAI chat server: bytes to stream events, in any pieces.

Rule 1: framing, bounds and the end of the body are `SseStream`'s.
Rule 2: complete is what `evidence.OPENAI_CHAT` calls complete. `[DONE]` gives `Finished` at once;
        finish reasons alone give it at a clean end.
Rule 3: an error object ends the stream wherever it stands; what came before it is delivered.
Rule 4: what says nothing gives no event: empty text, a role, a finish reason said twice, a usage
        that repeats the last one. The last usage counts.
Rule 5: tolerated: bytes that are not UTF-8 (U+FFFD), lone surrogates (U+FFFD), blank data, unknown
        fields, JSON of another shape that can be read one way only. Anything else that is no
        JSON object is a `MalformedChunkError`.
        Events that are named as pings are none of ours, whatever they hold.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from streamnursery.values.events import (
    CONTENT,
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.error_answers import (
    error_in_stream,
    is_complaint,
    is_error,
)
from streamnursery.wire.evidence import OPENAI_CHAT, OPENAI_CHAT_FAILURES, Sign, complete
from streamnursery.wire.finish_kinds import OPENAI_CHAT_KINDS, finish_kind
from streamnursery.wire.json_text import SURROGATE, read_json
from streamnursery.wire.openai_chat.chunk import (
    DECODE_ERRORS,
    MAX_CHOICES,
    Chunk,
    ChunkChoice,
    Delta,
    NamedChunk,
    decode,
    decode_named,
    decode_patiently,
    decode_text,
)
from streamnursery.wire.openai_chat.tool_calls import ToolCalls
from streamnursery.wire.sse_stream import DONE_MARK, MAX_TOOL_CALLS, SseStream
from streamnursery.wire.token_counts import read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamnursery.values.errors import (
        EngineError,
    )
    from streamnursery.values.usage import Usage
    from streamnursery.wire.sse import Record
    from streamnursery.wire.sse_stream import Event

_SAYS = frozenset((*CONTENT, ChoiceFinished))
_NULL = msgspec.Raw(b"null")
PINGS = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})


class OpenAIChatStream(SseStream):
    """`StreamDecoder` for one answer with `n` choices."""

    __slots__ = (
        "_begun",
        "_decode",
        "_expect_text",
        "_foreign",
        "_halves",
        "_logprobs",
        "_reasons",
        "_records",
        "_refused",
        "_said",
        "_sse",
        "_tools",
        "_usage",
        "done",
        "failure",
        "response_id",
        "response_model",
        "trailing",
    )

    what = "chunks"

    def __init__(self, n: int = 1, *, logprobs: bool = False) -> None:
        """`logprobs`: the request asked for them."""
        self.open()
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self._decode: Callable[[bytes], Chunk] = decode_named
        self._expect_text = False
        self._logprobs = logprobs
        self._said = False
        self._refused = False
        """Choice 0 has refused."""
        self._halves: dict[tuple[type, int, int], str] | None = None
        """The first half of a surrogate pair, by where the other one will come; rare."""
        self._reasons: dict[int, str | None] = dict.fromkeys(range(n))
        self._begun = 0
        """A bit for each choice that has had a delta."""
        self._tools: dict[int, ToolCalls] | None = None
        """Most answers call none."""
        self._usage: Usage | None = None

    @property
    def cursor(self) -> None:
        """Chat completions are not kept: there is nothing to read on in."""
        return

    def take_all(self, records: list[Record], events: list[StreamEvent]) -> int:
        # As the base's, with the chunk that most chunks are decoded here: a call less per token.
        for taken, record in enumerate(records, 1):
            if self._expect_text and type(record) is bytes:
                self._records += 1
                try:
                    text = decode_text(record).choices[0].delta.content
                except DECODE_ERRORS:
                    self._expect_text = False
                    self.take(record, events)
                else:
                    if text:
                        events.append(TextDelta(text))
                    continue
            else:
                self.take_record(record, events)
            if self.done or self.failure is not None:
                return taken
        return len(records)

    def finished_at_end(self, events: list[StreamEvent]) -> bool:
        signs = {Sign.CLEAN_END}
        if all(self._reasons.values()):
            signs.add(Sign.EVERY_CHOICE_FINISHED)
        return self._finish(signs, events)

    def take_whole(self, value: dict[str, Any], events: list[StreamEvent]) -> bool:
        try:
            self._take(decode_patiently(json.dumps(value).encode()), b"", events)
        except (ValueError, RecursionError):
            return False
        return self.failure is None and self.finished_at_end(events)

    def lacking(self) -> str:
        if not self._said:
            return "without content and without a finish_reason"
        choices = ", ".join(str(i) for i, reason in self._reasons.items() if not reason)
        return f"without [DONE] and without a finish_reason for choice {choices}"

    def take(self, record: Event, events: list[StreamEvent]) -> None:
        data, name = (record, "") if isinstance(record, bytes) else (record.data, record.event)
        before = len(events)
        if name in PINGS:
            return
        if name == "error":
            told = read_json(data) or data.decode("utf-8", "replace")
            self.failure = error_in_stream(told, data)
            return
        try:
            chunk = self._decode(data)
        except DECODE_ERRORS:
            self._take_odd(data.strip(), events)
        else:
            self._take(chunk, data, events)
        self._said = self._said or any(type(event) in _SAYS for event in events[before:])
        # Text follows text, and reasoning reasoning: one miss in each run is cheap.
        self._expect_text = (
            self._decode is decode
            and not (self._halves or self._logprobs)
            and len(events) > before
            and type(event := events[-1]) is TextDelta
            and event.index == 0
        )

    def _take(self, chunk: Chunk, data: bytes, events: list[StreamEvent]) -> None:
        if isinstance(chunk, NamedChunk):
            self._take_names(chunk)
        error, usage = chunk.error, chunk.usage
        if chunk.x_groq is not None:
            error = error or chunk.x_groq.get("error")
            usage = usage or chunk.x_groq.get("usage")
        for place, choice in enumerate(chunk.choices or ()):
            self._take_choice(choice, place, events)
            error = error or choice.error
            if choice.finish_reason is not None:
                error = error or _failure_told(choice.finish_reason)
            usage = usage or choice.usage
        if isinstance(usage, dict):
            self._take_usage(usage, events)
        if error:
            self.failure = error_in_stream({"error": error}, data)
        elif not chunk.choices and (chunk.usage is None or not _names_no_error(data)):
            value = read_json(data)
            if is_error(value) or is_complaint(value):
                self.failure = error_in_stream(value, data)

    def _take_odd(self, data: bytes, events: list[StreamEvent]) -> None:
        """What the fast decoding refused: the end mark, blank data, another shape, no JSON."""
        if data == DONE_MARK:
            signs = {Sign.END_MARK} | ({Sign.SAID} if self._said else set())
            if not self._finish(signs, events):
                self.failure = self._incomplete(at_mark=True)
        elif data:
            try:
                chunk = decode_patiently(data)
            except (ValueError, RecursionError):
                if not self.take_lines(data, events):
                    self.failure = self.malformed(data, "chat completion chunk")
            else:
                self._take(chunk, data, events)

    def _take_usage(self, raw: dict[str, Any], events: list[StreamEvent]) -> None:
        usage = read_usage(raw)
        if usage is not None and (self._usage is None or usage != self._usage):
            self._usage = usage
            events.append(UsageReport(usage))

    def _take_names(self, chunk: NamedChunk) -> None:
        # Some servers send another id with every chunk: the first one stands. Azure opens with
        # a chunk that has neither choices nor names; who has none with its first choice never has.
        self.response_id = self.response_id or chunk.id or None
        self.response_model = self.response_model or chunk.model or None
        if chunk.choices:
            self._decode = decode

    def _take_choice(self, choice: ChunkChoice, place: int, events: list[StreamEvent]) -> None:
        index = place if choice.index is None else choice.index
        if index >= MAX_CHOICES:
            self.failure = self.too_many("choices", MAX_CHOICES)
            return
        known = self._reasons.setdefault(index, None)
        delta = choice.delta
        if delta is None and not self._begun & 1 << index:
            delta = choice.message  # of a choice that has deltas it would repeat them
        if delta is not None:
            self._begun |= 1 << index
            self._take_delta(delta, index, events)
        reason = choice.finish_reason
        if self._logprobs and len(memoryview(choice.logprobs)) and choice.logprobs != _NULL:
            events.append(OpaquePart(index, "logprobs", choice.logprobs))
        if reason and not _failure_told(reason) and known is None:
            self._reasons[index] = reason
            events.append(ChoiceFinished(index, reason))

    def _take_delta(self, delta: Delta, index: int, events: list[StreamEvent]) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if not reasoning and delta.reasoning_details:
            reasoning = "".join(d.text or d.summary or "" for d in delta.reasoning_details)
        if reasoning:
            self._say(ReasoningDelta, reasoning, index, events)
        if delta.content:
            self._say(TextDelta, delta.content, index, events)
        if delta.refusal:
            self._say(RefusalDelta, delta.refusal, index, events)
            self._refused = self._refused or index == 0
        if delta.opaque:
            events += [OpaquePart(index, kind, data) for kind, data in delta.opaque]
        if delta.tool_calls or delta.function_call is not None:
            try:
                self._take_tools(delta, index, events)
            except OverflowError:
                self.failure = self.too_many("tool calls", MAX_TOOL_CALLS)

    def _take_tools(self, delta: Delta, index: int, events: list[StreamEvent]) -> None:
        self._tools = self._tools or {}
        calls = self._tools.setdefault(index, ToolCalls())
        pieces = delta.tool_calls or ()
        found = [event for p, piece in enumerate(pieces) for event in calls.take(piece, p, index)]
        if delta.function_call is not None:
            legacy = calls.legacy(delta.function_call, index)
            found += [] if legacy is None else [legacy]
        for event in found:
            if type(event) is ToolCallDelta and event.arguments:
                whole = self._joined((ToolCallDelta, index, event.tool_index), event.arguments)
                event = msgspec.structs.replace(event, arguments=whole)
            events.append(event)

    def _say(
        self,
        kind: type[TextDelta | ReasoningDelta | RefusalDelta],
        text: str,
        index: int,
        events: list[StreamEvent],
    ) -> None:
        text = self._joined((kind, index, 0), text)
        if text:
            events.append(kind(text, index))

    def _joined(self, place: tuple[type, int, int], text: str) -> str:
        """`text` behind the half of a surrogate pair that came before it at `place`; a first half
        at its end waits for the other one. Servers that cut text by UTF-16 units send such."""
        if not self._halves and not SURROGATE.search(text):
            return text
        halves = self._halves = self._halves or {}
        text = halves.pop(place, "") + text
        if "\ud800" <= text[-1:] <= "\udbff":
            halves[place] = text[-1]
            text = text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _let_halves_go(self, events: list[StreamEvent]) -> None:
        """The answer has ended without the other halves."""
        for kind, index, tool in self._halves or {}:
            if kind is ToolCallDelta:
                events.append(ToolCallDelta(tool, None, None, "\ufffd", index))
            else:
                events.append(kind("\ufffd", index))
        self._halves = None

    def _finish(self, signs: set[Sign], events: list[StreamEvent]) -> bool:
        if complete(OPENAI_CHAT, signs):
            self.done = True
            self._let_halves_go(events)
            reason, calls = self._reasons.get(0), 0 in (self._tools or ())
            kind = finish_kind(OPENAI_CHAT_KINDS, reason, calls=calls, refused=self._refused)
            events.append(Finished(reason, kind))
        return self.done


def _names_no_error(data: bytes) -> bool:
    """Whether a chunk with usage cannot be an error as well, which would say so in plain letters:
    nearly every stream has one such chunk, and it need not be parsed a second time."""
    return b"error" not in data and b"\\" not in data


def _failure_told(reason: str | None) -> dict[str, str] | None:
    """The error that a finish reason stands for, if it stands for one."""
    if reason is None or reason.lower() not in OPENAI_CHAT_FAILURES:
        return None
    told = {"message": f"finish_reason {reason}"}
    return told if reason == "error" else told | {"code": reason.lower()}
