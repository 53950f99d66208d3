"""The Responses language on a WebSocket: one JSON object per message, no framing around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streamnursery.values.errors import MalformedChunkError, TruncatedStreamError
from streamnursery.wire.json_text import excerpt
from streamnursery.wire.openai_chat.stream import MAX_CHUNK_EXCERPT
from streamnursery.wire.openai_responses.client import OpenAIResponses
from streamnursery.wire.openai_responses.event import DECODE_ERRORS, decode_event, decode_text
from streamnursery.wire.openai_responses.turn import ResponsesTurn

if TYPE_CHECKING:
    from streamnursery.values.events import StreamEvent
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Endpoint

_ENDS = frozenset({
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
    "response.done",
    "error",
})
LIMIT_REACHED = "websocket_connection_limit_reached"
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


class Envelope(msgspec.Struct, gc=False):
    """What tells a message's way."""

    type: str = ""
    stream_id: str | None = None
    response: _Named | None = None

    @property
    def response_id(self) -> str | None:
        return None if self.response is None else self.response.id

    @property
    def ends_answer(self) -> bool:
        return self.type in _ENDS

    @property
    def of_answer(self) -> bool:
        return self.type.startswith("response.") or self.type == "error"


_decode = msgspec.json.Decoder(Envelope).decode


def read_envelope(data: bytes) -> Envelope | None:
    """None: no object, or one whose type is no text."""
    try:
        return _decode(data)
    except DECODE_ERRORS:
        return None


def is_limit(data: bytes) -> bool:
    """Whether an `error` says that the connection has reached its limit."""
    return LIMIT_REACHED.encode() in data


def repeatable(message: dict[str, object]) -> bool:
    """Whether a client event may be sent twice without harm: it sets a state, or makes an item
    under a name of its own, which a server takes once."""
    kind = message.get("type")
    item = message.get("item")
    named = isinstance(item, dict) and isinstance(item.get("id"), str)
    return kind in _HARMLESS or (kind == "conversation.item.create" and named)


class OpenAIResponsesLane(OpenAIResponses):
    """The dialect of answers on a WebSocket: `response.create` in, the same events out."""

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        # `stream` is not known there: a WebSocket does nothing else.
        body: dict[str, object] = msgspec.json.decode(super().encode(request, endpoint, model))
        del body["stream"]
        return msgspec.json.encode({"type": "response.create", **body})

    def decoder(self, _request: ChatRequest) -> LaneDecoder:
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
            self.take(event, data, events)
        return events

    def end(self) -> list[StreamEvent]:
        if not self.done and self.failure is None:
            msg = "the WebSocket ended before the answer had: it is not whole"
            self.failure = TruncatedStreamError(msg, status=200)
        return []
