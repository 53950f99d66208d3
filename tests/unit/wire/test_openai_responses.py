"""The Responses dialect: what is sent, and which answers may be streams."""

import json
import traceback
from typing import Any

import pytest

from streamnursery.values.errors import QuotaError, RequestError
from streamnursery.values.http import HttpHead
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Endpoint
from streamnursery.wire.dialect import Dialect
from streamnursery.wire.openai_responses.client import OpenAIResponses

DIALECT: Dialect = OpenAIResponses()
MESSAGES = [{"role": "user", "content": "Hi"}]
MAIN = Endpoint("main", BaseUrl.parse("https://api.example.com/v1"), dialect="openai-responses")


def sent(request: ChatRequest, endpoint: Endpoint = MAIN) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(DIALECT.encode(request, endpoint, "wire-name"))
    return body


def items(*messages: dict[str, Any]) -> list[Any]:
    found: list[Any] = sent(ChatRequest("m", messages))["input"]
    return found


def refused(request: ChatRequest) -> str:
    with pytest.raises(RequestError) as caught:
        DIALECT.encode(request, MAIN, "wire-name")
    return str(caught.value)


def test_a_bare_request_sends_what_a_stream_needs_and_no_more() -> None:
    assert sent(ChatRequest("m", MESSAGES)) == {
        "model": "wire-name",
        "input": MESSAGES,
        "stream": True,
    }
    assert DIALECT.path(ChatRequest("m", MESSAGES), "m") == "/responses"


def test_fields_are_sent_under_the_names_of_this_api() -> None:
    schema = {"name": "s", "schema": {"type": "object"}, "strict": True}
    body = sent(
        ChatRequest(
            "m",
            MESSAGES,
            n=1,
            max_tokens=5,
            temperature=0.0,
            top_p=1.0,
            user="u",
            metadata={"k": "v"},
            reasoning_effort="low",
            response_format={"type": "json_schema", "json_schema": schema},
        )
    )
    assert body["max_output_tokens"] == 5
    assert body["reasoning"] == {"effort": "low"}
    assert body["text"] == {"format": {"type": "json_schema", **schema}}
    assert (body["temperature"], body["top_p"], body["user"]) == (0.0, 1.0, "u")
    assert body["metadata"] == {"k": "v"}
    assert "n" not in body
    plain = ChatRequest("m", MESSAGES, response_format={"type": "json_object"})
    assert sent(plain)["text"] == {"format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("max_tokens", "max_output_tokens"),
        ("max_completion_tokens", "max_output_tokens"),
        ("num_predict", "num_predict"),
    ],
)
def test_a_token_limit_of_another_api_is_not_sent_and_an_own_name_is(
    field: str, wanted: str
) -> None:
    endpoint = Endpoint("main", MAIN.url, options={"max_tokens_field": field})
    assert sent(ChatRequest("m", MESSAGES, max_tokens=5), endpoint)[wanted] == 5


def test_instructions_keep_their_place_and_their_role() -> None:
    messages = [{"role": r, "content": "x"} for r in ("system", "developer", "user", "assistant")]
    assert items(*messages) == messages


def test_parts_are_translated_and_those_of_this_api_pass_through() -> None:
    own = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    (message,) = items({
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "image_url", "image_url": "https://x/z.png"},
            {"type": "file", "file": {"file_id": "f"}},
            own,
            "odd",
        ],
    })
    assert message["content"] == [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/y.png"},
        {"type": "input_image", "image_url": "https://x/z.png"},
        {"type": "input_file", "file_id": "f"},
        own,
        "odd",
    ]


def test_what_the_assistant_said_and_called_becomes_items_in_order() -> None:
    said = {"type": "text", "text": "Let me see"}
    refusal = {"type": "refusal", "refusal": "No"}
    get = {"id": "a", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    sql = {"id": "b", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    assert items(
        {"role": "assistant", "content": [said, refusal], "tool_calls": [get, sql]},
        {"role": "tool", "tool_call_id": "a", "content": "42"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "43"}]},
        {"role": "assistant", "content": None, "tool_calls": [get, {"id": "c"}, "odd"]},
        {"role": "tool", "tool_call_id": "c", "content": None},
        {"role": "assistant", "content": None},
    ) == [
        {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see"}, refusal]},
        {"type": "function_call", "call_id": "a", "name": "get", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "b", "name": "sql", "input": "SELECT 1"},
        {"type": "function_call_output", "call_id": "a", "output": "42"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [{"type": "input_text", "text": "43"}],
        },
        {"type": "function_call", "call_id": "a", "name": "get", "arguments": "{}"},
        {"type": "function_call", "call_id": "c", "name": None, "arguments": ""},
        "odd",
        {"type": "function_call_output", "call_id": "c", "output": ""},
        {"role": "assistant", "content": ""},
    ]


def test_tools_lose_their_box_and_keep_the_chat_apis_leniency() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    own = {"type": "web_search"}
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "function", "function": {"name": "g", "strict": True}},
        {"type": "function", "name": "h"},
        {"type": "custom", "custom": {"name": "c", "format": grammar}},
        own,
    ]
    assert sent(ChatRequest("m", MESSAGES, tools=tools))["tools"] == [
        {"type": "function", "strict": False, "name": "f", "parameters": {}},
        {"type": "function", "strict": True, "name": "g"},
        {"type": "function", "name": "h"},
        {
            "type": "custom",
            "name": "c",
            "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
        },
        own,
    ]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", "auto"),
        (
            {"type": "function", "function": {"name": "f"}},
            {"type": "function", "name": "f"},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        ),
    ],
)
def test_the_choice_of_a_tool_is_translated(choice: Any, wanted: object) -> None:
    assert sent(ChatRequest("m", MESSAGES, tool_choice=choice))["tool_choice"] == wanted


def test_extra_wins_over_every_field_but_stream() -> None:
    extra = {"model": "other", "store": False, "input": "Hi", "stream": False, "seed": 3}
    body = sent(ChatRequest("m", MESSAGES, temperature=1.0, extra=extra))
    assert (body["model"], body["store"], body["input"]) == ("other", False, "Hi")
    assert (body["seed"], body["stream"]) == (3, True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 2}, "n > 1"),
        ({"stop": "x", "seed": 1}, "no stop and no seed"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0]"),
        ({"temperature": float("nan")}, "nan"),
    ],
)
def test_what_this_api_cannot_say_is_refused_with_a_way_out(
    fields: dict[str, Any], words: str
) -> None:
    assert words in refused(ChatRequest("m", **{"messages": MESSAGES, **fields}))


def test_no_traceback_of_a_refusal_holds_the_prompt() -> None:
    messages = [{"role": "user", "content": "a secret prompt \ud800"}]
    try:
        DIALECT.encode(ChatRequest("m", messages), MAIN, "wire-name")
    except RequestError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert not any("'input'" in line for line in shown.format())
    else:
        pytest.fail("half a surrogate pair was encoded")


def test_heads_and_errors_are_read_as_in_the_chat_api() -> None:
    assert DIALECT.check_head(HttpHead(200, (("content-type", "text/event-stream"),)))
    assert DIALECT.check_head(HttpHead(200, (("content-type", "application/json"),)))
    assert not DIALECT.check_head(HttpHead(200, (("content-type", "text/html"),)))
    body = b'{"error":{"type":"insufficient_quota"}}'
    assert type(DIALECT.error_from_answer(HttpHead(429, ()), body, now=0.0)) is QuotaError
    assert not DIALECT.decoder(ChatRequest("m", MESSAGES)).done
