"""Laws of the OpenAI chat decoder: cuts do not show, nothing is raised, nothing is whole
without its evidence, and the fast ways say what the patient one says."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamnursery.values.events import Finished, StreamEvent
from streamnursery.wire.openai_chat.chunk import (
    DECODE_ERRORS,
    decode_named,
    decode_patiently,
    decode_text,
)
from streamnursery.wire.openai_chat.stream import OpenAIChatStream

STREAMS = sorted((Path(__file__).parents[1] / "data" / "streams").glob("*.sse"))


def split(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(c for c in cuts if c < len(body)), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


def outcome(chunks: Iterable[bytes], n: int = 1) -> tuple[Any, ...]:
    decoder = OpenAIChatStream(n)
    events = [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()
    failure = decoder.failure
    told = None if failure is None else (type(failure), str(failure), failure.body, failure.code)
    return events, decoder.done, told, decoder.response_id, decoder.response_model


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
@given(cuts=st.sets(st.integers(0, 3000), max_size=12))
def test_chunking_never_changes_what_a_stream_says(path: Path, cuts: set[int]) -> None:
    body = path.read_bytes()
    assert outcome(split(body, cuts), 2) == outcome([body], 2)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_stream_byte_by_byte_says_the_same(path: Path) -> None:
    body = path.read_bytes()
    assert outcome(body[i : i + 1] for i in range(len(body))) == outcome([body])


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_stream_cut_anywhere_is_whole_only_with_its_evidence(path: Path) -> None:
    body = path.read_bytes()
    choices = 2 if path.stem.startswith("two_choices") else 1
    for cut in range(len(body) + 1):
        # Events count from their blank line on, in any of its spellings.
        seen = body[:cut].replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n\n")[0]
        finished = seen.count(b'"finish_reason":"') + seen.count(b'"finish_reason": "')
        marked = b"data: [DONE]" in seen or b"data:[DONE]" in seen
        decoder = OpenAIChatStream(choices)
        events = decoder.feed(body[:cut]) + decoder.end(delimited=False)
        assert decoder.done == (decoder.failure is None)
        assert decoder.done == any(isinstance(event, Finished) for event in events)
        assert not decoder.done or marked or finished >= choices


JUNK = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"data: ",
        b"\n\n",
        b"\r\n\r\n",
        b"event: error\n",
        b"data: [DONE]\n\n",
        b"{",
        b'{"error":1}',
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: {"id":"c","model":"m","choices":[{"delta":{"content":"b"}}]}\n\n',
        b'data: {"choices":[{"finish_reason":"stop"}]}\n\n',
        b'data: {"usage":{"prompt_tokens":1}}\n\n',
    ]),
)


@given(chunks=st.lists(JUNK, max_size=12))
@example([b"data:[DONE]\n\n", b'{"error":1}'])
@example([b"data:[DONE]\n\n", b'{"error":1}\n', b"{\n"])
@example([b"data:[DONE]\n\n", b'{"error":1}', b"\n"])
@example([b"{\n", b"data:[DONE]\n\n", b'"error":1}\n'])
def test_any_bytes_give_events_or_one_typed_failure(chunks: list[bytes]) -> None:
    whole = outcome(chunks)
    assert whole == outcome([b"".join(chunks)])
    assert whole[1] == (whole[2] is None)
    for event in whole[0]:
        msgspec.json.encode(event)


TEXT = st.none() | st.sampled_from(["", "a", "é\u2028", "\U0001f600"])
FUNCTION = st.fixed_dictionaries({}, optional={"name": TEXT, "arguments": TEXT})
TOOL = st.fixed_dictionaries(
    {}, optional={"index": st.none() | st.integers(0, 3), "id": TEXT, "function": FUNCTION}
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT,
        "role": TEXT,
        "reasoning_content": TEXT,
        "reasoning": TEXT,
        "reasoning_details": st.lists(
            st.fixed_dictionaries({}, optional={"text": TEXT, "summary": TEXT}), max_size=2
        ),
        "refusal": TEXT,
        "tool_calls": st.none() | st.lists(TOOL, max_size=3),
        "function_call": st.none() | FUNCTION,
    },
)
CHOICE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(0, 2),
        "delta": st.none() | DELTA,
        "finish_reason": TEXT,
        "logprobs": st.none() | st.just({"content": []}),
    },
)
CHUNK: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXT,
        "model": TEXT,
        "choices": st.none() | st.lists(CHOICE, max_size=2),
        "usage": st.none() | st.dictionaries(st.sampled_from(["prompt_tokens"]), st.integers(0, 9)),
        "error": st.none(),
    },
)


@given(chunks=st.lists(CHUNK, max_size=6))
def test_the_fast_ways_say_what_the_patient_one_says(chunks: list[dict[str, Any]]) -> None:
    """A field that no type fits sends every chunk the patient way."""
    fast = [json.dumps(chunk, ensure_ascii=False).encode() for chunk in chunks]
    patient = [json.dumps({"x_groq": 1, **chunk}).encode() for chunk in chunks]
    for chunk in patient:
        with pytest.raises(DECODE_ERRORS):
            decode_named(chunk)
    bodies = [b"".join(b"data: " + c + b"\n\n" for c in way) for way in (fast, patient)]
    assert events(bodies[0]) == events(bodies[1])


def events(body: bytes) -> list[StreamEvent]:
    decoder = OpenAIChatStream()
    found = decoder.feed(body)
    assert decoder.failure is None
    return found + decoder.end()


@given(chunk=CHUNK)
def test_what_is_read_as_mere_text_is_mere_text(chunk: dict[str, Any]) -> None:
    data = json.dumps(chunk).encode()
    try:
        text = decode_text(data).choices[0].delta.content
    except DECODE_ERRORS:
        return
    choices = decode_patiently(data).choices or []
    assert len(choices) == 1
    choice = choices[0]
    assert not choice.index
    assert choice.finish_reason is None
    assert choice.delta is not None
    bare = {key: value for key, value in chunk["choices"][0]["delta"].items() if value}
    assert bare.keys() <= {"content", "role"}
    assert choice.delta.content == text


@given(text=st.text(), cuts=st.sets(st.integers(0, 400), max_size=8))
def test_every_text_comes_through_as_it_was_sent(text: str, cuts: set[int]) -> None:
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}
    body = b"".join(
        b"data: " + json.dumps(chunk, ensure_ascii=escaped).encode() + b"\n\n"
        for escaped in (True, False, True)
    )
    found = outcome(split(body, cuts))[0]
    assert "".join(event.text for event in found) == text * 3
