"""The language of Amazon Bedrock's ConverseStream, with API keys as bearer tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from streamnursery.values.errors import RequestError
from streamnursery.wire.bedrock_converse.content import DIALECT
from streamnursery.wire.bedrock_converse.request_fields import request_fields
from streamnursery.wire.bedrock_converse.stream import BedrockStream
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.dialect import API, EndpointOption
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.json_body import encode_body

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import Header, HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth, Endpoint

EVENT_STREAM = "application/vnd.amazon.eventstream"
_HEADERS: tuple[Header, ...] = (("accept", EVENT_STREAM), ("content-type", "application/json"))
_TYPES = frozenset({"", "application/json", "application/octet-stream", EVENT_STREAM})


class BedrockConverse:
    """The `Dialect`. Usage is always reported and need not be asked for.

    Requests are not signed: an API key of Bedrock is sent as a bearer token
    (`AWS_BEARER_TOKEN_BEDROCK` in AWS's own clients).
    """

    api = API
    name = DIALECT
    auth: Auth = "bearer"
    options: tuple[EndpointOption, ...] = ()
    session = None

    def path(self, _request: ChatRequest, model: str, /) -> str:
        """A model's ARN is one segment, its slashes and colons escaped."""
        return f"/model/{quote(model, safe='')}/converse-stream"

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

    def decoder(self, _request: ChatRequest, /) -> BedrockStream:
        return BedrockStream()

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


def _encode(request: ChatRequest, model: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    fields = request_fields(request, model)
    return fields if isinstance(fields, str) else encode_body(fields)
