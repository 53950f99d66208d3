"""The Responses language on a WebSocket: one JSON object per message, no framing around it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from streamnursery.values.errors import MalformedChunkError, TruncatedStreamError
from streamnursery.values.events import Failed
from streamnursery.wire.dialect import Envelope
from streamnursery.wire.json_text import excerpt
from streamnursery.wire.openai_responses.base import ResponsesLanguage
from streamnursery.wire.openai_responses.event import (
    DECODE_ERRORS,
    Event,
    decode_event,
    decode_text,
)
from streamnursery.wire.openai_responses.turn import ResponsesTurn
from streamnursery.wire.sse_stream import MAX_CHUNK_EXCERPT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamnursery.values.events import StreamEvent
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Endpoint

_BEGINS = "response.created"
_ENDS = frozenset({
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
    "response.done",
    "error",
})
LIMIT_REACHED = b"websocket_connection_limit_reached"
"""The error with which a server announces that a connection has lasted long enough."""
_HARMLESS = frozenset({
    "session.update",
    "transcription_session.update",
    "response.cancel",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "conversation.item.delete",
})
"""Client events that say what shall be, and not what shall be added."""


class _Named(msgspec.Struct, gc=False):
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    """What takes the outcome of a message."""

    type: str = ""
    stream_id: str | None = None
    response: _Named | None = None


_decode = msgspec.json.Decoder(_Message).decode


class OpenAIResponsesLane(ResponsesLanguage):
    """The dialect of answers on a WebSocket: `response.create` in, the same events out."""

    session = None

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        # `stream` is not known there: a WebSocket does nothing else.
        body: dict[str, object] = msgspec.json.decode(super().encode(request, endpoint, model))
        del body["stream"]
        return msgspec.json.encode({"type": "response.create", **body})

    def decoder(self, _request: ChatRequest, /) -> LaneDecoder:
        return LaneDecoder()


class LaneDecoder(ResponsesTurn):
    """`StreamDecoder` whose every piece of data is one whole message."""

    __slots__ = ()

    @property
    def cursor(self) -> None:
        """A WebSocket has no background."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self.done or self.failure is not None:
            return events
        try:
            self.take_text(decode_text(data), events)
            return events
        except DECODE_ERRORS:
            pass
        try:
            event = decode_event(data)
        except (ValueError, RecursionError):
            msg = "a message of the WebSocket is no JSON object; .body has its beginning"
            body = excerpt(data, MAX_CHUNK_EXCERPT)
            self.failure = MalformedChunkError(msg, status=200, body=body)
        else:
            self.take_event(event, data, events)
        return events

    @property
    def buffered(self) -> int:
        return 0  # messages come whole

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        del delimited
        if not self.done and self.failure is None:
            msg = "the WebSocket ended before the answer had: it is not whole"
            self.failure = TruncatedStreamError(msg, status=200)
        return []


class OpenAIResponsesSession:
    """The `SessionDialect`; lanes are the API's `stream_id`."""

    answers = OpenAIResponsesLane()

    def path(self, _endpoint: Endpoint, /) -> str:
        return "/responses"

    def envelope(self, data: bytes, /) -> Envelope | None:
        try:
            message = _decode(data)
        except DECODE_ERRORS:
            return None
        kind = message.type
        is_error = kind == "error"
        return Envelope(
            lane=message.stream_id,
            answer=None if message.response is None else message.response.id,
            of_answer=is_error or kind.startswith("response."),
            ends_answer=kind in _ENDS,
            is_error=is_error,
            worn_out=is_error and LIMIT_REACHED in data,
        )

    def on_lane(self, message: bytes, lane: str, /) -> str:
        return (b'{"stream_id":%b,' % msgspec.json.encode(lane) + message[1:]).decode()

    def cancel(self, lane: str | None, /) -> str:
        message = {"type": "response.cancel"} | ({} if lane is None else {"stream_id": lane})
        return msgspec.json.encode(message).decode()

    def repeatable(self, message: Mapping[str, Any], /) -> bool:
        """It sets a state, or makes an item under an id of the caller's, which a server takes
        once."""
        kind = message.get("type")
        item = message.get("item")
        named = isinstance(item, dict) and isinstance(item.get("id"), str)
        return kind in _HARMLESS or (kind == "conversation.item.create" and named)

    def after(self, request: ChatRequest, answer: str, /) -> ChatRequest:
        return attrs.evolve(request, extra={**request.extra, "previous_response_id": answer})

    def dialogue(self) -> ResponsesDialogue:
        return ResponsesDialogue()


class ResponsesDialogue:
    """The `DialogueDecoder`. Events that belong to no answer give nothing."""

    def __init__(self) -> None:
        self._turn = ResponsesTurn()

    def feed(self, event: Mapping[str, Any], /) -> list[StreamEvent | Failed]:
        kind = event.get("type")
        if kind == _BEGINS:
            self._turn = ResponsesTurn()
        turn = self._turn
        if turn.done or turn.failure is not None:
            if kind != "error":
                return []
            turn = self._turn = ResponsesTurn()
        events: list[StreamEvent] = []
        read = Event(**{name: event.get(name) for name in Event.__struct_fields__})
        turn.take_event(read, json.dumps(event).encode(), events)
        told: list[StreamEvent | Failed] = [*events]
        if turn.failure is not None:
            told.append(Failed(turn.failure))
        return told
