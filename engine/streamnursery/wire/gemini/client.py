"""The language of Google's Gemini API, at AI Studio and at Vertex AI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from streamnursery.values.errors import RequestError
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.dialect import API, EndpointOption
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.gemini.content import DIALECT
from streamnursery.wire.gemini.request_fields import request_fields
from streamnursery.wire.gemini.stream import MAX_CANDIDATES, GeminiStream
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.sse_stream import SSE_HEADERS, may_stream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import Header, HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth, Endpoint


class Gemini:
    """The `Dialect`. Usage is always reported and need not be asked for."""

    api = API
    name = DIALECT
    auth: Auth = "x-goog-api-key"
    """A key in the URL, which the API takes too, would stand in every log on the way."""
    options: tuple[EndpointOption, ...] = ()
    session = None

    def path(self, _request: ChatRequest, model: str, /) -> str:
        """A model with a slash in its name is a path by itself, such as `tunedModels/mine`."""
        name = quote(model, safe="/")
        where = f"/{name}" if "/" in name else f"/models/{name}"
        return f"{where}:streamGenerateContent?alt=sse"

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

    def decoder(self, request: ChatRequest, /) -> GeminiStream:
        n = request.n or 1
        return GeminiStream(min(n, MAX_CANDIDATES))

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


def _encode(request: ChatRequest, model: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    fields = request_fields(request, model)
    return fields if isinstance(fields, str) else encode_body(fields)
