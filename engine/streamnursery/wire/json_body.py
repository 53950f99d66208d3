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
        try:
            body[name] = _plain(value, name)
        except _UnsayableError as flaw:
            return str(flaw)
        except RecursionError:
            return f"{name[:80]!r} is nested too deeply, or holds itself; send a flatter value"
    return msgspec.json.encode(body)


def _plain(value: object, where: str) -> object:
    kind = type(value)
    if kind is str:  # as nearly everything; asking for an ABC is slow
        return _text(value, where)  # type: ignore[arg-type]
    if kind is dict:
        return _object(value, where)  # type: ignore[arg-type]
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, where)
        case int():
            return _whole(value, where)
        case float():
            return _finite(value, where)
        case Mapping():
            return _object(value, where)
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        case _:
            what = f"is a {type(value).__name__}; send text, numbers, mappings or sequences"
            raise _flaw(where, what)


def _object(value: Mapping[object, object], where: str) -> dict[str, object]:
    return {_key(k, where): _plain(v, f"{where}.{k}") for k, v in value.items()}


def _text(value: str, where: str) -> str:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise _flaw(where, "has half a surrogate pair, which UTF-8 cannot say") from None
    return str.__str__(value)


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
    return _text(key, where)


def _flaw(where: str, what: str) -> _UnsayableError:
    return _UnsayableError(f"{where[:80]!r} {what}")
