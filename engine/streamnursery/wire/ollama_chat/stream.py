"""The answer of an Ollama server: lines of JSON to stream events, in any pieces.

Rule 1: complete is what `evidence.OLLAMA` calls complete: an object whose `done` is true. What
        comes behind it does not count.
Rule 2: nothing is raised. A failure is kept, after the events before it; nothing follows it.
Rule 3: a line that is an error ends the answer, with status 200 and in the middle of it too.
Rule 4: calls come whole. One without an id gets one from its place.
"""

from __future__ import annotations

import json
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
from streamnursery.values.usage import Usage
from streamnursery.wire.error_answers import error_from_text, error_in_stream, is_error
from streamnursery.wire.evidence import OLLAMA, OLLAMA_FAILURES, Sign, complete
from streamnursery.wire.finish_kinds import OLLAMA_KINDS, finish_kind
from streamnursery.wire.json_lines import JsonLines
from streamnursery.wire.json_text import (
    as_raw,
    clean,
    count,
    excerpt,
    finite,
    objects,
    read_json,
    text_of,
)
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS

if TYPE_CHECKING:
    from collections.abc import Mapping

_INERT = frozenset({"role", "content", "thinking", "tool_calls", "tool_name"})
"""Fields of a message that have a type here or say nothing."""


class _Text(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str
    content: str


class _TextLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A piece of the answer's text, as most lines are. Its fields and types are the check."""

    model: str
    message: _Text
    done: bool
    created_at: str = ""


_decode_text = msgspec.json.Decoder(_TextLine).decode
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class OllamaStream:
    """`StreamDecoder` for one answer."""

    cursor = None
    """Answers are not kept: there is nothing to read on in."""
    response_id: str | None = None
    """This API has none."""

    def __init__(self) -> None:
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_model: str | None = None
        self._lines = JsonLines()
        self._count = 0
        self._calls = 0

    @property
    def buffered(self) -> int:
        return self._lines.buffered

    def limit(self, max_event: int) -> None:
        """Bound lines to so many bytes, before the body has begun."""
        self._lines = JsonLines(max_line=max_event)

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        lines = self._lines.read(data)
        for taken, line in enumerate(lines, 1):
            self._take(line, events)
            if self.done or self.failure is not None:
                self.trailing = taken < len(lines)
                return events
        self.failure = self._lines.failure
        return events

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        last = self._lines.end()
        if last and (delimited or not self._count):
            if self._count and not isinstance(read_json(last), dict):
                last = b""  # it was cut
            else:
                self._take(last, events)
        if not self.done and self.failure is None:
            self.failure = self._incomplete()
        return events

    def _incomplete(self) -> TruncatedStreamError:
        if not self._count:
            msg = "the provider answered 200 and no line of JSON"
        else:
            msg = (
                f"the stream ended after {self._count} lines, none of which said done: the answer "
                "is not whole"
            )
        return TruncatedStreamError(msg, status=200)

    def _take(self, line: bytes, events: list[StreamEvent]) -> None:
        if self._count:
            try:
                piece = _decode_text(line)
            except _DECODE_ERRORS:
                piece = None
            if piece is not None and not piece.done:
                self._count += 1
                if piece.message.content:
                    events.append(TextDelta(piece.message.content))
                return
        value = read_json(line)
        if not isinstance(value, dict):
            self.failure = self._unreadable(line)
            return
        self._count += 1
        if is_error(value):
            self.failure = error_in_stream(value, line)
            return
        self.response_model = self.response_model or text_of(value.get("model")) or None
        message = value.get("message")
        if isinstance(message, dict):
            self._take_message(message, events)
        if value.get("logprobs"):
            events.append(OpaquePart(0, "logprobs", as_raw(value["logprobs"])))
        if value.get("done") is True and self.failure is None:
            self._finish(value, line, events)

    def _unreadable(self, line: bytes) -> EngineError:
        if not self._count:
            return error_from_text(line)
        msg = f"line {self._count} of the stream is no JSON object; .body has its beginning"
        return MalformedChunkError(msg, status=200, body=excerpt(line, MAX_BODY))

    def _take_message(self, message: dict[str, Any], events: list[StreamEvent]) -> None:
        if thinking := text_of(message.get("thinking")):
            events.append(ReasoningDelta(thinking))
        if text := text_of(message.get("content")):
            events.append(TextDelta(text))
        for call in objects(message.get("tool_calls")):
            self._take_call(call, events)
        events += [
            OpaquePart(0, name, as_raw(value))
            for name, value in message.items()
            if name not in _INERT and value
        ]

    def _take_call(self, call: dict[str, Any], events: list[StreamEvent]) -> None:
        function = call.get("function")
        if not isinstance(function, dict):
            return
        if self._calls >= MAX_TOOL_CALLS:
            msg = f"the stream has more than {MAX_TOOL_CALLS:,} tool calls: no model answers so"
            self.failure = TooLargeError(msg, status=200)
            return
        call_id = text_of(call.get("id")) or f"ollama-{self._calls}"
        arguments = clean(json.dumps(finite(function.get("arguments") or {}), ensure_ascii=False))
        name = text_of(function.get("name")) or None
        events += [
            ToolCallDelta(self._calls, call_id, name),
            ToolCallDelta(self._calls, arguments=arguments),
        ]
        self._calls += 1

    def _finish(self, value: dict[str, Any], line: bytes, events: list[StreamEvent]) -> None:
        usage = _usage(value)
        if usage is not None:
            events.append(UsageReport(usage))
        reason = text_of(value.get("done_reason")) or None
        if reason in OLLAMA_FAILURES:
            told = {"error": {"code": "server_error", "message": f"done_reason {reason}"}}
            self.failure = error_in_stream(told, line)
        elif complete(OLLAMA, {Sign.END_MARK}):
            self.done = True
            kind = finish_kind(OLLAMA_KINDS, reason, calls=bool(self._calls), refused=False)
            events += [ChoiceFinished(0, reason or "stop"), Finished(reason, kind)]


def _usage(value: Mapping[str, Any]) -> Usage | None:
    """Of the last line. Cached tokens of the prompt are not evaluated, and not counted."""
    fields = {"input_tokens": "prompt_eval_count", "output_tokens": "eval_count"}
    told = {ours: value[theirs] for ours, theirs in fields.items() if theirs in value}
    if not told:
        return None
    counts = {name: count(number) for name, number in told.items()}
    refused = frozenset(n for n, number in told.items() if number is not None and counts[n] is None)
    return Usage(
        counts.get("input_tokens"),
        counts.get("output_tokens"),
        None,
        None,
        None,
        frozenset(counts),
        refused,
    )
