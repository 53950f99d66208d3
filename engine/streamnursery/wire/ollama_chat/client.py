"""The language of Ollama's own chat API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamnursery.values.errors import RequestError
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.dialect import API, EndpointOption
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.ollama_chat.request_fields import DIALECT, request_fields
from streamnursery.wire.ollama_chat.stream import OllamaStream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import Header, HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth, Endpoint

_HEADERS: tuple[Header, ...] = (
    ("accept", "application/x-ndjson"),
    ("content-type", "application/json"),
)
_TYPES = frozenset({"", "application/json", "application/x-ndjson", "text/plain"})


class OllamaChat:
    """The `Dialect`. Usage is always reported and need not be asked for."""

    api = API
    name = DIALECT
    auth: Auth = "none"
    options: tuple[EndpointOption, ...] = ()
    session = None

    def path(self, _request: ChatRequest, _model: str, /) -> str:
        return "/chat"

    def headers(self, _endpoint: Endpoint, /) -> tuple[Header, ...]:
        return _HEADERS

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
        kind = (head.get("content-type") or "").partition(";")[0].strip().lower()
        return head.status == 200 and kind in _TYPES

    def decoder(self, _request: ChatRequest, /) -> OllamaStream:
        return OllamaStream()

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


def _encode(request: ChatRequest, model: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    fields = request_fields(request, model)
    return fields if isinstance(fields, str) else encode_body(fields | {"stream": True})
