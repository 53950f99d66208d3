"""What the simulated Messages API refuses, as Anthropic does."""

import json
from typing import Any

import pytest

from streamnursery.wire.anthropic_messages.server import error_body, question_of_messages
from streamnursery.wire.anthropic_messages.signatures import signature
from streamnursery.wire.openai_chat.server import ApiError

USER = {"role": "user", "content": "Why?"}
CALL = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": signature("Hm.")}
ENABLED = {"type": "enabled", "budget_tokens": 1024}


def body(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "fast", "max_tokens": 5000, "messages": list(messages or [USER]), **fields}


def said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (body(seed=1), "seed: Extra inputs are not permitted"),
        (body(max_tokens=None), "max_tokens: Field required"),
        (body(max_tokens=0), "max_tokens"),
        (body(messages=[]), "at least one message"),
        (body({"role": "system", "content": "x"}), "should be 'user' or 'assistant'"),
        (body({"role": "user", "content": ""}), "must be non-empty"),
        (body({"role": "user", "content": 5}), "valid string or list"),
        (body(thinking={"type": "enabled", "budget_tokens": 9}), "greater than or equal to 1024"),
        (body(thinking={"type": "enabled", "budget_tokens": 9999}), "must be greater than"),
        (body(USER, said(CALL), USER), "without `tool_result` blocks immediately after: t"),
        (body(USER, said(CALL)), "without `tool_result`"),
        (body(RESULT), "unexpected `tool_use_id`"),
        (body(USER, said({**CALL, "input": "x"})), "valid dictionary"),
        (body(USER, said(CALL), RESULT, thinking=ENABLED), "but found `tool_use`"),
        (body(USER, said({**THOUGHT, "signature": ""}), USER), "signature: Field required"),
        (body(USER, said({**THOUGHT, "thinking": "No."}), USER), "Invalid `signature`"),
    ],
)
def test_it_refuses(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ApiError) as caught:
        question_of_messages(asked)
    assert told in str(caught.value)


def test_it_takes_thoughts_that_are_signed_and_those_of_turns_that_are_over() -> None:
    question_of_messages(body(USER, said(THOUGHT, CALL), RESULT, thinking=ENABLED))
    question_of_messages(
        body(USER, said(CALL), RESULT, said({"type": "text", "text": "x"}), USER, thinking=ENABLED)
    )


def test_a_conversation_is_the_chat_apis() -> None:
    question = question_of_messages(
        body(USER, said({"type": "text", "text": "Wait."}, CALL), RESULT, system="Be brief.")
    )
    assert question.messages == [
        {"role": "system", "content": "Be brief."},
        USER,
        {
            "role": "assistant",
            "content": "Wait.",
            "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "t", "content": "x"},
    ]


def test_an_error_has_the_type_of_its_status_or_its_own() -> None:
    def told(*args: Any, **fields: Any) -> Any:
        return json.loads(error_body(ApiError(*args, **fields)))["error"]

    assert told(404, "x")["type"] == "not_found_error"
    assert told(418, "x")["type"] == "invalid_request_error"
    assert told(503, "x")["type"] == "api_error"
    assert told(500, "x", code="overloaded_error")["type"] == "overloaded_error"
    spent = told(429, "x", code="enforced_spend_limit_reached")
    assert spent["details"] == {"error_code": "enforced_spend_limit_reached"}
