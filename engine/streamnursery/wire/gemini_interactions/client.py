"""The language of Google's Interactions API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamnursery.values.errors import RequestError
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.dialect import API, EndpointOption, Resumption
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.gemini_interactions.content import DIALECT
from streamnursery.wire.gemini_interactions.request_fields import request_fields
from streamnursery.wire.gemini_interactions.stream import InteractionStream
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.sse_stream import SSE_HEADERS, may_stream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import Header, HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth, Endpoint
    from streamnursery.wire.dialect import Cursor, StreamDecoder


class GeminiInteractions:
    """The `Dialect`. Usage is always reported and need not be asked for.

    A request with `extra={"background": True}` is worked on by its server whatever becomes of the
    connection; its stream can be read on after a break, from behind the last event's `event_id`.
    """

    api = API
    name = DIALECT
    auth: Auth = "x-goog-api-key"
    options: tuple[EndpointOption, ...] = ()
    session = None

    def path(self, _request: ChatRequest, _model: str, /) -> str:
        return "/interactions"

    def headers(self, _endpoint: Endpoint, /) -> tuple[Header, ...]:
        return SSE_HEADERS

    def encode(self, request: ChatRequest, _endpoint: Endpoint, model: str) -> bytes:
        """The request body: JSON, UTF-8, no field that is None.

        Raises:
            RequestError: a field holds something that JSON or this API cannot say.
        """
        body = _encode(request, model)
        if isinstance(body, bytes):
            return body
        raise RequestError(body)

    def check_head(self, head: HttpHead) -> bool:
        return may_stream(head)

    def decoder(self, request: ChatRequest, /) -> InteractionStream:
        asked = request.extra
        kept = asked.get("background") is True and asked.get("store") is not False
        return InteractionStream(kept=kept)

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)

    def resume(
        self, _request: ChatRequest, _endpoint: Endpoint, _model: str, cursor: Cursor, /
    ) -> Resumption:
        """The stream "from the chunk after the event" (`interactions.get` of Google's SDK)."""
        query = {"stream": "true", "last_event_id": str(cursor.after)}
        return Resumption(f"/interactions/{cursor.stream}", query=query)

    def resumed(self, _request: ChatRequest, broken: StreamDecoder, /) -> StreamDecoder:
        assert isinstance(broken, InteractionStream)
        broken.go_on()
        return broken


def _encode(request: ChatRequest, model: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    fields = request_fields(request, model)
    return fields if isinstance(fields, str) else encode_body(fields | {"stream": True})
