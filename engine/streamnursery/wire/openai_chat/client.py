"""The OpenAI chat completions language, as OpenAI and its many imitators speak it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from streamnursery.values.errors import RequestError
from streamnursery.wire.continuation import with_prefix
from streamnursery.wire.dialect import API, EndpointOption
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.json_text import read_json
from streamnursery.wire.openai_chat.chunk import MAX_CHOICES
from streamnursery.wire.openai_chat.messages import sent_messages, with_short_ids
from streamnursery.wire.openai_chat.stream import OpenAIChatStream
from streamnursery.wire.openai_responses.session import OpenAIResponsesSession
from streamnursery.wire.sse_stream import SSE_HEADERS, may_stream
from streamnursery.wire.usage_filter import UsageFilter

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.http import Header, HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth, Endpoint

_FIELDS = (
    "temperature",
    "top_p",
    "stop",
    "n",
    "tools",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "user",
    "metadata",
)
"""Fields of a request that keep their name on the wire."""

MAX_TOKENS_FIELD = EndpointOption(
    "max_tokens_field",
    "max_tokens",
    "The field of a request body that bounds the answer; `max_completion_tokens` for OpenAI's "
    "reasoning models.",
    pattern=r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    expected="the name of a request field",
)
INCLUDE_USAGE = EndpointOption(
    "include_usage",
    True,
    "Ask for usage with `stream_options`; false for servers that refuse the field.",
)
SEED_FIELD = EndpointOption(
    "seed_field",
    "seed",
    "The field of a request body that holds the seed; Mistral calls it `random_seed`.",
    pattern=r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    expected="the name of a request field",
)
REASONING_FIELD = EndpointOption(
    "reasoning_field",
    "",
    "The field of an assistant's message in which the server wants its reasoning back; empty: "
    "nowhere.",
    pattern=r"([A-Za-z_][A-Za-z0-9_]{0,63})?",
    expected="the name of a field of a message, or empty",
)
SHORT_IDS = EndpointOption(
    "short_tool_call_ids",
    False,
    "Send the ids of tool calls in nine letters and digits, as Mistral wants them.",
)
REFUSED_FIELDS = EndpointOption(
    "refused_fields",
    "",
    "Request fields that the server refuses, parted by blanks: a request with one of them is not "
    "sent.",
    pattern=r"[a-z_ ]{0,200}",
    expected="names of request fields",
)


@attrs.frozen
class _EndpointOptions:
    """What an endpoint's options say, read once for those that have none."""

    reasoning_field: str
    short_ids: bool
    max_tokens_field: str
    seed_field: str
    refused_fields: list[str]
    include_usage: bool


def _options(endpoint: Endpoint) -> _EndpointOptions:
    return _read_options(endpoint.options) if endpoint.options else _USUAL


def _read_options(given: Mapping[str, object]) -> _EndpointOptions:
    def of(option: EndpointOption) -> Any:
        return given.get(option.name, option.default)

    return _EndpointOptions(
        of(REASONING_FIELD),
        of(SHORT_IDS),
        of(MAX_TOKENS_FIELD),
        of(SEED_FIELD),
        of(REFUSED_FIELDS).split(),
        of(INCLUDE_USAGE),
    )


_USUAL = _read_options({})


class OpenAIChat:
    """The `Dialect`. JSON and HTML answers are refused by their head; an event stream under
    another name is taken for what it is."""

    api = API
    name = "openai-chat"
    auth: Auth = "bearer"
    options = (
        MAX_TOKENS_FIELD,
        INCLUDE_USAGE,
        SEED_FIELD,
        REASONING_FIELD,
        SHORT_IDS,
        REFUSED_FIELDS,
    )
    session = OpenAIResponsesSession()
    """The WebSockets of this API's servers speak the Responses API."""

    def path(self, _request: ChatRequest, _model: str, /) -> str:
        return "/chat/completions"

    def headers(self, _endpoint: Endpoint, /) -> tuple[Header, ...]:
        return SSE_HEADERS

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        """The request body: JSON, UTF-8, no field that is None.

        Raises:
            RequestError: a field holds something that JSON cannot say; the message names it.
        """
        body = _encode(request, endpoint, model, self.name)
        if isinstance(body, bytes):
            return body
        raise RequestError(body)

    def check_head(self, head: HttpHead) -> bool:
        return may_stream(head)

    def decoder(self, request: ChatRequest) -> OpenAIChatStream:
        n = request.extra.get("n", request.n)
        return OpenAIChatStream(
            min(n, MAX_CHOICES) if isinstance(n, int) and n > 0 else 1,
            logprobs=bool(request.extra.get("logprobs")),
        )

    def usage_fields(
        self, fields: Mapping[str, object], endpoint: Endpoint
    ) -> Mapping[str, object] | None:
        options = fields.get("stream_options") or {}
        if not INCLUDE_USAGE.of(endpoint) or not isinstance(options, Mapping):
            return None
        if options.get("include_usage"):
            return None
        return {"stream_options": {**options, "include_usage": True}}

    def usage_filter(self) -> UsageFilter:
        return UsageFilter(_is_usage_alone, _NO_CHOICES)

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return with_prefix(request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def _is_usage_alone(data: bytes) -> bool:
    """Whether a chunk is the one that `include_usage` adds: usage, and no choices."""
    chunk = read_json(data)
    return isinstance(chunk, dict) and not chunk.get("choices") and bool(chunk.get("usage"))


def _encode(request: ChatRequest, endpoint: Endpoint, model: str, dialect: str) -> bytes | str:
    """The body, or what is wrong with the request. Raising is left to a caller whose frame
    does not hold the body, so that no traceback shows a prompt."""
    options = _options(endpoint)
    messages = sent_messages(request.messages, dialect, options.reasoning_field)
    if options.short_ids:
        messages = with_short_ids(messages)
    fields: dict[str, object] = {"model": model, "messages": messages}
    if request.max_tokens is not None:
        fields[options.max_tokens_field] = request.max_tokens
    for name in _FIELDS:
        value = getattr(request, name)
        if value is not None:
            fields[name] = value
    if request.seed is not None:
        fields[options.seed_field] = request.seed
    for name in options.refused_fields:
        if name in fields:
            return (
                f"the server of endpoint {endpoint.name!r} has no request field {name!r}; leave it "
                "out, or use another endpoint"
            )
    if options.include_usage:
        fields["stream_options"] = {"include_usage": True}
    fields |= request.extra
    fields["stream"] = True
    return encode_body(fields)
