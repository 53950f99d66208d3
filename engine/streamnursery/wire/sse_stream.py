"""What every dialect over server-sent events shares: feeding, the end of the body, its bounds.

Rule 1: nothing is raised. A failure is kept, after the events before it; nothing follows it.
Rule 2: a body that is no event stream at all is told apart from a cut one by its own text.
Rule 3: what makes an answer whole is the dialect's: `take` sees an end mark, `finished_at_end` the
        evidence of a clean end, `lacking` names what is missing.
"""

from typing import ClassVar

from streamnursery.values.errors import (
    EngineError,
    MalformedChunkError,
    TooLargeError,
    TruncatedStreamError,
)
from streamnursery.values.events import StreamEvent
from streamnursery.values.http import Header, HttpHead
from streamnursery.wire.error_answers import error_from_text, is_error
from streamnursery.wire.json_text import excerpt, read_json
from streamnursery.wire.sse import MAX_STRAY, Record, SSEDecoder

DONE_MARK = b"[DONE]"
"""The end mark of OpenAI's chat API and of many others."""
MAX_CHUNK_EXCERPT = 200
"""Bytes of an unreadable event that its error shows."""
MAX_TOOL_CALLS = 4096
"""Per choice."""

_STREAM_STATUSES = frozenset({200, 201, 203})
"""201 is what some frameworks answer to any POST, 203 what a changing proxy makes of 200."""
_STREAM_TYPES = frozenset({"", "text/event-stream", "text/plain", "application/octet-stream"})
"""Types that may hold an event stream; the empty one is no Content-Type at all, which means
octet-stream (RFC 9110 8.3). The decoder finds out whether they do."""


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

    what: ClassVar[str]
    """What the dialect calls its events, in the plural: "chunks"."""

    def open(self) -> None:
        """A body begins."""
        self._sse = SSEDecoder()
        self._records = 0

    def take(self, record: Record, events: list[StreamEvent]) -> None:
        """Add what one SSE event says; the dialect's."""
        raise NotImplementedError

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
            self._records += 1
            self.take(record, events)
            if self.done or self.failure is not None:
                return taken
        return len(records)

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
        if not self._records and self._sse.stray_bytes >= MAX_STRAY:
            self.failure = error_from_text(self._sse.stray())
        return events

    def end(self) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if not (self.done or self.failure is not None or self.finished_at_end(events)):
            self.failure = self._incomplete()
        return events

    def _incomplete(self) -> EngineError:
        stray = self._sse.stray().strip()
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
