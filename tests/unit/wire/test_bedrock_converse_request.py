"""A request in the words of Amazon Bedrock's Converse API."""

import json
from typing import Any

import pytest

from streamnursery.values.errors import RequestError
from streamnursery.values.http import HttpHead
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.settings import Endpoint
from streamnursery.wire.bedrock_converse.client import BedrockConverse

HERE = Endpoint("e", BaseUrl.parse("https://bedrock-runtime.us-east-1.amazonaws.com"))
DIALECT = BedrockConverse()
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
USER = {"role": "user", "content": "Why?"}
WHY = {"role": "user", "content": [{"text": "Why?"}]}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
CALLED = {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"at": "x"}}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "seen"}


def body(messages: Any = "Why?", *, model: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    request = ChatRequest("m", messages, **fields)
    made: dict[str, Any] = json.loads(DIALECT.encode(request, HERE, model))
    return made


def turns(*messages: Any) -> Any:
    return body([USER, *messages])["messages"][1:]


def refusal(messages: Any = "Why?", **fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        body(messages, **fields)
    return str(caught.value)


def test_a_plain_question() -> None:
    assert body() == {"messages": [WHY]}
    assert DIALECT.auth == "bearer"
    assert DIALECT.path(ChatRequest("m", "Hi"), "a.b:0/c") == "/model/a.b%3A0%2Fc/converse-stream"


@pytest.mark.parametrize(
    ("status", "kind", "streams"),
    [
        (200, "application/vnd.amazon.eventstream", True),
        (200, "application/json; charset=utf-8", True),
        (200, "", True),
        (200, "text/html", False),
        (204, "application/json", False),
    ],
)
def test_what_may_be_a_stream(status: int, kind: str, streams: bool) -> None:
    headers = (("content-type", kind),) if kind else ()
    assert DIALECT.check_head(HttpHead(status, headers)) is streams


def test_turns_alternate_and_results_are_the_users() -> None:
    assert turns(
        {"role": "user", "content": ["And?"]},
        {"role": "assistant", "content": "Wait.", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        RESULT,
        {"role": "tool", "tool_call_id": "c2", "content": '{"heard": 1}', "is_error": True},
        {"role": "user", "content": "So?"},
    ) == [
        {
            "role": "assistant",
            "content": [
                {"text": "Wait."},
                CALLED,
                {"toolUse": {"toolUseId": "c2", "name": "look", "input": {"at": "x"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "seen"}]}},
                {
                    "toolResult": {
                        "toolUseId": "c2",
                        "content": [{"json": {"heard": 1}}],
                        "status": "error",
                    }
                },
                {"text": "So?"},
            ],
        },
    ]


def test_thoughts_come_back_at_their_place() -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}}
    message = {
        "role": "assistant",
        "content": "One. Two.",
        "tool_calls": [CALL],
        KEY: {
            "dialect": "bedrock-converse",
            "parts": [
                {"kind": "reasoningContent", "data": thought},
                {"kind": "citation", "data": {"title": "t"}, "text": 5},
                {"kind": "reasoningContent", "data": thought, "text": 5},
            ],
        },
    }
    (made,) = turns(message)
    assert made["content"] == [thought, {"text": "One. "}, thought, {"text": "Two."}, CALLED]


def test_the_systems_words_images_and_documents() -> None:
    png = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,QUJD"}}
    file = {"file_data": "data:application/pdf;base64,QQ==", "filename": "a_b.c.pdf"}
    made = body([
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"text": "Kind."}, {"cachePoint": {"type": "default"}}]},
        {"role": "user", "content": ["See", png, {"type": "file", "file": file}]},
    ])
    assert made["system"] == [
        {"text": "Be brief."},
        {"text": "Kind."},
        {"cachePoint": {"type": "default"}},
    ]
    assert made["messages"][0]["content"] == [
        {"text": "See"},
        {"image": {"format": "jpeg", "source": {"bytes": "QUJD"}}},
        {"document": {"format": "pdf", "name": "a b c", "source": {"bytes": "QQ=="}}},
    ]


def test_settings_stand_in_their_objects() -> None:
    made = body(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop="x",
        reasoning_effort="low",
        tools=[
            {"type": "function", "function": {"name": "look", "description": "d"}},
            {"cachePoint": {"type": "default"}},
        ],
        tool_choice={"type": "function", "function": {"name": "look"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}},
        metadata={"k": "v"},
        extra={"inferenceConfig": {"topP": 0.1}, "guardrailConfig": {"guardrailIdentifier": "g"}},
    )
    schema = {"schema": '{"a": 1}', "name": "n"}
    assert made == {
        "messages": [WHY],
        "inferenceConfig": {
            "maxTokens": 9,
            "temperature": 0.5,
            "topP": 0.1,
            "stopSequences": ["x"],
        },
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "look",
                        "description": "d",
                        "inputSchema": {"json": {"type": "object", "properties": {}}},
                    }
                },
                {"cachePoint": {"type": "default"}},
            ],
            "toolChoice": {"tool": {"name": "look"}},
        },
        "outputConfig": {
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}
        },
        "requestMetadata": {"k": "v"},
        "guardrailConfig": {"guardrailIdentifier": "g"},
    }
    tools = [CALL]
    assert body(tools=tools, tool_choice="required")["toolConfig"]["toolChoice"] == {"any": {}}
    assert "toolConfig" not in body(tools=tools, tool_choice="none")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"seed": 1, "user": "u"}, "has no seed and no user"),
        ({"n": 2}, "has no n > 1"),
        ({"reasoning_effort": "low", "model": "amazon.nova-pro-v1:0"}, "has no form for"),
        ({"tools": [CALL], "tool_choice": "maybe"}, "tool_choice 'maybe' is none of"),
        (
            {
                "messages": [USER, {"role": "assistant", "tool_calls": [CALL]}, RESULT],
                "tools": [CALL],
                "tool_choice": "none",
            },
            "no tool_choice 'none' once a tool was called",
        ),
        ({"response_format": {"type": "json_object"}}, "no response_format but json_schema"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "has no role 'robot'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "needs the 'tool_call_id'"),
        ({"messages": [{"role": "system", "content": [{"image": {}}]}]}, "is text in"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "no part of type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "fetches no image",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "file", "file": {"file_data": "data:a/b;base64,QQ"}}],
                    }
                ]
            },
            "takes no document of type 'a/b'",
        ),
    ],
)
def test_what_it_cannot_say_is_refused(fields: dict[str, Any], told: str) -> None:
    assert told in refusal(**{"messages": "Why?", **fields})
