"""The OpenAI Responses language over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamnursery.wire.dialect import Resumption
from streamnursery.wire.openai_responses.base import ResponsesLanguage
from streamnursery.wire.openai_responses.session import OpenAIResponsesSession
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream

if TYPE_CHECKING:
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Endpoint
    from streamnursery.wire.dialect import Cursor, StreamDecoder


class OpenAIResponses(ResponsesLanguage):
    """The `Dialect`, whose streams can be read on after a break."""

    session = OpenAIResponsesSession()

    def decoder(self, _request: ChatRequest, /) -> StreamDecoder:
        return OpenAIResponsesStream()

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
