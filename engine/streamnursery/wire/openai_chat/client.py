"""The OpenAI chat completions language, as OpenAI and its many imitators speak it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamnursery.values.errors import RequestError
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.openai_chat.chunk import MAX_CHOICES
from streamnursery.wire.openai_chat.stream import OpenAIChatStream

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Endpoint

_FIELDS = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "n",
    "tools",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "user",
    "metadata",
)
"""Fields of a request that keep their name on the wire."""

_STREAM_STATUSES = frozenset({200, 201, 203})
"""201 is what some frameworks answer to any POST, 203 what a changing proxy makes of 200."""
_STREAM_TYPES = frozenset({"", "text/event-stream", "text/plain", "application/octet-stream"})
"""Types that may hold an event stream; the empty one is no Content-Type at all, which means
octet-stream (RFC 9110 8.3). The decoder finds out whether they do."""


class OpenAIChat:
    """The `Dialect`. JSON and HTML answers are refused by their head; an event stream under
    another name is taken for what it is."""

    name = "openai-chat"

    def path(self, _request: ChatRequest, /) -> str:
        return "/chat/completions"

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        """The request body: JSON, UTF-8, no field that is None.

        Raises:
            RequestError: a field holds something that JSON cannot say; the message names it.
        """
        body = _encode(request, endpoint, model)
        if isinstance(body, bytes):
            return body
        raise RequestError(body)

    def check_head(self, head: HttpHead) -> bool:
        return may_stream(head)

    def decoder(self, request: ChatRequest) -> OpenAIChatStream:
        n = request.extra.get("n", request.n)
        return OpenAIChatStream(min(n, MAX_CHOICES) if isinstance(n, int) and n > 0 else 1)

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


def may_stream(head: HttpHead) -> bool:
    """Whether an answer may hold an event stream, going by its status and type."""
    kind = (head.get("content-type") or "").partition(";")[0].strip().lower()
    return head.status in _STREAM_STATUSES and kind in _STREAM_TYPES


def _encode(request: ChatRequest, endpoint: Endpoint, model: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    fields: dict[str, object] = {"model": model, "messages": request.messages}
    fields[endpoint.max_tokens_field] = request.max_tokens
    fields |= {name: getattr(request, name) for name in _FIELDS}
    fields = {name: value for name, value in fields.items() if value is not None}
    if endpoint.include_usage:
        fields["stream_options"] = {"include_usage": True}
    fields |= request.extra
    fields["stream"] = True
    return encode_body(fields)
