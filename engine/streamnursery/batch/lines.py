"""A line of input as a request: OpenAI's and Anthropic's batch lines, prompts, messages, plain
text.

Formats: OpenAI Batch API (`custom_id`, `method`, `url`, `body`), Anthropic Message Batches
(`custom_id`, `params`). Lines of our own are `{"prompt": ...}` or `{"messages": [...]}` with the
fields of a request beside them, and `id` or `custom_id`; text that is not a JSON object is a
prompt.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal

import attrs
import msgspec

from streamnursery.batch.anthropic_lines import from_anthropic
from streamnursery.core.limits.token_estimate import input_tokens
from streamnursery.values.errors import RequestError
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.wire.relay_body import RelayBody

Api = Literal["chat", "responses", "passed_on"]
URLS: dict[str, Api] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/embeddings": "passed_on",
    "/v1/completions": "passed_on",
    "/v1/moderations": "passed_on",
    "/v1/rerank": "passed_on",
    "/v1/score": "passed_on",
}
"""Those of OpenAI's Batch API, and of rerankers as vLLM serves them."""
_OWN = frozenset({"id", "custom_id", "prompt", "messages", "model"})
_MAX_ID = 512
_ANSWER = 256
"""Tokens of an answer whose length nothing bounds."""
_NO_MODEL = "no model: give each line one, or --model for all that have none"
_NO_BODY = ("stream", "stream_options")
"""Of a body that asks for a stream: every answer is streamed here, and written whole."""
_FIELDS = frozenset(attrs.fields_dict(ChatRequest)) - {"extra", "headers", "model", "messages"}
_RESPONSES = {"max_output_tokens": "max_tokens"}


class LineError(ValueError):
    """What is wrong with a line, in words."""


@attrs.frozen
class BatchRow:
    """One row of a batch."""

    id: str
    """`custom_id` of the input, or "row-N" with the number of the line from 1."""
    request: ChatRequest
    api: Api = "chat"
    """Which body the answer is written in; that of a row that is passed on is the provider's."""
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The line as it was, for a task."""
    url: str = ""
    """The path of a row that is passed on."""
    body: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """What such a row sends."""

    @property
    def weight(self) -> float:
        """Tokens that are expected, input and output: what its part of the work is."""
        request = self.request
        return input_tokens(request) + (request.max_tokens or _ANSWER) * (request.n or 1)

    @property
    def digest(self) -> str:
        """Of what is asked for, to distinguish it from another request of the same id."""
        what = {"url": self.url, "body": self.body} if self.url else _asked(self.request)
        asked = msgspec.json.encode(what, order="deterministic", enc_hook=str)
        return blake2b(asked, digest_size=8).hexdigest()


def _asked(request: ChatRequest) -> dict[str, Any]:
    found = {name: getattr(request, name) for name in attrs.fields_dict(ChatRequest)}
    return {n: v for n, v in found.items() if v not in (None, {}, "") and n not in _UNSENT}


_UNSENT = frozenset({
    "headers",
    "tenant",
    "priority",
    "patience",
    "retries",
    "hedge_after",
    "on_abort",
})


def row_of(value: object, number: int, model: str | None) -> BatchRow:
    """The row that a line, or an item of an iterable, stands for. `number` is from 1; `model`
    serves rows that name none.

    Raises:
        LineError: it stands for none.
    """
    if isinstance(value, BatchRow):
        return value
    if isinstance(value, ChatRequest):
        return BatchRow(f"row-{number}", value)
    if isinstance(value, str):
        return BatchRow(f"row-{number}", _request({"prompt": value}, model))
    if not isinstance(value, Mapping):
        msg = f"must be a prompt, a mapping or a ChatRequest, not {type(value).__name__}"
        raise LineError(msg)
    name = _id(value, number)
    if "body" in value:
        api = _api(value)
        body = _mapping(value, "body")
        if api == "passed_on":
            return _passed_on(name, value, body, model)
        fields = _from_responses(body) if api == "responses" else body
        return BatchRow(name, _request(fields, model), api, value)
    if "params" in value:
        return BatchRow(
            name, _request(from_anthropic(_mapping(value, "params")), model), "chat", value
        )
    return BatchRow(name, _request(value, model), "chat", value)


def _id(value: Mapping[str, Any], number: int) -> str:
    name = value.get("custom_id", value.get("id"))
    if name is None:
        return f"row-{number}"
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_ID:
        msg = f"`custom_id` must be text of 1 to {_MAX_ID} characters"
        raise LineError(msg)
    return name


def _mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value[name]
    if not isinstance(found, Mapping):
        msg = f"`{name}` must be an object, not {type(found).__name__}"
        raise LineError(msg)
    return found


def _api(value: Mapping[str, Any]) -> Api:
    url, method = value.get("url", "/v1/chat/completions"), value.get("method", "POST")
    if method != "POST":
        msg = f"`method` must be POST, not {method!r:.40}"
        raise LineError(msg)
    api = URLS.get(url) if isinstance(url, str) else None
    if api is None:
        msg = f"`url` must be one of {', '.join(URLS)}, not {url!r:.60}"
        raise LineError(msg)
    return api


def _passed_on(
    name: str, value: Mapping[str, Any], body: Mapping[str, Any], model: str | None
) -> BatchRow:
    """A row whose body is sent as it is, with a model and without a wish for a stream."""
    named = body.get("model") or model
    if not isinstance(named, str) or not named.strip():
        raise LineError(_NO_MODEL)
    sent = {n: v for n, v in body.items() if n not in _NO_BODY} | {"model": named}
    request = RelayBody(b"", sent).request(named, {}, "", None)
    return BatchRow(name, request, "passed_on", value, value["url"], sent)


def _from_responses(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Responses body in those of a chat completion, where they have one."""
    fields = {_RESPONSES.get(name, name): v for name, v in body.items()}
    asked = fields.pop("input", None)
    if not isinstance(asked, str | list) or not asked:
        msg = "`body.input` must be text or a list of messages"
        raise LineError(msg)
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
    instructions = fields.pop("instructions", None)
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    return {**fields, "messages": messages}


def _request(fields: Mapping[str, Any], model: str | None) -> ChatRequest:
    name = fields.get("model") or model
    if not name:
        raise LineError(_NO_MODEL)
    prompt, messages = fields.get("prompt"), fields.get("messages")
    if (prompt is None) == (messages is None):
        raise LineError("needs `prompt` or `messages`, and only one of them")
    known = {n: v for n, v in fields.items() if n in _FIELDS and v is not None}
    extra = {
        n: v for n, v in fields.items() if n not in _FIELDS and n not in _OWN and n not in _NO_BODY
    }
    try:
        asked = messages if prompt is None else prompt
        return make_request(name, asked, **known, extra={**extra})
    except (RequestError, TypeError, ValueError) as error:
        raise LineError(str(error)) from None


def sampled(row: BatchRow, samples: int) -> list[BatchRow]:
    """The row so many times, as `id#0`, `id#1` ...; itself where one is asked for."""
    if samples == 1:
        return [row]
    return [attrs.evolve(row, id=f"{row.id}#{n}") for n in range(samples)]
