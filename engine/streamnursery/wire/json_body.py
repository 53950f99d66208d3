"""Request bodies: strictly what JSON can say, and never a guess about what was meant."""

import math
from collections.abc import Mapping, Sequence

import msgspec


class _UnsayableError(Exception):
    """A value that JSON has no words for; the text says where and what, never its content."""


def encode_body(fields: Mapping[str, object]) -> bytes | str:
    """`fields` as a JSON object in UTF-8, or what is wrong with one of them.

    Any mapping is an object, any sequence but bytes an array. Refused: NaN and infinity, whole
    numbers beyond 64 bits, keys that are not text, lone surrogates, cycles, every other type.
    """
    body: dict[str, object] = {}
    for name, value in fields.items():
        kind = type(value)
        if kind is str or kind is bool or (kind is list and _is_flat(value)):  # type: ignore[arg-type]
            body[name] = value
            continue
        try:
            body[name] = _plain(value, name)
        except _UnsayableError as flaw:
            return str(flaw)
        except RecursionError:
            return f"{name[:80]!r} is nested too deeply, or holds itself; send a flatter value"
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        pass  # it does not say where
    try:
        for name, value in body.items():
            _check_text(name, name)
            _check_text(value, name)
    except _UnsayableError as flaw:
        return str(flaw)
    raise AssertionError("text that UTF-8 cannot say has a place")


def _is_flat(messages: list[object]) -> bool:
    """Whether they are mappings from text to text, as most messages are: nothing is to be made
    plain there."""
    for message in messages:
        if type(message) is not dict:
            return False
        for key, value in message.items():
            if type(value) is not str or type(key) is not str:
                return False
    return True


def _plain(value: object, where: str) -> object:
    kind = type(value)
    if kind is str:  # as nearly everything; asking for an ABC is slow
        return value
    if kind is dict:
        return _object(value, where)  # type: ignore[arg-type]
    if kind is list:
        return _array(value, where)  # type: ignore[arg-type]
    match value:
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return _whole(value, where)
        case float():
            return _finite(value, where)
        case Mapping():
            return _object(value, where)
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return _array(value, where)
        case _:
            what = f"is a {type(value).__name__}; send text, numbers, mappings or sequences"
            raise _flaw(where, what)


def _object(value: Mapping[object, object], where: str) -> dict[str, object]:
    # Loops, and no comprehensions: those are calls, one for each message of a conversation.
    found: dict[str, object] = {}
    for key, item in value.items():
        name = key if type(key) is str else _key(key, where)
        found[name] = item if type(item) is str else _plain(item, f"{where}.{name}")
    return found


def _array(value: Sequence[object], where: str) -> list[object]:
    found: list[object] = []
    for place, item in enumerate(value):
        found.append(item if type(item) is str else _plain(item, f"{where}[{place}]"))
    return found


def _check_text(value: object, where: str) -> None:
    """Raise for the first half of a surrogate pair in what `_plain` made."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _flaw(where, "has half a surrogate pair, which UTF-8 cannot say") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, where)
            _check_text(item, f"{where}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_text(item, f"{where}[{place}]")


def _whole(value: int, where: str) -> int:
    if not -(2**63) <= value < 2**64:
        raise _flaw(where, "is a whole number beyond 64 bits")
    return int(value)


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise _flaw(where, f"is {float(value)}, which JSON cannot say")
    return float(value)


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise _flaw(where, f"has a key that is a {type(key).__name__}; use text")
    return str.__str__(key)


def _flaw(where: str, what: str) -> _UnsayableError:
    return _UnsayableError(f"{where[:80]!r} {what}")
