"""The OpenAI Responses language over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamnursery.values.errors import RequestError
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.dialect import Resumption
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.openai_chat.client import may_stream
from streamnursery.wire.openai_responses.request_fields import request_fields
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Endpoint
    from streamnursery.wire.dialect import Cursor, StreamDecoder


class OpenAIResponses:
    """The `Dialect`. Usage is always reported, so `include_usage` asks for nothing here."""

    name = "openai-responses"

    def path(self, _request: ChatRequest, /) -> str:
        return "/responses"

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        """The request body: JSON, UTF-8, no field that is None.

        Raises:
            RequestError: a field holds something that JSON or this API cannot say.
        """
        body = _encode(request, endpoint, model)
        if isinstance(body, bytes):
            return body
        raise RequestError(body)

    def check_head(self, head: HttpHead) -> bool:
        return may_stream(head)

    def decoder(self, _request: ChatRequest, /) -> StreamDecoder:
        return OpenAIResponsesStream()

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def resume(
        self, _request: ChatRequest, _endpoint: Endpoint, _model: str, cursor: Cursor, /
    ) -> Resumption:
        """The suffix may lack `response.created`; it can be had for some minutes."""
        query = {"stream": "true", "starting_after": str(cursor.after)}
        return Resumption(f"/responses/{cursor.stream}", query=query)

    def resumed(self, _request: ChatRequest, broken: StreamDecoder, /) -> StreamDecoder:
        assert isinstance(broken, OpenAIResponsesStream)
        broken.go_on()
        return broken

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


def _encode(request: ChatRequest, endpoint: Endpoint, model: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    fields = request_fields(request, endpoint, model)
    return fields if isinstance(fields, str) else encode_body(fields | {"stream": True})
