"""A request in the words of Google's Interactions API."""

import json
from typing import Any

import pytest

from streamnursery.values.errors import RequestError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.settings import Endpoint
from streamnursery.wire.dialect import Cursor
from streamnursery.wire.gemini_interactions.client import GeminiInteractions

HERE = Endpoint("e", BaseUrl.parse("https://generativelanguage.googleapis.com/v1beta"))
DIALECT = GeminiInteractions()
USER = {"role": "user", "content": "Why?"}
WHY = {"type": "user_input", "content": [{"type": "text", "text": "Why?"}]}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
CALLED = {"type": "function_call", "id": "c1", "name": "look", "arguments": {"at": "x"}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "seen"}
PLAIN = {"model": "gemini-3-pro", "input": [WHY], "stream": True}


def body(messages: Any = "Why?", **fields: Any) -> dict[str, Any]:
    request = ChatRequest("m", messages, **fields)
    made: dict[str, Any] = json.loads(DIALECT.encode(request, HERE, "gemini-3-pro"))
    return made


def steps(*messages: Any) -> Any:
    return body([USER, *messages])["input"][1:]


def refusal(messages: Any = "Why?", **fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        body(messages, **fields)
    return str(caught.value)


def said(text: str) -> dict[str, Any]:
    return {"type": "model_output", "content": [{"type": "text", "text": text}]}


def test_a_plain_question() -> None:
    assert body() == PLAIN
    assert DIALECT.path(ChatRequest("m", "Hi"), "m") == "/interactions"
    assert DIALECT.auth == "x-goog-api-key"


def test_the_systems_words_are_its_instruction() -> None:
    made = body([
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "developer", "content": ["And kind."]},
    ])
    assert made == {**PLAIN, "system_instruction": "Be brief.\n\nAnd kind."}


def test_calls_and_results_are_steps() -> None:
    assert steps({"role": "assistant", "content": "Wait.", "tool_calls": [CALL]}, RESULT) == [
        said("Wait."),
        CALLED,
        {"type": "function_result", "call_id": "c1", "name": "look", "result": "seen"},
    ]


def test_what_it_thought_and_searched_comes_back_at_its_place() -> None:
    thought = {"type": "thought", "signature": "s=", "summary": []}
    search = {"type": "google_search_call", "id": "g", "arguments": {"queries": ["x"]}}
    image = {"type": "image", "data": "QUJD", "mime_type": "image/png"}
    message = {
        "role": "assistant",
        "content": "One. Two.",
        "tool_calls": [CALL],
        KEY: {
            "dialect": "gemini-interactions",
            "parts": [
                {"kind": "thought", "data": thought},
                {"kind": "google_search_call", "data": search, "text": 5},
                {"kind": "text_annotation_delta", "data": [{"a": 1}], "text": 9},
                {"kind": "image", "data": image, "text": 9},
                {"kind": "thought", "data": thought, "text": 9, "tool_calls": 1},
            ],
        },
    }
    told = said("Two.")
    told["content"].append(image)
    assert steps(message, RESULT)[:-1] == [thought, said("One. "), search, told, CALLED, thought]
    foreign = {**message, KEY: {**message[KEY], "dialect": "gemini"}}  # type: ignore[dict-item]
    assert steps(foreign, RESULT)[:-1] == [said("One. Two."), CALLED]


def test_images_files_and_sounds() -> None:
    (made,) = body([
        {
            "role": "user",
            "content": [
                "See",
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "image_url", "image_url": "https://x/y.png"},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}},
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                {"type": "video", "uri": "https://x/v"},
            ],
        }
    ])["input"]
    assert made["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image", "mime_type": "image/png", "data": "QUJD"},
        {"type": "image", "uri": "https://x/y.png"},
        {"type": "document", "mime_type": "application/pdf", "data": "QQ=="},
        {"type": "audio", "mime_type": "audio/wav", "data": "QQ=="},
        {"type": "video", "uri": "https://x/v"},
    ]


def test_settings_stand_in_their_object() -> None:
    made = body(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop="x",
        seed=4,
        reasoning_effort="low",
        tools=[CALL | {"function": {"name": "look", "description": "d", "parameters": {}}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}},
        metadata={"k": "v"},
        extra={"generation_config": {"seed": 5}, "background": True},
    )
    assert made == PLAIN | {
        "generation_config": {
            "max_output_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop_sequences": ["x"],
            "seed": 5,
            "thinking_level": "low",
            "thinking_summaries": "auto",
            "tool_choice": {"allowed_tools": {"mode": "any", "tools": ["look"]}},
        },
        "tools": [{"type": "function", "name": "look", "description": "d"}],
        "response_format": {"type": "text", "mime_type": "application/json", "schema": {"a": 1}},
        "labels": {"k": "v"},
        "background": True,
    }
    own = [{"type": "google_search"}]
    assert body(tools=own, tool_choice="required")["tools"] == own
    assert body(tools=own, tool_choice="required")["generation_config"] == {"tool_choice": "any"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"user": "u"}, "has no user"),
        ({"n": 2}, "makes one answer"),
        ({"reasoning_effort": "huge"}, "reasoning_effort 'huge' is none of"),
        ({"tool_choice": "maybe"}, "tool_choice 'maybe' is none of"),
        ({"response_format": {"type": "xml"}}, "response_format must be"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "has no role 'robot'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "needs the 'tool_call_id'"),
        ({"messages": [{"role": "system", "content": [{"type": "video"}]}]}, "is text in"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "no part of type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "needs its data"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "id": None}]}]},
            "the call of 'look' needs an 'id'",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[1]"}}],
                    }
                ]
            },
            "are no JSON object, which the Interactions API asks for",
        ),
    ],
)
def test_what_it_cannot_say_is_refused(fields: dict[str, Any], told: str) -> None:
    assert told in refusal(**{"messages": "Why?", **fields})


def test_a_stream_is_read_on_behind_its_last_event() -> None:
    asked = DIALECT.resume(ChatRequest("m", "Hi"), HERE, "m", Cursor("v1_abc", "e7"))
    assert (asked.method, asked.path) == ("GET", "/interactions/v1_abc")
    assert asked.query == {"stream": "true", "last_event_id": "e7"}
