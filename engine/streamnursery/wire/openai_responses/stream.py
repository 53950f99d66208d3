"""The answer of a Responses server over HTTP: server-sent events to stream events, in any pieces.

Rule 1: what an event says is `ResponsesTurn`'s business; this knows the framing around it.
Rule 2: an end mark of another API (`[DONE]`) proves nothing here, and harms nothing.
Rule 3: a body that is no event stream at all is told apart from a cut one by its own text.
"""

from streamnursery.values.errors import EngineError, MalformedChunkError, TruncatedStreamError
from streamnursery.values.events import StreamEvent, TextDelta
from streamnursery.wire.error_answers import error_from_text, error_in_stream, is_error
from streamnursery.wire.json_text import excerpt, read_json
from streamnursery.wire.openai_chat.stream import END_MARK, MAX_CHUNK_EXCERPT
from streamnursery.wire.openai_responses.event import DECODE_ERRORS, decode_event, decode_text
from streamnursery.wire.openai_responses.turn import ResponsesTurn
from streamnursery.wire.sse import MAX_STRAY, Record, SSEDecoder


class OpenAIResponsesStream(ResponsesTurn):
    """`StreamDecoder` for one answer."""

    __slots__ = ("_expect_text", "_records", "_sse")

    def __init__(self) -> None:
        super().__init__()
        self._sse = SSEDecoder()
        self._expect_text = False
        self._records = 0

    def go_on(self) -> None:
        """As `ResponsesTurn`; the next bytes are the beginning of another body."""
        super().go_on()
        self._sse = SSEDecoder()
        self._records = 0

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        records = iter(self._sse.read(data))
        for record in records:
            self._records += 1
            self._take_record(record, events)
            if self.done or self.failure is not None:
                self.trailing = next(records, None) is not None
                return events
        self.failure = self._sse.failure
        if self._sse.stray_bytes >= MAX_STRAY and not self._records:
            self.failure = error_from_text(self._sse.stray())
        return events

    def end(self) -> list[StreamEvent]:
        if not self.done and self.failure is None:
            self.failure = self._incomplete()
        return []

    def _take_record(self, record: Record, events: list[StreamEvent]) -> None:
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
        if not stripped or stripped == END_MARK:
            return
        before = len(events)
        try:
            event = decode_event(data)
        except (ValueError, RecursionError):
            self.failure = self._unreadable(data, name)
            return
        self.take(event, data, events, name)
        # Text follows text: one miss at the end of each run is cheap.
        self._expect_text = len(events) > before and type(events[-1]) is TextDelta

    def _unreadable(self, data: bytes, name: str) -> EngineError:
        if name == "error":
            return error_in_stream(data.decode("utf-8", "replace"), data)
        msg = (
            f"event {self._records - 1} of the stream is no event of a response: the provider "
            "sent something else than one JSON object; .body has its beginning"
        )
        return MalformedChunkError(msg, status=200, body=excerpt(data, MAX_CHUNK_EXCERPT))

    def _incomplete(self) -> EngineError:
        stray = self._sse.stray().strip()
        if stray and (not self._records or is_error(read_json(stray))):
            return error_from_text(stray)
        if not self._records:
            msg = "the provider answered 200 and an event stream without a single event"
        else:
            msg = (
                f"the stream ended after {self._records} events without response.completed or "
                "response.incomplete: the answer is not whole"
            )
        return TruncatedStreamError(msg, status=200)
