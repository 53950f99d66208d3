"""The answer of a Responses server over HTTP: server-sent events to stream events, in any pieces.

Rule 1: what an event says is `ResponsesTurn`'s business; this knows the framing around it.
Rule 2: an end mark of another API (`[DONE]`) proves nothing here, and harms nothing.
"""

import json
from typing import Any

from streamnursery.values.errors import EngineError
from streamnursery.values.events import StreamEvent, TextDelta
from streamnursery.wire.error_answers import error_in_stream
from streamnursery.wire.openai_responses.event import (
    DECODE_ERRORS,
    Event,
    decode_event,
    decode_text,
)
from streamnursery.wire.openai_responses.turn import ResponsesTurn
from streamnursery.wire.sse_stream import DONE_MARK, SseStream
from streamnursery.wire.sse_stream import Event as SseEvent


class OpenAIResponsesStream(SseStream, ResponsesTurn):
    """`StreamDecoder` for one answer."""

    __slots__ = ("_expect_text", "_foreign", "_records", "_sse")

    what = "events"

    def __init__(self) -> None:
        super().__init__()
        self.open()
        self._expect_text = False

    def go_on(self) -> None:
        """As `ResponsesTurn`; the next bytes are the beginning of another body."""
        super().go_on()
        self.open()

    def lacking(self) -> str:
        return "without response.completed or response.incomplete"

    def take_whole(self, value: dict[str, Any], events: list[StreamEvent]) -> bool:
        if value.get("object") != "response":
            return False
        event = Event(type="response.done", response=value)
        self.take_event(event, json.dumps(value).encode(), events)
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
                self.failure = self._unreadable(data, name)
            return
        self.take_event(event, data, events, name)
        # Text follows text: one miss at the end of each run is cheap.
        self._expect_text = len(events) > before and type(events[-1]) is TextDelta

    def _unreadable(self, data: bytes, name: str) -> EngineError:
        if name == "error":
            return error_in_stream(data.decode("utf-8", "replace"), data)
        return self.malformed(data, "event of a response")
