"""AWS event stream encoding: both checksums, bounds, any split."""

from random import Random
from struct import pack
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.values.errors import MalformedChunkError, TooLargeError
from streamnursery.wire.bedrock_converse.frames import MAX_HEADERS, AwsFrames, AwsMessage

TEXT = {":event-type": "x", ":message-type": "event"}


def header(name: str, kind: int, value: bytes) -> bytes:
    return pack(">B", len(name.encode())) + name.encode() + pack(">B", kind) + value


def text(name: str, value: str) -> bytes:
    return header(name, 7, pack(">H", len(value.encode())) + value.encode())


def message(payload: bytes = b"{}", headers: bytes | None = None) -> bytes:
    told = b"".join(text(*pair) for pair in TEXT.items()) if headers is None else headers
    lengths = pack(">II", 16 + len(told) + len(payload), len(told))
    body = lengths + pack(">I", crc32(lengths)) + told + payload
    return body + pack(">I", crc32(body))


OTHER = b"".join([
    header("t", 0, b""),
    header("f", 1, b""),
    header("byte", 2, b"\x01"),
    header("short", 3, b"\x01\x02"),
    header("int", 4, b"\x01\x02\x03\x04"),
    header("long", 5, b"12345678"),
    header("bytes", 6, pack(">H", 3) + b"abc"),
    header("time", 8, b"12345678"),
    header("uuid", 9, b"1234567812345678"),
])


def test_a_message_and_headers_of_every_type() -> None:
    frames = AwsFrames()
    assert frames.read(message(b'{"a":1}', OTHER + text("é", "ü"))) == [
        AwsMessage({"é": "ü"}, b'{"a":1}')
    ]
    assert frames.read(message(b"")) == [AwsMessage(TEXT, b"")]
    assert (frames.failure, frames.buffered) == (None, 0)


@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 10**6))
def test_any_split_gives_the_same_messages(payloads: list[bytes], seed: int) -> None:
    data, dice = b"".join(message(payload) for payload in payloads), Random(seed)
    frames, found = AwsFrames(), []
    while data:
        size = dice.randint(1, 50)
        found += frames.read(data[:size])
        data = data[size:]
    assert [one.payload for one in found] == payloads
    assert frames.failure is None


@pytest.mark.parametrize("at", range(len(message())))
@pytest.mark.parametrize("bit", [1, 128])
def test_any_bit_that_was_changed_is_found(at: int, bit: int) -> None:
    spoiled = bytearray(message())
    spoiled[at] ^= bit
    frames = AwsFrames()
    assert [one.payload for one in frames.read(message() + bytes(spoiled))] == [b"{}"]
    assert isinstance(frames.failure, MalformedChunkError)
    assert frames.read(message()) == []


def with_lengths(total: int, headers: int) -> bytes:
    lengths = pack(">II", total, headers)
    return lengths + pack(">I", crc32(lengths))


@pytest.mark.parametrize(
    ("begin", "error"),
    [
        (with_lengths(15, 0), MalformedChunkError),
        (with_lengths(100, 90), MalformedChunkError),
        (with_lengths(MAX_HEADERS + 20, MAX_HEADERS + 1), TooLargeError),
        (with_lengths(16 + 65, 0), TooLargeError),
    ],
)
def test_lengths_are_bounded_before_anything_is_kept(begin: bytes, error: type[Exception]) -> None:
    frames = AwsFrames(max_payload=64)
    assert frames.read(begin) == []
    assert isinstance(frames.failure, error)


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05abc",
        header("a", 10, b"1"),
        header("a", 4, b"12"),
        header("a", 7, b"\x00"),
        header("a", 7, pack(">H", 9) + b"short"),
    ],
)
def test_headers_that_cannot_be_read(headers: bytes) -> None:
    frames = AwsFrames()
    assert frames.read(message(headers=headers)) == []
    assert isinstance(frames.failure, MalformedChunkError)
