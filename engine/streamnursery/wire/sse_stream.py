"""What every dialect over server-sent events shares: feeding, the end of the body, its bounds.

Rule 1: nothing is raised. A failure is kept, after the events before it; nothing follows it.
Rule 2: a body that is not an event stream differs from a cut one by its own text.
Rule 3: a line that no event stream has is evidence against the answer, whatever follows: it is an
        error that was written into the stream, or a sign that the body is something else.
Rule 4: what makes an answer whole is the dialect's: `take` sees an end mark, `finished_at_end` the
        evidence of a clean end, `lacking` names what is missing.
"""

from typing import Any, ClassVar, TypeAlias

from streamnursery.values.errors import (
    MAX_BODY,
    EngineError,
    MalformedChunkError,
    TooLargeError,
    TruncatedStreamError,
)
from streamnursery.values.events import StreamEvent
from streamnursery.values.http import Header, HttpHead
from streamnursery.wire.error_answers import error_from_text, error_in_stream, is_error
from streamnursery.wire.json_text import excerpt, read_json
from streamnursery.wire.sse import Record, ServerSentEvent, SSEDecoder, StrayLine

DONE_MARK = b"[DONE]"
"""The end mark of OpenAI's chat API and of many others."""
MAX_CHUNK_EXCERPT = 200
"""Bytes of an unreadable event that its error shows."""
MAX_TOOL_CALLS = 4096
"""Per choice."""

_STREAM_STATUSES = frozenset({200, 201, 203})
"""201 is what some frameworks answer to any POST, 203 what a changing proxy makes of 200."""
_STREAM_TYPES = frozenset({
    "",
    "application/json",
    "application/octet-stream",
    "application/x-ndjson",
    "text/event-stream",
    "text/json",
    "text/plain",
})
"""Types that may hold an event stream, or a whole answer; the empty one is no Content-Type at all,
which means octet-stream (RFC 9110 8.3). The decoder finds out by the body what it is."""

Event: TypeAlias = bytes | ServerSentEvent
"""A record that is an event."""

SSE_HEADERS: tuple[Header, ...] = (
    ("accept", "text/event-stream"),
    ("content-type", "application/json"),
)
"""Of a JSON request that is answered by an event stream."""


def may_stream(head: HttpHead) -> bool:
    """Whether an answer may hold an event stream, going by its status and type."""
    kind = (head.get("content-type") or "").partition(";")[0].strip().lower()
    return head.status in _STREAM_STATUSES and kind in _STREAM_TYPES


