"""JSON that hurts parsers, as a chunk of a stream and inside one: a typed error or a value."""

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from streamnursery.values.errors import MalformedChunkError
from streamnursery.values.events import StreamEvent, TextDelta, UsageReport
from streamnursery.values.usage import Usage
from streamnursery.wire.json_text import parse
from streamnursery.wire.openai_chat.stream import OpenAIChatStream

DEEP = 100_000
BOMBS = {
    "an array without end": b"[" * DEEP,
    "an array in an array": b"[" * DEEP + b"]" * DEEP,
    "an object in an array without end": b'[{"":' * DEEP,
    "a whole number of 5,000 digits": b"9" * 5000,
    "a number beyond every float": b"-1e400",
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate as key": b'{"\\udfff":0}',
    "keys of Python's own": b'{"__class__":{"x":1},"__init__":null}',
    "a key twice": b'{"a":1,"a":2}',
    "a NUL": b'"\\u0000"',
}
PLACES = {
    "an unknown field": b'{"choices":[{"delta":{"content":"ok"}}],"x":%s}',
    "content": b'{"choices":[{"delta":{"content":%s}}]}',
    "reasoning": b'{"choices":[{"delta":{"reasoning":%s}}]}',
    "an index": b'{"choices":[{"index":%s}]}',
    "tool calls": b'{"choices":[{"delta":{"tool_calls":%s}}]}',
    "arguments": b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":%s}}]}}]}',
    "usage": b'{"choices":[],"usage":%s}',
    "a count": b'{"choices":[],"usage":{"prompt_tokens":%s}}',
    "an error": b'{"error":%s}',
    "an error's code": b'{"error":{"code":%s}}',
    "an id": b'{"id":%s}',
    "the whole chunk": b"%s",
}


def decode(data: bytes) -> tuple[OpenAIChatStream, list[StreamEvent]]:
    """`data` as the data of one event; each of its lines is a data line."""
    decoder = OpenAIChatStream()
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return decoder, decoder.feed(b"".join(b"data: " + line + b"\n" for line in lines) + b"\n")


def check_text(decoder: OpenAIChatStream, events: list[StreamEvent]) -> None:
    """Whatever leaves the decoder is valid UTF-8."""
    for shown in (*events, decoder.response_id, decoder.response_model):
        repr(shown).encode()
        str(getattr(shown, "text", "") or getattr(shown, "arguments", "")).encode()
    if decoder.failure is not None:
        f"{decoder.failure} {decoder.failure.body} {decoder.failure.code}".encode()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bomb", BOMBS)
def test_t15_a_bomb_anywhere_in_a_chunk_is_a_value_or_a_typed_error(place: str, bomb: str) -> None:
    decoder, events = decode(PLACES[place] % BOMBS[bomb])
    check_text(decoder, events)
    decoder.end()
    assert decoder.failure is not None or decoder.done
    if bomb in {"an array without end", "an object in an array without end"}:
        assert type(decoder.failure) is MalformedChunkError


def test_t15_depth_is_refused_as_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse(b"[" * DEEP + b"]" * DEEP)


def text_of(case: dict[str, Any]) -> bytes:
    if "b64" in case:
        return b64decode(case["b64"])
    text, times = case["recipe"]
    return str(text).encode() * int(times)


def load(corpora: Path) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((corpora / "json_torture.json").read_text())
    return recorded


def test_t15_recorded_texts_are_refused_or_read_as_told(corpora: Path) -> None:
    recorded = load(corpora)
    for case in recorded["cases"] + recorded["stream_specific"]:
        decoder, events = decode(text_of(case))
        check_text(decoder, events)
        is_object = text_of(case).lstrip().startswith(b"{")
        if case["expect"] == "n" or (case["expect"] == "y" and not is_object):
            # Blank data is a keep-alive by our own rule.
            blank = not text_of(case).strip()
            assert blank or type(decoder.failure) is MalformedChunkError, case
        elif case["expect"] == "y":
            assert decoder.failure is None, case


def test_t15_recorded_texts_do_alike_inside_a_chunk(corpora: Path) -> None:
    """NaN and Infinity, which are no JSON, are what servers in Python write in fields that nobody
    reads: they do not end a stream."""
    for case in load(corpora)["cases"]:
        decoder, events = decode(PLACES["an unknown field"] % text_of(case))
        if case["expect"] == "y" or re.fullmatch(rb"\[?-?(NaN|Infinity)\]?", text_of(case)):
            assert (decoder.failure, events) == (None, [TextDelta("ok")]), case
        elif case["expect"] == "n":
            assert type(decoder.failure) is MalformedChunkError, case


def test_t15_recorded_chunks_of_a_stream_say_what_can_be_understood(corpora: Path) -> None:
    both = frozenset({"input_tokens", "output_tokens"})
    wanted: dict[str, list[StreamEvent]] = {
        "lone surrogate escape": [],  # it waits for its other half
        "negative tokens": [UsageReport(Usage(reported=both, refused=both))],
    }
    for case in load(corpora)["stream_specific"]:
        assert decode(text_of(case))[1][:1] == wanted.get(case["name"], []) or (
            case["name"] == "delta missing"
        ), case
