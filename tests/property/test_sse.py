"""The decoder sees one stream of bytes: neither the network's cuts nor our short way may show."""

import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from types import BuiltinFunctionType, FrameType
from typing import Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.wire.sse import Record, ServerSentEvent, SSEDecoder

LINE_END = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINE = st.one_of(
    st.just(b""),
    st.sampled_from([
        b"data: a",
        b"data: b",
        b"data:b",
        b"data",
        b"event: delta",
        b"id: 7",
        b"id: \0",
        b"retry: 5",
        b": x",
        b"\xef\xbb\xbfdata: c",
        b"data: \xff\xc3",
        b"nonsense",
    ]),
    st.text(alphabet="dat:é \u2028\x0b", max_size=8).map(str.encode),
)
CRLF = st.lists(st.sampled_from([b"data: a\r\n\r\n", b"data: {}\r\n\r\n"]), max_size=6).map(
    b"".join
)
PLAIN = st.lists(st.sampled_from([b"data: a\n\n", b"data: {}\n\n"]), max_size=6).map(b"".join)
NAMED = st.lists(
    st.sampled_from([
        b"event: a\ndata: x\n\n",
        b"event: \ndata: \n\n",
        b"event: \xff\ndata: b\n\n",
    ]),
    max_size=6,
).map(b"".join)
"""What the short ways are for."""


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Runs of plain records between lines of every kind."""
    lines = st.tuples(LINE, LINE_END).map(b"".join)
    parts = draw(st.lists(st.one_of(lines, PLAIN, NAMED, CRLF), max_size=14))
    return b"".join(parts)


CUTS = st.sets(st.integers(0, 150))


def split(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(c for c in cuts if c < len(body)), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


class Slow(SSEDecoder):
    """The decoder without its short way."""

    def read(self, chunk: bytes) -> list[Record]:
        return self._by_line(chunk)


def outcome(decoder: SSEDecoder, chunks: list[bytes]) -> tuple[object, ...]:
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    failure = str(decoder.failure) if decoder.failure else None
    stray = decoder.stray() if failure is None else None
    return events, decoder.last_event_id, decoder.retry_ms, failure, stray


def by_the_book(body: bytes) -> list[ServerSentEvent]:
    """The algorithm of the standard, on the whole text, with nothing clever."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events = []
    data, name, last_id = "", "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(ServerSentEvent(data[:-1].encode(), name or "message", last_id))
            data, name = "", ""
        elif field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return events


@given(body=bodies(), cuts=CUTS)
def test_chunking_never_changes_the_events(body: bytes, cuts: set[int]) -> None:
    assert outcome(SSEDecoder(), split(body, cuts)) == outcome(SSEDecoder(), [body])


@given(body=bodies(), cuts=CUTS)
def test_the_short_way_gives_what_the_long_one_gives(body: bytes, cuts: set[int]) -> None:
    chunks = split(body, cuts)
    assert outcome(SSEDecoder(), chunks) == outcome(Slow(), chunks)


@given(body=bodies(), cuts=CUTS, line=st.integers(6, 12), event=st.integers(0, 12))
def test_bounds_hold_alike_on_both_ways(body: bytes, cuts: set[int], line: int, event: int) -> None:
    fast = SSEDecoder(max_line=line, max_event=event)
    slow = Slow(max_line=line, max_event=event)
    whole = SSEDecoder(max_line=line, max_event=event)
    chunks = split(body, cuts)
    assert outcome(fast, chunks) == outcome(slow, chunks) == outcome(whole, [body])


@given(body=bodies(), cuts=CUTS)
def test_the_events_are_those_of_the_standard(body: bytes, cuts: set[int]) -> None:
    decoder = SSEDecoder()
    events = [event for chunk in split(body, cuts) for event in decoder.feed(chunk)]
    told = [(event.text, event.event, event.id) for event in events]
    assert told == [(event.text, event.event, event.id) for event in by_the_book(body)]


@given(chunks=st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_give_events_or_nothing(chunks: list[bytes]) -> None:
    assert outcome(SSEDecoder(), chunks) == outcome(SSEDecoder(), [b"".join(chunks)])


class Counted:
    """Stands for a bytearray; counts the bytes copied into it and out of it."""

    copied = 0

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __iadd__(self, data: bytes) -> Self:
        Counted.copied += len(data)
        self._bytes += data
        return self

    def __len__(self) -> int:
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        return self[:]

    def __getitem__(self, part: slice) -> bytes:
        copy = bytes(self._bytes[part])
        Counted.copied += len(copy)
        return copy

    def clear(self) -> None:
        self._bytes.clear()


def work(chunks: Iterable[bytes]) -> int:
    """Bytes that the methods of bytes objects were called on, plus bytes copied by buffers."""
    seen = 0

    def on_call(frame: FrameType, event: str, call: Any) -> None:
        nonlocal seen
        if event == "c_call" and isinstance(call, BuiltinFunctionType):
            owner = call.__self__
            seen += len(owner) if isinstance(owner, bytes | bytearray) else 0

    Counted.copied = 0
    decoder = SSEDecoder()
    decoder._tail = cast("bytearray", Counted())
    decoder._data = cast("bytearray", Counted())
    sys.setprofile(on_call)
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    finally:
        sys.setprofile(None)
    assert decoder.failure is None
    return seen + Counted.copied


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


@pytest.mark.parametrize(
    ("body", "cut"),
    [
        (lambda n: b"data: " + b"x" * n + b"\n\n", bytewise),
        (lambda n: b": " + b"x" * n, bytewise),
        (lambda n: b"data:\n" * n + b"\n", bytewise),
        (lambda n: b"data: " + b"x" * 50 * n + b"\n\n", lambda b: split(b, range(0, len(b), 50))),
        (lambda n: b"data: {}\n\n" * n, bytewise),
        (lambda n: b"data: {}\r\n\r\n" * n, lambda b: [b]),
        (lambda n: b"data: {}\n\n" * n, lambda b: [b]),
        (lambda n: b": ping\n" * n, lambda b: [b]),
    ],
    ids=[
        "a long line, bytewise",
        "a long comment, bytewise",
        "many lines, bytewise",
        "a long line in pieces",
        "many events, bytewise",
        "many events in CRLF",
        "many events",
        "many comments",
    ],
)
def test_twice_the_input_is_twice_the_work(
    body: Callable[[int], bytes], cut: Callable[[bytes], list[bytes]]
) -> None:
    assert work(cut(body(4000))) <= 2.2 * work(cut(body(2000)))
