"""Ollama's own chat API: what a request says, and what lines become."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.values.errors import (
    ContextTooLongError,
    MalformedChunkError,
    ModelError,
    RequestError,
    ServerError,
    TooLargeError,
    TruncatedStreamError,
    UnexpectedContentError,
)
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.http import HttpHead
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.settings import Endpoint
from streamnursery.wire.json_lines import JsonLines
from streamnursery.wire.ollama_chat import stream
from streamnursery.wire.ollama_chat.client import OllamaChat
from streamnursery.wire.ollama_chat.stream import OllamaStream

HERE = Endpoint("e", BaseUrl.parse("http://127.0.0.1:11434/api"))
DIALECT = OllamaChat()
USER = {"role": "user", "content": "Why?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
PLAIN = {"model": "qwen3", "messages": [USER], "stream": True}

# Requests. --------------------------------------------------------------------------------------


def body(messages: Any = "Why?", **fields: Any) -> dict[str, Any]:
    request = ChatRequest("m", messages, **fields)
    made: dict[str, Any] = json.loads(DIALECT.encode(request, HERE, "qwen3"))
    return made


def test_a_plain_question() -> None:
    assert body() == PLAIN
    assert DIALECT.path(ChatRequest("m", "Hi"), "m") == "/chat"
    assert DIALECT.auth == "none"
    assert DIALECT.check_head(HttpHead(200, (("content-type", "application/x-ndjson"),)))
    assert not DIALECT.check_head(HttpHead(200, (("content-type", "text/html"),)))


def test_messages_calls_thoughts_and_images() -> None:
    png = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    made = body([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": ["See", {"type": "text", "text": " this"}, png]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CALL],
            KEY: {"dialect": "ollama", "reasoning": "Hm.", "parts": []},
        },
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    ])
    assert made["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "See this", "images": ["QUJD"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"function": {"name": "look", "arguments": {"at": "x"}}}],
        },
        {"role": "tool", "content": "seen", "tool_name": "look"},
    ]


def test_settings_stand_in_options() -> None:
    tool = {"type": "function", "function": {"name": "look"}}
    made = body(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop="x",
        seed=4,
        reasoning_effort="minimal",
        tools=[tool],
        response_format={"type": "json_schema", "json_schema": {"schema": {"a": 1}}},
        extra={"options": {"num_ctx": 8192, "seed": 5}, "keep_alive": "10m"},
    )
    options = {"num_predict": 9, "temperature": 0.5, "top_p": 0.9, "stop": ["x"], "seed": 5}
    assert made == PLAIN | {
        "options": options | {"num_ctx": 8192},
        "think": "low",
        "tools": [tool],
        "format": {"a": 1},
        "keep_alive": "10m",
    }
    assert body(reasoning_effort="none")["think"] is False
    assert body(response_format={"type": "json_object"})["format"] == "json"
    assert "tools" not in body(tools=[tool], tool_choice="none")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 2, "user": "u"}, "has no n > 1 and no user"),
        ({"metadata": {"a": "b"}}, "has no metadata"),
        ({"tool_choice": "required"}, "no tool_choice but auto and none"),
        ({"reasoning_effort": "huge"}, "reasoning_effort 'huge' is none of"),
        ({"response_format": {"type": "xml"}}, "response_format must be"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "has no role 'robot'"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "no part of type 'file'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "fetches no image",
        ),
    ],
)
def test_what_it_cannot_say_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError) as caught:
        body(**{"messages": "Why?", **fields})
    assert told in str(caught.value)


# Answers. ---------------------------------------------------------------------------------------


def line(done: bool = False, **message: Any) -> dict[str, Any]:
    return {"model": "qwen3", "message": {"role": "assistant", **message}, "done": done}


LAST = {**line(True, content=""), "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3}
WHOLE: tuple[Any, ...] = (
    line(content="", thinking="Hm."),
    line(content="Hel"),
    line(content="lo"),
    line(
        content="",
        tool_calls=[
            {"function": {"name": "look", "arguments": {"at": "x"}}},
            {"id": "call_7", "function": {"name": "see", "arguments": {}}},
        ],
    ),
    LAST,
)


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def read(data: bytes, *, delimited: bool = True) -> tuple[OllamaStream, list[StreamEvent]]:
    decoder = OllamaStream()
    found = decoder.feed(data)
    return decoder, found + decoder.end(delimited=delimited)


def test_a_whole_answer() -> None:
    decoder, events = read(lines(*WHOLE))
    assert decoder.failure is None
    (usage,) = [one.usage for one in events if isinstance(one, UsageReport)]
    assert (usage.input_tokens, usage.output_tokens) == (9, 3)
    assert [one for one in events if not isinstance(one, UsageReport)] == [
        ReasoningDelta("Hm."),
        TextDelta("Hel"),
        TextDelta("lo"),
        ToolCallDelta(0, "ollama-0", "look"),
        ToolCallDelta(0, arguments='{"at": "x"}'),
        ToolCallDelta(1, "call_7", "see"),
        ToolCallDelta(1, arguments="{}"),
        ChoiceFinished(0, "stop"),
        Finished("stop", "tool_calls"),
    ]
    assert decoder.response_model == "qwen3"


@given(st.integers(0, 10**6), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_it_says_the_same_however_it_is_split(seed: int, ends: bytes) -> None:
    data, dice = lines(*WHOLE).replace(b"\n", ends), Random(seed)
    decoder, events = OllamaStream(), []
    while data:
        size = dice.randint(1, 40)
        events += decoder.feed(data[:size])
        data = data[size:]
    assert events + decoder.end() == read(lines(*WHOLE))[1]


def test_what_is_cut_anywhere_is_never_whole() -> None:
    data = lines(*WHOLE)
    for size in range(len(data) - 1):
        decoder, events = read(data[:size])
        assert isinstance(decoder.failure, TruncatedStreamError | UnexpectedContentError), size
        assert not any(isinstance(one, Finished) for one in events)


def test_the_last_line_counts_without_its_end_where_the_body_ended_cleanly() -> None:
    data = lines(*WHOLE)[:-1]
    assert read(data)[0].done
    assert isinstance(read(data, delimited=False)[0].failure, TruncatedStreamError)
    assert read(json.dumps(LAST).encode())[0].done  # an answer that is not streamed


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b'{"error":"unexpected EOF"}', ServerError),
        (b'{"error":"prompt too long; exceeded max context length"}', ContextTooLongError),
        (b'{"error":"model \'x\' not found"}', ModelError),
        (b"nonsense", MalformedChunkError),
        (b"[1]", MalformedChunkError),
        (b'{"done":true,"done_reason":"load"}', ServerError),
    ],
)
def test_an_end_that_is_a_failure(bad: bytes, error: type[Exception]) -> None:
    decoder, events = read(lines(*WHOLE[:3]) + bad + b"\n" + lines(*WHOLE[3:]))
    assert isinstance(decoder.failure, error)
    assert TextDelta("lo") in events
    assert not any(isinstance(one, Finished) for one in events)


@pytest.mark.parametrize("text", [b"<html>proxy</html>", b"no", b""])
def test_text_in_place_of_lines(text: bytes) -> None:
    failure = read(text)[0].failure
    assert isinstance(failure, UnexpectedContentError | TruncatedStreamError)


def test_what_has_no_type_here_is_handed_on() -> None:
    odd = {**line(content="Hi", images=["QUJD"]), "logprobs": [{"token": "Hi"}]}
    broken = line(content=5, tool_calls=[{"function": "no"}, 7])
    _, events = read(lines(odd, broken, LAST))
    kinds = [one.kind if isinstance(one, OpaquePart) else type(one) for one in events]
    assert kinds == [TextDelta, "images", "logprobs", UsageReport, ChoiceFinished, Finished]


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = OllamaStream()
    decoder.limit(20)
    decoder.feed(lines(*WHOLE))
    assert isinstance(decoder.failure, TooLargeError)
    monkeypatch.setattr(stream, "MAX_TOOL_CALLS", 1)
    assert isinstance(read(lines(*WHOLE))[0].failure, TooLargeError)
    held = JsonLines(max_line=4)
    assert held.read(b"12") == []
    assert held.buffered == 2
    assert held.read(b"34\n12345") == [b"1234"]
    assert isinstance(held.failure, TooLargeError)
    assert held.read(b"\n1\n") == []
