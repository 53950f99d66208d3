"""The OpenAI chat dialect: what is sent, and which answers may be streams."""

import json
import traceback
from types import MappingProxyType
from typing import Any

import pytest

from streamnursery.values.errors import QuotaError, RequestError
from streamnursery.values.http import HttpHead
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint
from streamnursery.wire.dialect import Dialect
from streamnursery.wire.openai_chat.client import OpenAIChat

DIALECT: Dialect = OpenAIChat()
MESSAGES = [{"role": "user", "content": "Hi"}]
MAIN = Endpoint("main", BaseUrl.parse("https://api.example.com/v1"))


def sent(request: ChatRequest, endpoint: Endpoint = MAIN) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(DIALECT.encode(request, endpoint, "wire-name"))
    return body


def test_a_bare_request_sends_what_a_stream_needs_and_no_more() -> None:
    assert sent(ChatRequest("m", MESSAGES)) == {
        "model": "wire-name",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_field_is_sent_under_its_name() -> None:
    fields: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 1.0,
        "stop": ["a", "b"],
        "seed": 0,
        "n": 2,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "user": "u",
        "metadata": {"k": "v"},
        "max_tokens": 5,
    }
    body = sent(ChatRequest("m", MESSAGES, **fields))
    assert {name: body[name] for name in fields} == fields


def test_the_endpoint_names_the_token_limit_and_may_do_without_usage() -> None:
    options: dict[str, bool | str] = {
        "max_tokens_field": "max_completion_tokens",
        "include_usage": False,
    }
    endpoint = Endpoint("main", MAIN.url, options=options)
    body = sent(ChatRequest("m", MESSAGES, max_tokens=5), endpoint)
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body
    assert "stream_options" not in body


def test_extra_wins_over_every_field_but_stream() -> None:
    extra = MappingProxyType({
        "temperature": None,
        "model": "other",
        "stream_options": {"include_usage": False},
        "stream": False,
        "logit_bias": {"50256": -100},
    })
    body = sent(ChatRequest("m", MESSAGES, temperature=1.0, extra=extra))
    assert body["temperature"] is None
    assert body["model"] == "other"
    assert body["stream_options"] == {"include_usage": False}
    assert body["stream"] is True
    assert body["logit_bias"] == {"50256": -100}


def test_image_and_tool_parts_pass_untouched() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": parts},
        {"role": "tool", "tool_call_id": "a"},
    ]
    assert sent(ChatRequest("m", messages))["messages"] == messages


def test_a_field_that_json_cannot_say_is_named_in_a_request_error() -> None:
    request = ChatRequest("m", MESSAGES, extra={"bias": {"x": float("nan")}})
    with pytest.raises(RequestError, match=r"'bias\.x' is nan"):
        DIALECT.encode(request, MAIN, "m")


def test_t6_a_request_error_shows_neither_prompt_nor_key_in_any_frame() -> None:
    endpoint = Endpoint("main", MAIN.url, key=Secret("canary-key"))
    request = ChatRequest("m", [{"role": "user", "content": "canary prompt", "x": b""}])
    with pytest.raises(RequestError) as caught:
        DIALECT.encode(request, endpoint, "m")
    shown = "".join(traceback.TracebackException(
        RequestError, caught.value, caught.tb, capture_locals=True
    ).format())  # fmt: skip
    inside = shown[shown.index("openai_chat.py") :]
    assert "canary" not in inside


def test_the_path_is_below_the_base_url() -> None:
    assert DIALECT.path(ChatRequest("m", MESSAGES), "m") == "/chat/completions"


@pytest.mark.parametrize(
    ("status", "content_type", "stream"),
    [
        (200, "text/event-stream", True),
        (200, "text/event-stream;", True),
        (200, "Text/Event-Stream; charset=utf-8", True),
        (200, " text/event-stream ;charset=UTF-8", True),
        (200, "text/plain; charset=utf-8", True),
        (200, "application/octet-stream", True),
        (200, "", True),
        (200, None, True),
        (201, "text/event-stream", True),
        (200, "application/json", True),
        (200, "application/problem+json", False),
        (200, "text/html; charset=utf-8", False),
        (200, "x bogus", False),
        (200, "text/x-bogus", False),
        (204, "text/event-stream", False),
        (205, "text/event-stream", False),
        (206, "text/event-stream", False),
        (210, "text/event-stream", False),
        (299, "text/event-stream", False),
        (202, "text/event-stream", False),
    ],
)
def test_a_head_says_whether_an_event_stream_may_follow(
    status: int, content_type: str | None, stream: bool
) -> None:
    headers = () if content_type is None else (("content-type", content_type),)
    assert DIALECT.check_head(HttpHead(status, headers)) is stream


def test_an_error_answer_gives_its_typed_error() -> None:
    body = b'{"error":{"code":"insufficient_quota"}}'
    assert type(DIALECT.error_from_answer(HttpHead(429, ()), body, now=0.0)) is QuotaError


@pytest.mark.parametrize(
    ("n", "extra", "needed"),
    [(None, {}, 1), (3, {}, 3), (2, {"n": 3}, 3), (None, {"n": "x"}, 1), (None, {"n": 0}, 1)],
)
def test_a_stream_is_whole_once_every_choice_asked_for_has_finished(
    n: int | None, extra: dict[str, Any], needed: int
) -> None:
    for finished in range(1, 5):
        decoder = DIALECT.decoder(ChatRequest("m", MESSAGES, n=n, extra=extra))
        for i in range(finished):
            decoder.feed(b'data: {"choices":[{"index":%d,"finish_reason":"stop"}]}\n\n' % i)
        decoder.end()
        assert decoder.done is (finished >= needed)


def test_an_absurd_number_of_choices_costs_no_memory() -> None:
    decoder = DIALECT.decoder(ChatRequest("m", MESSAGES, n=10**12))
    assert decoder.end() == []
    assert decoder.failure is not None
