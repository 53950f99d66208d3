"""A request in the words of Anthropic's Messages API."""

import json
from typing import Any

import pytest

from streamnursery.values.errors import RequestError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.settings import Endpoint
from streamnursery.wire.anthropic_messages.client import AnthropicMessages
from streamnursery.wire.continuation import GO_ON

URL = BaseUrl.parse("https://api.anthropic.com/v1")
DIALECT = AnthropicMessages()
USER = {"role": "user", "content": "Why?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
TOOL_USE = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}}
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}


def body(messages: Any = "Why?", *, options: Any = None, **fields: Any) -> dict[str, Any]:
    endpoint = Endpoint("e", URL, options=options or {})
    request = ChatRequest("m", messages, **fields)
    made: dict[str, Any] = json.loads(DIALECT.encode(request, endpoint, "claude-x"))
    return made


def turns(*messages: Any) -> Any:
    return body([USER, *messages])["messages"][1:]


def refusal(messages: Any = "Why?", **fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        body(messages, **fields)
    return str(caught.value)


def test_a_plain_question() -> None:
    assert body() == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [USER],
        "stream": True,
    }
    assert DIALECT.path(ChatRequest("m", "Hi"), "m") == "/messages"
    assert ("anthropic-version", "2023-06-01") in DIALECT.headers(Endpoint("e", URL))
    assert DIALECT.auth == "x-api-key"


def test_the_systems_words_stand_at_the_top() -> None:
    made = body([
        {"role": "system", "content": "Be brief."},
        USER,
        {
            "role": "developer",
            "content": [{"type": "text", "text": "x", "cache_control": EPHEMERAL}],
        },
    ])
    assert made["messages"] == [USER]
    assert made["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "x", "cache_control": EPHEMERAL},
    ]
    assert body([{"role": "system", "content": "Be brief."}, USER])["system"] == "Be brief."


def test_the_results_of_a_turn_are_one_message_in_front_of_what_the_user_says() -> None:
    calls = [CALL, {**CALL, "id": "c2"}]
    assert turns(
        {"role": "assistant", "content": "Wait.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [], "is_error": True},
        {"role": "user", "content": "And now?"},
        {"role": "user", "content": "Well?"},
    ) == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Wait."},
                TOOL_USE,
                {**TOOL_USE, "id": "c2"},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "c2", "is_error": True},
                {"type": "text", "text": "And now?"},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ["", None, "{}", {}])
def test_a_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    call = {"id": "c1", "function": {"name": "look", "arguments": arguments}}
    (turn,) = turns({"role": "assistant", "content": None, "tool_calls": [call]})
    assert turn["content"] == [{**TOOL_USE, "input": {}}]


def test_images_and_files_are_told_as_the_api_does() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {
            "type": "image_url",
            "image_url": {"url": "https://e.test/a.png"},
            "cache_control": EPHEMERAL,
        },
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
        },
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "search_result", "source": "s", "title": "t", "content": []},
    ]
    (turn,) = turns({"role": "user", "content": parts})
    base64 = {"type": "base64", "data": "QUJD"}
    assert turn["content"] == [
        {"type": "image", "source": {**base64, "media_type": "image/png"}},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://e.test/a.png"},
            "cache_control": EPHEMERAL,
        },
        {
            "type": "document",
            "source": {**base64, "media_type": "application/pdf"},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        parts[4],
    ]


def test_texts_that_say_nothing_are_left_out() -> None:
    assert turns({"role": "assistant", "content": ""}, {"role": "user", "content": None}) == []


def test_parameters_have_the_apis_names() -> None:
    made = body(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop="END",
        user="u",
        extra={"top_k": 3, "service_tier": "auto"},
    )
    assert made["max_tokens"] == 9
    assert made["stop_sequences"] == ["END"]
    assert made["metadata"] == {"user_id": "u"}
    assert (made["temperature"], made["top_p"], made["top_k"]) == (0.5, 0.9, 3)
    assert made["service_tier"] == "auto"
    assert body(metadata={"user_id": "v"})["metadata"] == {"user_id": "v"}
    assert body(options={"default_max_tokens": "99"})["max_tokens"] == 99


def test_tools_and_their_choice() -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    function = {"name": "look", "description": "Looks.", "parameters": schema, "strict": True}
    search = {"type": "web_search_20250305", "name": "web_search"}
    made = body(
        tools=[
            {"type": "function", "function": function, "cache_control": EPHEMERAL},
            {"type": "function", "function": {"name": "bare"}},
            search,
        ]
    )
    assert made["tools"] == [
        {
            "name": "look",
            "description": "Looks.",
            "strict": True,
            "input_schema": schema,
            "cache_control": EPHEMERAL,
        },
        {"name": "bare", "input_schema": {"type": "object", "properties": {}}},
        search,
    ]
    choices = {
        "auto": {"type": "auto"},
        "required": {"type": "any"},
        "none": {"type": "none"},
    }
    for ours, theirs in choices.items():
        assert body(tool_choice=ours)["tool_choice"] == theirs
    named = {"type": "function", "function": {"name": "look"}}
    assert body(tool_choice=named)["tool_choice"] == {"type": "tool", "name": "look"}
    own = {"type": "auto", "disable_parallel_tool_use": True}
    assert body(tool_choice=own)["tool_choice"] == own


