"""The answer of an Interactions server: server-sent events to stream events, in any pieces.

Rule 1: framing, bounds and the end of the body are `SseStream`'s; what an event says is
        `InteractionTurn`'s.
Rule 2: an end mark of another API (`[DONE]`) proves nothing here, and harms nothing.
"""

from typing import Any

from streamnursery.values.events import StreamEvent, TextDelta
from streamnursery.wire.gemini_interactions.event import (
    DECODE_ERRORS,
    Event,
    decode_event,
    decode_text,
)
from streamnursery.wire.gemini_interactions.turn import InteractionTurn
from streamnursery.wire.sse_stream import DONE_MARK, SseStream
from streamnursery.wire.sse_stream import Event as SseEvent


class InteractionStream(SseStream, InteractionTurn):
    """`StreamDecoder` for one answer."""

    __slots__ = ("_expect_text", "_foreign", "_records", "_sse")

    what = "events"

    def __init__(self, *, kept: bool = False) -> None:
        """`kept`: the server works on it whatever becomes of the connection."""
        super().__init__(kept=kept)
        self.open()
        self._expect_text = False

    def go_on(self) -> None:
        """As `InteractionTurn`; the next bytes are the beginning of another body."""
        super().go_on()
        self.open()

    def lacking(self) -> str:
        return "without interaction.completed"

    def take_whole(self, value: dict[str, Any], events: list[StreamEvent]) -> bool:
        """An answer that is not streamed."""
        if value.get("object") != "interaction" and not isinstance(value.get("steps"), list):
            return False
        event = Event(event_type="interaction.completed", interaction=value)
        self.take_event(event, b"", events)
        return self.done

    def take(self, record: SseEvent, events: list[StreamEvent]) -> None:
        data, name = (record, "") if isinstance(record, bytes) else (record.data, record.event)
        if self._expect_text:
            try:
                piece = decode_text(data)
            except DECODE_ERRORS:
                self._expect_text = False
            else:
                self.take_text(piece, events)
                return
        stripped = data.strip()
        if not stripped or stripped == DONE_MARK:
            return
        before = len(events)
        try:
            event = decode_event(data)
        except (ValueError, RecursionError):
            if not self.take_lines(data, events):
                self.failure = self.malformed(data, "event of an interaction")
            return
        self.take_event(event, data, events, name)
        # Text follows text: one miss at the end of each run is cheap.
        self._expect_text = len(events) > before and type(events[-1]) is TextDelta
