"""The answer of a Gemini server: bytes to stream events, in any pieces.

Rule 1: framing, bounds and the end of the body are `SseStream`'s.
Rule 2: complete is what `evidence.GEMINI` calls complete: a finish reason for every candidate, and
        a clean end. There is no end mark.
Rule 3: a prompt that was blocked has no candidates: the answer is that refusal, a `ContentError`.
Rule 4: text, thoughts and calls have events; any other part is handed on whole as an `OpaquePart`.
        The signature of a part is one of its own, with how many characters of the text before it
        belong to the signed part, so that it can come back on that part alone.
Rule 5: counts come with every record. The first ones are reported for what the request took, and
        the last ones at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.error_answers import error_in_stream, is_error
from streamnursery.wire.evidence import GEMINI, GEMINI_FAILURES, Sign, complete
from streamnursery.wire.finish_kinds import GEMINI_KINDS, finish_kind
from streamnursery.wire.gemini.calls import GeminiCalls
from streamnursery.wire.gemini.chunk import DECODE_ERRORS, NO_USAGE, decode, decode_text
from streamnursery.wire.gemini.usage import beginning, read_usage
from streamnursery.wire.json_text import as_raw, count, read_json, text_of
from streamnursery.wire.sse import ServerSentEvent
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS, SseStream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.usage import Usage
    from streamnursery.wire.sse import Record
    from streamnursery.wire.sse_stream import Event

MAX_CANDIDATES = 1024
_METADATA = ("citationMetadata", "groundingMetadata", "urlContextMetadata", "logprobsResult")
"""Of a candidate: handed on, and not sent back."""
_UNTOLD = "FINISH_REASON_UNSPECIFIED"
_SAID = ("text", "thought", "thoughtSignature", "partMetadata")
"""Fields of a part that is text."""


class GeminiStream(SseStream):
    """`StreamDecoder` for one answer with `n` candidates."""

    __slots__ = (
        "_calls",
        "_foreign",
        "_fresh",
        "_known",
        "_raw",
        "_reasons",
        "_records",
        "_sse",
        "_usage",
        "done",
        "failure",
        "response_id",
        "response_model",
        "trailing",
    )

    what = "records"

    def __init__(self, n: int = 1) -> None:
        self.open()
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self._reasons: dict[int, str | None] = dict.fromkeys(range(n))
        self._calls: dict[int, GeminiCalls] = {}
        self._raw: msgspec.Raw | dict[str, Any] | None = None
        """The last counts."""
        self._fresh = False
        """They have not been reported."""
        self._usage: Usage | None = None
        self._known = False
        """The answer's names were read, and its first counts."""

    @property
    def cursor(self) -> None:
        """Answers are not kept: there is nothing to read on in."""
        return

    def take_all(self, records: list[Record], events: list[StreamEvent]) -> int:
        # As the base's, with the record that most are decoded here: a call less per token.
        for taken, record in enumerate(records, 1):
            data = record.data if type(record) is ServerSentEvent else record
            if self._known and type(data) is bytes:
                try:
                    chunk = decode_text(data)
                except DECODE_ERRORS:
                    pass
                else:
                    self._records += 1
                    if chunk.usage is not NO_USAGE:
                        self._raw, self._fresh = chunk.usage, True
                    part = chunk.candidates[0].content.parts[0]
                    if part.text:
                        said = ReasoningDelta if part.thought else TextDelta
                        events.append(said(part.text))
                    continue
            self.take_record(record, events)
            if self.done or self.failure is not None:
                return taken
        return len(records)

    def take(self, record: Event, events: list[StreamEvent]) -> None:
        data = record if isinstance(record, bytes) else record.data
        if not data.strip():
            return
        try:
            value = decode(data)
        except (ValueError, RecursionError):
            if is_error(told := read_json(data)):  # in a list, as without alt=sse
                self.failure = error_in_stream(told, data)
            elif not self.take_lines(data, events):
                self.failure = self.malformed(data, "record of the Gemini API")
            return
        self._take(value, data, events)

    def take_whole(self, value: dict[str, Any], events: list[StreamEvent]) -> bool:
        """An answer that is not streamed."""
        if "candidates" not in value:
            return False
        self._take(value, b"", events)
        return self.failure is None and self.finished_at_end(events)

    def finished_at_end(self, events: list[StreamEvent]) -> bool:
        signs = {Sign.CLEAN_END}
        if all(self._reasons.values()):
            signs.add(Sign.EVERY_CHOICE_FINISHED)
        if not complete(GEMINI, signs):
            return False
        self._end_calls(0, events)
        self._tell_usage(events)
        reason = self._reasons[0]
        calls = 0 in self._calls
        kind = finish_kind(GEMINI_KINDS, reason, calls=calls, refused=False)
        self.done = True
        events.append(Finished(reason, kind))
        return True

    def lacking(self) -> str:
        lacking = ", ".join(str(i) for i, reason in self._reasons.items() if not reason)
        return f"without a finishReason for candidate {lacking}"

    def _take(self, value: dict[str, Any], data: bytes, events: list[StreamEvent]) -> None:
        self.response_id = self.response_id or text_of(value.get("responseId")) or None
        self.response_model = self.response_model or text_of(value.get("modelVersion")) or None
        usage = value.get("usageMetadata")
        if isinstance(usage, dict):
            self._raw, self._fresh = usage, True
            self._tell_beginning(events)
        self._known = True
        if is_error(value):
            self.failure = error_in_stream(value, data)
            return
        candidates = value.get("candidates")
        for place, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            if isinstance(candidate, dict) and self.failure is None:
                self._take_candidate(candidate, place, data, events)
        self._take_feedback(value.get("promptFeedback"), data, events)

    def _take_feedback(self, feedback: object, data: bytes, events: list[StreamEvent]) -> None:
        why = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if not why or self.failure is not None:
            return
        self._tell_usage(events)
        words = text_of(feedback.get("blockReasonMessage")) if isinstance(feedback, dict) else ""
        told = f"the prompt was blocked: {text_of(why)}"
        told = f"{told}: {words}" if words else told
        self.failure = error_in_stream({"error": {"code": "prompt_blocked", "message": told}}, data)

    def _take_candidate(
        self, candidate: dict[str, Any], place: int, data: bytes, events: list[StreamEvent]
    ) -> None:
        index = count(candidate.get("index", place))
        if index is None or index >= MAX_CANDIDATES:
            self.failure = self.too_many("candidates", MAX_CANDIDATES)
            return
        self._reasons.setdefault(index, None)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._take_part(part, index, data, events)
        told = [(name, candidate.get(name)) for name in _METADATA]
        events += [OpaquePart(index, name, as_raw(value)) for name, value in told if value]
        reason = text_of(candidate.get("finishReason"))
        if reason and reason != _UNTOLD and self._reasons[index] is None:
            self._take_reason(reason, index, candidate, data, events)

    def _take_reason(
        self,
        reason: str,
        index: int,
        candidate: dict[str, Any],
        data: bytes,
        events: list[StreamEvent],
    ) -> None:
        if reason in GEMINI_FAILURES:
            words = text_of(candidate.get("finishMessage"))
            message = f"finishReason {reason}{f': {words}' if words else ''}"
            self._tell_usage(events)
            self.failure = error_in_stream({"error": {"code": reason, "message": message}}, data)
            return
        self._end_calls(index, events)
        self._reasons[index] = reason
        events.append(ChoiceFinished(index, reason))

    # Parts. -------------------------------------------------------------------------------------

    def _take_part(
        self, part: dict[str, Any], index: int, data: bytes, events: list[StreamEvent]
    ) -> None:
        text, signature = text_of(part.get("text")), part.get("thoughtSignature")
        call = part.get("functionCall")
        if isinstance(call, dict):
            self._take_call(call, signature, index, data, events)
            return
        if part.keys() - frozenset(_SAID):
            kind = next(name for name in part if name not in _SAID)
            events.append(OpaquePart(index, kind, as_raw(part)))
            return
        thought = part.get("thought") is True
        if text:
            events.append((ReasoningDelta if thought else TextDelta)(text, index))
        if isinstance(signature, str):
            told = {"signature": signature, "characters": 0 if thought else len(text)}
            events.append(OpaquePart(index, "thoughtSignature", as_raw(told)))

    def _take_call(
        self,
        call: dict[str, Any],
        signature: object,
        index: int,
        data: bytes,
        events: list[StreamEvent],
    ) -> None:
        calls = self._calls.get(index)
        if calls is None:
            calls = self._calls[index] = GeminiCalls(index, self.response_id or "")
        try:
            events += calls.take(call, signature if isinstance(signature, str) else None)
        except OverflowError:
            self.failure = self.too_many("tool calls", MAX_TOOL_CALLS)
        except ValueError:
            self.failure = self.malformed(data, "record with arguments that can be put together")

    def _end_calls(self, index: int, events: list[StreamEvent]) -> None:
        if index in self._calls:
            events += self._calls[index].end()

    # Counts. ------------------------------------------------------------------------------------

    def _tell_beginning(self, events: list[StreamEvent]) -> None:
        if self._usage is not None:
            return
        usage = self._read()
        if usage is not None and beginning(usage).reported:
            self._usage = beginning(usage)
            events.append(UsageReport(self._usage))

    def _tell_usage(self, events: list[StreamEvent]) -> None:
        usage = self._read() if self._fresh else None
        self._fresh = False
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(UsageReport(usage))

    def _read(self) -> Usage | None:
        raw = self._raw
        if isinstance(raw, msgspec.Raw):
            found = read_json(bytes(raw))
            raw = found if isinstance(found, dict) else None
        return read_usage(raw) if raw else None
