"""The server halves of the dialects."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.wire.openai_chat import server as chat
from streamnursery.wire.openai_chat.server import ApiError, ChatCall, ChatWriter
from streamnursery.wire.openai_responses import server as responses
from streamnursery.wire.openai_responses.server import ResponseWriter

ASK: dict[str, Any] = {"model": "m?cut=3", "messages": [{"role": "user", "content": "hi"}]}


def test_a_model_is_read_as_it_was_written() -> None:
    assert chat.question_from(ASK).model == "m?cut=3"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"seed": True}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"tools": [1]}, "tools"),
        ({"stream_options": {"include_usage": "yes"}}, "include_usage"),
    ],
)
def test_a_wrong_field_is_named_in_the_error(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        chat.question_from({**ASK, **change})
    assert caught.value.status == 400
    assert json.loads(caught.value.body)["error"]["param"] == param


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="JSON"):
        chat.json_object(body)


@given(st.text(), st.integers(0, 127))
def test_a_frame_around_a_token_is_the_chunk_of_that_token(token: str, index: int) -> None:
    writer = ChatWriter("id", 1, "m", announces_usage=True)
    before, after = writer.frame(index, "content")
    whole = before + json.dumps(token, ensure_ascii=False).encode("utf-8", "replace") + after
    assert json.loads(whole) == json.loads(writer.chunk(index, {"content": token}))


def test_a_completion_holds_messages_calls_and_usage() -> None:
    writer = ChatWriter("id", 1, "m")
    calls = [ChatCall("call_1", "f", "{}")]
    message = chat.message("", reasoning={"reasoning": "hm"}, calls=calls)
    body = json.loads(writer.completion([(message, "tool_calls")], b'{"total_tokens":3}'))
    assert (body["object"], body["usage"]) == ("chat.completion", {"total_tokens": 3})
    (choice,) = body["choices"]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert (choice["message"]["content"], choice["message"]["reasoning"]) == (None, "hm")


def told(writer: ResponseWriter) -> list[dict[str, Any]]:
    """A response of two words and a call."""
    events = [*writer.opening(), *writer.token("content", "a"), *writer.token("content", "b")]
    opening = {"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}
    events += writer.token("tool_calls", [opening])
    events += writer.token("tool_calls", [{"index": 0, "function": {"arguments": "{}"}}])
    events += writer.closing("tool_calls", {"total_tokens": 4})
    return [json.loads(event) for event in events]


def test_events_of_a_response_are_numbered_and_end_with_the_whole() -> None:
    writer = ResponseWriter("resp_1", 1, chat.question_from(ASK))
    events = told(writer)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    text, call = events[-1]["response"]["output"]
    assert text["content"] == [{"type": "output_text", "text": "ab"}]
    assert (call["name"], call["arguments"], call["status"]) == ("f", "{}", "completed")
    assert events[-1]["response"]["usage"] == {"total_tokens": 4}


def test_a_response_without_an_end_only_ends_its_item() -> None:
    writer = ResponseWriter("resp_1", 1, chat.question_from(ASK))
    writer.token("content", "a")
    assert [json.loads(event)["type"] for event in writer.closing(None)] == [
        *("response.output_text.done", "response.content_part.done", "response.output_item.done")
    ]


def test_a_previous_response_that_is_not_known_is_named() -> None:
    body = {"model": "m", "input": "hi", "previous_response_id": "resp_0"}
    with pytest.raises(ApiError, match="resp_0"):
        responses.question_of_response(body, lambda _: None)
    known = responses.question_of_response(body, lambda _: [{"role": "user", "content": "before"}])
    assert [message["content"] for message in known.messages] == ["before", "hi"]
