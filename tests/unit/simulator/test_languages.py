"""The simulated provider's answers in the languages of Anthropic and Google, whole and refused."""

import json
from random import Random
from typing import Any

import pytest

from streamnursery.serving.steps import Send
from streamnursery.simulator import (
    CallTool,
    InStreamError,
    NoUsage,
    Plan,
    Provider,
    RateLimit,
    Reasoning,
    Respond,
    Status,
)
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.messages import limit_headers
from streamnursery.wire.gemini.server import question_of_contents
from streamnursery.wire.openai_chat.server import ApiError
from tests.support.simulator import MODELS

CLAUDE = {
    "model": "fast",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Why?"}],
}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}
VERSION = ("anthropic-version", "2023-06-01")
AT = {
    "claude": "/v1/messages",
    "whole": "/v1beta/models/fast:generateContent",
    "stream": "/v1beta/models/fast:streamGenerateContent?alt=sse",
}


def asked(
    target: str, body: Any, *script: Fault, headers: Any = (VERSION,), method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer."""
    provider = Provider(dice=Random(1), models=MODELS, plan=Plan.always(*script))
    exchange = provider.begin(method, target, headers, 0.0, version="1.0")
    steps = exchange.answer(json.dumps(body).encode(), 0.0)
    text = b"".join(step.data for step in steps if isinstance(step, Send))
    head, _, rest = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), pairs, rest


def test_a_whole_message() -> None:
    script = (Reasoning(2), CallTool(arguments='{"a":1}'))
    status, headers, body = asked(AT["claude"], CLAUDE, *script)
    message = json.loads(body)
    assert (status, message["stop_reason"]) == (200, "tool_use")
    assert [block["type"] for block in message["content"]] == ["thinking", "tool_use"]
    assert message["content"][1]["input"] == {"a": 1}
    assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 2}
    assert headers["request-id"] == headers["x-request-id"]


def test_a_whole_gemini_answer() -> None:
    status, _, body = asked(AT["whole"], GEMINI, Reasoning(2), CallTool(arguments='{"a":1}'))
    answer = json.loads(body)
    (candidate,) = answer["candidates"]
    assert (status, candidate["finishReason"]) == (200, "STOP")
    parts = candidate["content"]["parts"]
    assert [part["functionCall"]["args"] for part in parts if "functionCall" in part] == [{"a": 1}]
    assert answer["usageMetadata"]["thoughtsTokenCount"] == 2
    two = {**GEMINI, "generationConfig": {"candidateCount": 2}}
    _, _, body = asked(AT["whole"], two, Respond(text="Hi"))
    assert [one["index"] for one in json.loads(body)["candidates"]] == [0, 1]


@pytest.mark.parametrize(
    ("target", "body", "status", "told"),
    [
        (AT["claude"], {**CLAUDE, "model": "none"}, 404, "not_found_error"),
        ("/v1beta/models/none:generateContent", GEMINI, 404, "NOT_FOUND"),
        ("/v1beta/models/fast:countTokens", GEMINI, 404, "Unknown method"),
        ("/v1beta/models/fast:streamGenerateContent", GEMINI, 400, "alt=sse alone"),
        (AT["whole"], {**GEMINI, "seed": 1}, 400, 'Unknown name \\"seed\\"'),
    ],
)
def test_a_refusal_has_the_languages_shape(target: str, body: Any, status: int, told: str) -> None:
    found, _, text = asked(target, body)
    assert found == status
    assert told in text.decode()


def test_a_message_without_a_version_is_refused() -> None:
    status, _, body = asked(AT["claude"], CLAUDE, headers=())
    assert status == 400
    assert b"anthropic-version: header is required" in body
    assert asked(AT["claude"], CLAUDE, method="GET")[0] == 405


def test_an_error_and_its_wait_are_told_in_googles_details() -> None:
    status, headers, body = asked(AT["whole"], GEMINI, RateLimit(rpm=1), Status(429))
    assert status == 429
    assert json.loads(body)["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert headers["content-type"] == "application/json"
    _, _, text = asked(AT["stream"], GEMINI, InStreamError(1, code="rate_limit_error"))
    assert b'"code":429' in text
    _, _, text = asked(AT["stream"], GEMINI, NoUsage())
    assert text.count(b'"usageMetadata":{}') == 1


def test_limits_have_anthropics_names_and_dates() -> None:
    told = [("x-ratelimit-limit-requests", "5"), ("x-ratelimit-reset-tokens", "1m2.5s")]
    assert limit_headers([*told, ("server", "sim")], 0.0) == [
        ("anthropic-ratelimit-requests-limit", "5"),
        ("anthropic-ratelimit-tokens-reset", "1970-01-01T00:01:02.500000Z"),
        ("server", "sim"),
    ]
    ((_, soon),) = limit_headers([("x-ratelimit-reset-tokens", "20ms")], 0.0)
    assert soon == "1970-01-01T00:00:00.020000Z"


CALL = {"role": "model", "parts": [{"functionCall": {"name": "look"}}]}
RESULT = {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {}}}]}
ASKED = {"role": "user", "parts": [{"text": "Why?"}]}


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ([], "contents is not specified"),
        ([{"role": "system", "parts": [{"text": "x"}]}], "valid role"),
        ([{"role": "user", "parts": []}], "parts is empty"),
        ([ASKED, CALL, ASKED], "number of function response parts"),
        ([ASKED, RESULT], "number of function response parts"),
        ([ASKED, CALL], "comes before a function response turn"),
    ],
)
def test_contents_that_google_refuses(contents: Any, told: str) -> None:
    with pytest.raises(ApiError, match=told):
        question_of_contents({"contents": contents}, "fast", stream=True)


def test_a_conversation_is_the_chat_apis() -> None:
    tools = [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": {}}]}]
    body = {
        "contents": [ASKED, CALL, RESULT],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": tools,
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
    }
    question = question_of_contents(body, "fast", stream=True)
    assert [message["role"] for message in question.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert question.tool_choice == {"type": "function", "function": {"name": "look"}}