def test_effort_is_a_budget_that_comes_on_top_of_the_answers_bound() -> None:
    made = body(reasoning_effort="low")
    assert made["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert made["max_tokens"] == 4096 + 2048
    assert body(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    made = body(reasoning_effort="minimal", options={"thinking": "adaptive"})
    assert made["thinking"] == {"type": "adaptive"}
    assert made["output_config"] == {"effort": "low"}


def test_a_turn_that_began_without_thoughts_gets_no_budget_for_them() -> None:
    begun = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    result = {"role": "tool", "tool_call_id": "c1", "content": "x"}
    assert "thinking" not in body([*begun, result], reasoning_effort="low")
    over = [*begun, result, {"role": "assistant", "content": "Because."}, USER]
    assert body(over, reasoning_effort="low")["thinking"]["type"] == "enabled"
    adaptive = body([*begun, result], reasoning_effort="low", options={"thinking": "adaptive"})
    assert adaptive["thinking"] == {"type": "adaptive"}


def test_a_schema_is_an_output_format() -> None:
    schema = {"type": "object"}
    told = {"type": "json_schema", "schema": schema}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    made = body(response_format=asked, reasoning_effort="high", options={"thinking": "adaptive"})
    assert made["output_config"] == {"effort": "high", "format": told}
    assert "output_config" not in body(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 2}, "no n > 1"),
        ({"seed": 1}, "no seed"),
        ({"response_format": {"type": "json_object"}}, "no response_format but json_schema"),
        ({"metadata": {"team": "x"}}, "no metadata but 'user_id'"),
        ({"tool_choice": "sometimes"}, "tool_choice 'sometimes' is none of"),
        ({"reasoning_effort": "huge"}, "reasoning_effort 'huge' has no budget"),
        ({"extra": {"x": float("nan")}}, "JSON cannot say"),
    ],
)
def test_what_the_api_has_no_word_for_is_refused(fields: dict[str, Any], told: str) -> None:
    assert told in refusal(**fields)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "function", "content": "x"}, "no role 'function'"),
        ({"role": "tool", "content": "x"}, "needs the 'tool_call_id'"),
        ({"role": "user", "content": 5}, "must be text or a list of parts"),
        ({"role": "user", "content": [5]}, "holds a int"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "takes no audio"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "needs a url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "data:x,y"}]},
            "must be base64",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "needs a 'function'"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x{"}}]},
            "are no JSON object",
        ),
    ],
)
def test_a_message_it_has_no_word_for_is_named(message: dict[str, Any], told: str) -> None:
    said = refusal([USER, message])
    assert said.startswith("messages[1]")
    assert told in said


def test_signed_thoughts_and_blocks_of_server_tools_come_back_at_their_places() -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    held = {
        "dialect": "anthropic-messages",
        "reasoning": "First.Then.",
        "parts": [
            {"kind": "caller", "data": {"type": "code"}, "tool": 1},
            {"kind": "thinking", "data": {"type": "thinking", "signature": "a"}, "reasoning": 6},
            {"kind": "server_tool_use", "data": search, "text": 4, "reasoning": 6},
            {"kind": "citation", "data": {"cited_text": "x"}, "text": 6, "reasoning": 6},
            {
                "kind": "thinking",
                "data": {"type": "thinking", "signature": "b"},
                "text": 9,
                "reasoning": 99,
                "tool_calls": 1,
            },
        ],
    }
    message = {
        "role": "assistant",
        "content": "One. Two.",
        "tool_calls": [CALL, {**CALL, "id": "c2"}],
        KEY: held,
    }
    (turn,) = turns(message)
    assert turn["content"] == [
        {"type": "thinking", "signature": "a", "thinking": "First."},
        {"type": "text", "text": "One."},
        search,
        {"type": "text", "text": " Two."},
        TOOL_USE,
        {"type": "thinking", "signature": "b", "thinking": "Then."},
        {**TOOL_USE, "id": "c2", "caller": {"type": "code"}},
    ]
    (turn,) = turns({**message, KEY: {**held, "dialect": "gemini"}})
    assert [block["type"] for block in turn["content"]] == ["text", "tool_use", "tool_use"]


def test_a_broken_answer_is_gone_on_with_by_a_turn_of_the_users() -> None:
    request = ChatRequest("m", "Why?")
    assert [m["role"] for m in DIALECT.continued(request, "message", "Beca").messages] == [
        "user",
        "assistant",
    ]
    (*_, said, asked) = DIALECT.continued(request, "user-turn", "Beca").messages
    assert said == {"role": "assistant", "content": "Beca"}
    assert asked == {"role": "user", "content": GO_ON}