class SseStream:
    """The framing half of a `StreamDecoder`. A subclass declares the attributes as its slots, and
    calls `open` when a body begins."""

    # No slots of its own: a base with slots could not stand beside `ResponsesTurn`, which has some.

    done: bool
    trailing: bool
    failure: EngineError | None
    _records: int
    _sse: SSEDecoder
    _foreign: bytes | None

    what: ClassVar[str]
    """What the dialect calls its events, in the plural: "chunks"."""

    def open(self) -> None:
        """A body begins."""
        self._sse = SSEDecoder()
        self._records = 0
        self._foreign = None

    def limit(self, max_event: int) -> None:
        """Bound lines and events to so many bytes, before the body has begun."""
        self._sse = SSEDecoder(max_line=max_event + len("data: "), max_event=max_event)

    @property
    def buffered(self) -> int:
        return self._sse.buffered

    def take(self, record: Event, events: list[StreamEvent]) -> None:
        """Add what one SSE event says; the dialect's."""
        raise NotImplementedError

    def take_whole(self, value: dict[str, Any], events: list[StreamEvent]) -> bool:
        """The body was one JSON object and no stream: take it if it is a whole answer, in the
        shape of answers that are not streamed; the dialect's."""
        del value, events
        return False

    def finished_at_end(self, events: list[StreamEvent]) -> bool:
        """The body ended cleanly without an end mark: whether the answer is whole all the same;
        the dialect's."""
        del events
        return False

    def lacking(self) -> str:
        """The evidence that is missing: "without ..."; the dialect's."""
        raise NotImplementedError

    def take_all(self, records: list[Record], events: list[StreamEvent]) -> int:
        """Take the events of one read up to the end of the answer; how many were taken."""
        for taken, record in enumerate(records, 1):
            self.take_record(record, events)
            if self.done or self.failure is not None:
                return taken
        return len(records)

    def take_record(self, record: Record, events: list[StreamEvent]) -> None:
        """Take an event, or the evidence that the body is not what an event stream is."""
        if isinstance(record, StrayLine):
            self._take_stray(record.data)
        elif self._foreign is not None:
            self.failure = self._not_an_event(self._foreign)
        else:
            self._records += 1
            self.take(record, events)

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        records = self._sse.read(data)
        taken = self.take_all(records, events)
        if self.done or self.failure is not None:
            self.trailing = taken < len(records)
            return events
        self.failure = self._sse.failure
        if not self._records and self.failure is None and self._sse.is_no_stream:
            self.failure = error_from_text(self._sse.stray())
        return events

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        if delimited:
            self._take_last(events)
        if not (self.done or self.failure is not None or self._is_whole(events)):
            self.failure = self._incomplete()
        return events

    def _take_last(self, events: list[StreamEvent]) -> None:
        """The event whose blank line was left out, if it can be read: a body that ended as its
        length said has lost nothing. By the HTML standard, which reads streams that never end
        well, it would not count."""
        for record in self._sse.end():
            if isinstance(record, StrayLine):
                if self._records:
                    self._take_stray(record.data)
                continue
            data = record if isinstance(record, bytes) else record.data
            lines = [line for line in data.split(b"\n") if line.strip()]
            if all(is_readable(line) for line in lines) or is_readable(data):
                self.take_record(record, events)
            if self.done or self.failure is not None:
                return

    def _is_whole(self, events: list[StreamEvent]) -> bool:
        if self._records:
            return self._foreign is None and self.finished_at_end(events)
        value = read_json(self._sse.stray())
        return isinstance(value, dict) and not is_error(value) and self.take_whole(value, events)

    def take_lines(self, data: bytes, events: list[StreamEvent]) -> bool:
        """Take an event that is not JSON as several, if each of its lines is: some servers part
        them by one line feed. Whether it was."""
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) < 2 or not all(is_readable(line) for line in lines):
            return False
        for line in lines:
            if not (self.done or self.failure is not None):
                self.take(line, events)
        return True

    def _take_stray(self, line: bytes) -> None:
        text = line.strip()
        name, _, rest = text.partition(b":")
        value = read_json(text) or read_json(rest)
        if name.strip().lower() == b"error" and isinstance(value, dict) and not is_error(value):
            value = {"error": value}  # llama.cpp
        if is_error(value):
            self.failure = error_in_stream(value, text)
            return
        self._foreign = self._foreign or line
        if self._records:
            self.failure = self._not_an_event(line)

    def _not_an_event(self, text: bytes) -> EngineError:
        """The error for text between the events of a stream."""
        msg = (
            f"text that belongs to no event stream stands beside the {self.what}, {self._records} "
            "of which had come: the answer is not whole; .body has the text"
        )
        return MalformedChunkError(msg, status=200, body=excerpt(text, MAX_BODY))

    def _incomplete(self, *, at_mark: bool = False) -> EngineError:
        """What an answer lacks that has ended; `at_mark`: by its mark, behind which nothing
        counts, also not what has come in the same read. Text of another language before it has
        failed the answer already."""
        stray = b"" if at_mark else self._sse.stray().strip()
        if stray and (not self._records or is_error(read_json(stray))):
            return error_from_text(stray)
        if not self._records:
            msg = "the provider answered 200 and an event stream without a single event"
        else:
            msg = (
                f"the stream ended after {self._records} {self.what} {self.lacking()}: "
                "the answer is not whole"
            )
        return TruncatedStreamError(msg, status=200)

    def malformed(self, data: bytes, expected: str) -> MalformedChunkError:
        """The error for an event that is not `expected`."""
        msg = (
            f"{self.what[:-1]} {self._records - 1} of the stream is no {expected}: the provider "
            "sent something else than one JSON object; .body has its beginning"
        )
        return MalformedChunkError(msg, status=200, body=excerpt(data, MAX_CHUNK_EXCERPT))

    def too_many(self, what: str, bound: int) -> TooLargeError:
        """The error for a bound of ours that is passed."""
        msg = f"the stream has more than {bound:,} {what}: no model answers like that"
        return TooLargeError(msg, status=200)


def is_readable(data: bytes) -> bool:
    """Whether it can be an event of such a stream: an end mark, or a JSON object."""
    return data.strip() == DONE_MARK or isinstance(read_json(data), dict)
