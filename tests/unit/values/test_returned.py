"""The message that can come back: where the parts stood, and who may send them."""

import json
from typing import Any

import attrs
import msgspec
import pytest

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.events import (
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.origin import BaseUrl
from streamnursery.values.partial import PartPlace
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import (
    KEY,
    NOTHING,
    ReturnedPart,
    assistant_message,
    foreign_kinds,
    returned,
)
from streamnursery.values.settings import Endpoint
from streamnursery.wire.openai_chat.client import OpenAIChat
from streamnursery.wire.openai_responses.client import OpenAIResponses

HERE = Endpoint("e", BaseUrl.parse("http://e.test/v1"))


def opaque(kind: str, data: object, tool: int | None = None) -> OpaquePart:
    return OpaquePart(0, kind, msgspec.Raw(msgspec.json.encode(data)), tool)


def message_of(*events: StreamEvent, dialect: str | None = "d") -> dict[str, Any]:
    transcript = Transcript()
    for event in events:
        transcript.add([event])
    message = assistant_message(transcript.choices()[0], dialect)
    assert json.loads(json.dumps(message)) == message
    return message


ANSWER: tuple[StreamEvent, ...] = (
    ReasoningDelta("I "),
    ReasoningDelta("think."),
    opaque("thinking", {"signature": "s1"}),
    TextDelta("Let "),
    TextDelta("me see."),
    opaque("search", [1]),
    ToolCallDelta(0, "c1", "look", "{}"),
    opaque("extra_content", {"sig": "s2"}, 0),
    ReasoningDelta("More."),
    opaque("thinking", {"signature": "s3"}),
    ToolCallDelta(1, "c2", "look", '{"a":1}'),
)


def test_a_part_stands_where_it_stood_among_text_reasoning_and_calls() -> None:
    message = message_of(*ANSWER)
    assert message["content"] == "Let me see."
    assert [call["id"] for call in message["tool_calls"]] == ["c1", "c2"]
    held = returned(message, "d")
    assert held.reasoning == "I think.More."
    assert held.parts == (
        ReturnedPart("extra_content", {"sig": "s2"}, tool=0),
        ReturnedPart("thinking", {"signature": "s1"}, 0, 8, 0),
        ReturnedPart("search", [1], 11, 8, 0),
        ReturnedPart("thinking", {"signature": "s3"}, 11, 13, 1),
    )


def test_the_places_are_the_same_when_the_events_come_in_one_read() -> None:
    apart, together = Transcript(), Transcript()
    for event in ANSWER:
        apart.add([event])
    together.add(list(ANSWER))
    assert apart.choices() == together.choices()
    assert together.choices()[0].places[1] == PartPlace(11, 8, 0)


def test_a_plain_answer_is_a_plain_message() -> None:
    assert message_of(TextDelta("Hi")) == {"role": "assistant", "content": "Hi"}
    assert message_of(RefusalDelta("No.")) == {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
    }


def test_only_its_own_dialect_gets_the_parts() -> None:
    message = message_of(*ANSWER)
    assert returned(message, "other") == NOTHING
    assert foreign_kinds([{"role": "user"}, message], "d") == ()
    assert foreign_kinds([message, message], "e") == ("extra_content", "thinking", "search")


@pytest.mark.parametrize(
    "held",
    [
        None,
        1,
        [],
        {"dialect": 3},
        {"dialect": "d", "parts": 5},
        {"dialect": "d", "parts": ["x", {}]},
    ],
)
def test_what_others_have_made_of_the_key_holds_nothing(held: object) -> None:
    assert returned({KEY: held}, "d").parts == ()


def test_numbers_that_are_none_are_the_beginning() -> None:
    parts = [{"kind": "a", "text": -1, "reasoning": True, "tool_calls": "x", "tool": None}]
    held = returned({KEY: {"dialect": "d", "parts": parts}}, "d")
    assert held.parts == (ReturnedPart("a", None, 0, 0, 0, 0),)


def sent(dialect: Any, message: dict[str, Any]) -> dict[str, Any]:
    request = ChatRequest("m", [{"role": "user", "content": "Why?"}, message])
    body: dict[str, Any] = json.loads(dialect.encode(request, HERE, "m"))
    return body


def test_the_chat_dialect_returns_parts_of_calls_and_those_its_servers_want() -> None:
    message = message_of(
        TextDelta("Hi"),
        opaque("reasoning_details", [1]),
        opaque("images", [2]),
        opaque("reasoning_details", [3]),
        ToolCallDelta(0, "c", "f", "{}"),
        opaque("extra_content", {"google": 1}, 0),
        dialect="openai-chat",
    )
    (_, told) = sent(OpenAIChat(), message)["messages"]
    assert told.keys() == {"role", "content", "tool_calls", "reasoning_details"}
    assert told["reasoning_details"] == [1, 3]
    assert told["tool_calls"][0]["extra_content"] == {"google": 1}
    (_, told) = sent(OpenAIChat(), message_of(*ANSWER))["messages"]
    assert told.keys() == {"role", "content", "tool_calls"}
    assert told["tool_calls"][0].keys() == {"id", "type", "function"}


def test_the_responses_dialect_returns_items_at_their_places() -> None:
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}
    search = {"type": "web_search_call", "id": "ws_1"}
    message = message_of(
        opaque("reasoning", item),
        TextDelta("Hi"),
        opaque("web_search_call", search),
        ToolCallDelta(0, "c1", "f", "{}"),
        opaque("reasoning", {**item, "id": "rs_2"}),
        ToolCallDelta(1, "c2", "f", "{}"),
        dialect="openai-responses",
    )
    _, *items = sent(OpenAIResponses(), message)["input"]
    assert [i.get("id", i.get("call_id", i.get("role"))) for i in items] == [
        "rs_1",
        "assistant",
        "ws_1",
        "c1",
        "rs_2",
        "c2",
    ]
    _, *items = sent(OpenAIResponses(), message_of(*ANSWER))["input"]
    assert [i.get("type", "message") for i in items] == ["message", *["function_call"] * 2]


@pytest.mark.parametrize("field", ["", "reasoning_content"])
def test_plain_reasoning_comes_back_where_the_server_wants_it(field: str) -> None:
    message = message_of(ReasoningDelta("Hm."), TextDelta("Hi"), dialect="openai-chat")
    there = attrs.evolve(HERE, options={"reasoning_field": field})
    request = ChatRequest("m", [{"role": "user", "content": "Why?"}, message])
    (_, told) = json.loads(OpenAIChat().encode(request, there, "m"))["messages"]
    assert told == {"role": "assistant", "content": "Hi"} | ({field: "Hm."} if field else {})
