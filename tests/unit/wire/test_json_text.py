"""JSON from strangers: strict syntax, tolerant text."""

import math

import pytest

from streamnursery.wire.json_text import clean, count, excerpt, parse, read_json


@pytest.mark.parametrize(
    "text", [b"nan", b"[infinity]", b"-Inf", b"01", b"{", b"", b"\xef\xbb\xbf{}", b"[" * 10**5]
)
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_numbers_of_any_size_are_read() -> None:
    assert parse(b"[1, -2, 1.5]") == [1, -2, 1.5]
    assert parse(b"9" * 5000) == math.inf
    assert parse(b"-" + b"9" * 5000) == -math.inf
    assert parse(b"1e400") == math.inf
    assert parse(b"123456789012345678901234567890") == 123456789012345678901234567890


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert parse(b'"a\xff"') == "a\ufffd"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udfff\ud800", "\ufffd\ufffd"),
        ("\U0001f600", "\U0001f600"),
        ("", ""),
    ],
)
def test_lone_surrogates_are_replaced(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    clean(text).encode()


def test_only_objects_and_lists_are_read_from_a_body() -> None:
    assert read_json(b' {"a":1}') == {"a": 1}
    assert read_json(b"[1]") == [1]
    assert read_json(b"1") is None
    assert read_json(b"{cut") is None
    assert read_json(b"") is None


@pytest.mark.parametrize("data", [b"x" * 10, "é€😀".encode() * 3, b"\xff" * 10, b"\xc3" * 3])
@pytest.mark.parametrize("limit", range(1, 12))
def test_an_excerpt_takes_at_most_its_bytes(data: bytes, limit: int) -> None:
    assert len(excerpt(data, limit).encode()) <= limit


def test_a_count_is_whole_and_not_negative() -> None:
    assert [count(n) for n in (0, 5, 12.0, 2**53)] == [0, 5, 12, 2**53]
    assert [count(n) for n in (-1, 1.5, True, "5", None, math.inf, math.nan)] == [None] * 7
