"""The answer of an OpenAI chat server: bytes to stream events, in any pieces.

Rule 1: framing, bounds and the end of the body are `SseStream`'s.
Rule 2: complete is what `evidence.OPENAI_CHAT` calls complete. `[DONE]` gives `Finished` at once;
        finish reasons alone give it at a clean end.
Rule 3: an error object ends the stream wherever it stands; what came before it is delivered.
Rule 4: what says nothing gives no event: empty text, a role, a finish reason said twice, a usage
        that repeats the last one. The last usage counts.
Rule 5: tolerated: bytes that are no UTF-8 (U+FFFD), lone surrogates (U+FFFD), blank data, unknown
        fields, JSON of another shape that can be read one way only. Anything else that is no
        JSON object is a `MalformedChunkError`.
        Events that are named as pings are none of ours, whatever they hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from streamnursery.wire.error_answers import (
    error_in_stream,
    is_complaint,
    is_error,
)
from streamnursery.wire.evidence import OPENAI_CHAT, Sign, complete
from streamnursery.wire.json_text import read_json
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

PINGS = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})


class OpenAIChatStream(SseStream):
    """`StreamDecoder` for one answer with `n` choices."""

    __slots__ = (
        "_begun",
        "_decode",
        "_expect_text",
        "_reasons",
        "_records",
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

    def __init__(self, n: int = 1) -> None:
        self.open()
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self._decode: Callable[[bytes], Chunk] = decode_named
        self._expect_text = False
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
            self._records += 1
            if self._expect_text and type(record) is bytes:
                try:
                    text = decode_text(record).choices[0].delta.content
                except DECODE_ERRORS:
                    self._expect_text = False
                else:
                    if text:
                        events.append(TextDelta(text))
                    continue
            self.take(record, events)
            if self.done or self.failure is not None:
                return taken
        return len(records)

    def finished_at_end(self, events: list[StreamEvent]) -> bool:
        signs = {Sign.CLEAN_END}
        if all(self._reasons.values()):
            signs.add(Sign.EVERY_CHOICE_FINISHED)
        return self._finish(signs, events)

    def lacking(self) -> str:
        choices = ", ".join(str(i) for i, reason in self._reasons.items() if not reason)
        return f"without [DONE] and without a finish_reason for choice {choices}"

    def take(self, record: Record, events: list[StreamEvent]) -> None:
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
        # Text follows text, and reasoning reasoning: one miss in each run is cheap.
        self._expect_text = (
            self._decode is decode
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
            error = error or choice.error or (choice.finish_reason == "error" and "error")
        if isinstance(usage, dict):
            self._take_usage(usage, events)
        if error:
            self.failure = error_in_stream({"error": error}, data)
        elif not chunk.choices:
            value = read_json(data)
            if is_error(value) or is_complaint(value):
                self.failure = error_in_stream(value, data)

    def _take_odd(self, data: bytes, events: list[StreamEvent]) -> None:
        """What the fast decoding refused: the end mark, blank data, another shape, no JSON."""
        if data == DONE_MARK:
            self._finish({Sign.END_MARK}, events)
        elif data:
            try:
                chunk = decode_patiently(data)
            except (ValueError, RecursionError):
                self.failure = self.malformed(data, "chat completion chunk")
            else:
                self._take(chunk, data, events)

    def _take_usage(self, raw: dict[str, Any], events: list[StreamEvent]) -> None:
        usage = read_usage(raw)
        if usage is not None and usage != self._usage:
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
        if reason and reason != "error" and known is None:
            self._reasons[index] = reason
            events.append(ChoiceFinished(index, reason))

    def _take_delta(self, delta: Delta, index: int, events: list[StreamEvent]) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if not reasoning and delta.reasoning_details:
            reasoning = "".join(d.text or d.summary or "" for d in delta.reasoning_details)
        if reasoning:
            events.append(ReasoningDelta(reasoning, index))
        if delta.content:
            events.append(TextDelta(delta.content, index))
        if delta.refusal:
            events.append(RefusalDelta(delta.refusal, index))
        if delta.tool_calls or delta.function_call is not None:
            try:
                self._take_tools(delta, index, events)
            except OverflowError:
                self.failure = self.too_many("tool calls", MAX_TOOL_CALLS)

    def _take_tools(self, delta: Delta, index: int, events: list[StreamEvent]) -> None:
        self._tools = self._tools or {}
        calls = self._tools.setdefault(index, ToolCalls())
        pieces = delta.tool_calls or ()
        found = [calls.piece(piece, place, index) for place, piece in enumerate(pieces)]
        if delta.function_call is not None:
            found.append(calls.legacy(delta.function_call, index))
        events += [event for event in found if event is not None]

    def _finish(self, signs: set[Sign], events: list[StreamEvent]) -> bool:
        if complete(OPENAI_CHAT, signs):
            self.done = True
            events.append(Finished(self._reasons.get(0)))
        return self.done
