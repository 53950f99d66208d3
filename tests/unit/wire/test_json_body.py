"""A request body says what the caller wrote, or the field at fault is named."""

import collections
import enum
import json
from types import MappingProxyType
from typing import Any

import pytest

from streamnursery.values.secret import Secret
from streamnursery.wire.json_body import encode_body


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Level(enum.IntEnum):
    LOW = 1


def test_every_mapping_and_sequence_is_sayable() -> None:
    body = encode_body({
        "a": MappingProxyType({"b": (1, 2.5, None, True)}),
        "c": collections.deque([Word("x"), Level.LOW]),
        "d": "é\U0001f600",
    })
    assert isinstance(body, bytes)
    assert json.loads(body) == {
        "a": {"b": [1, 2.5, None, True]},
        "c": ["x", 1],
        "d": "é\U0001f600",
    }


cycle: list[Any] = []
cycle.append(cycle)


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({"b": [0, b"x"]}, "'a.b[1]'", "is a bytes"),
        ({1: 2}, "'a'", "a key that is a int"),
        ({"\ud800": 1}, "'a'", "half a surrogate"),
        (["ok", "\ud800"], "'a[1]'", "half a surrogate"),
        (float("nan"), "'a'", "is nan"),
        ([-float("inf")], "'a[0]'", "is -inf"),
        (2**64, "'a'", "beyond 64 bits"),
        (-(2**63) - 1, "'a'", "beyond 64 bits"),
        (Secret("canary"), "'a'", "is a Secret"),
        ({1, 2}, "'a'", "is a set"),
        (bytearray(b"x"), "'a'", "is a bytearray"),
        (cycle, "'a'", "holds itself"),
    ],
)
def test_what_json_cannot_say_is_named_and_not_shown(value: object, where: str, what: str) -> None:
    flaw = encode_body({"ok": 1, "a": value})
    assert isinstance(flaw, str)
    assert flaw.startswith(where)
    assert what in flaw
    assert "canary" not in flaw
    flaw.encode()


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 0, 1e308])
def test_numbers_up_to_64_bits_are_sent_as_they_are(value: float) -> None:
    body = encode_body({"a": value})
    assert isinstance(body, bytes)
    assert json.loads(body) == {"a": value}
