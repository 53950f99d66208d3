"""What the fields of faults and rules may hold, said once for code and text forms alike.

A *kind* looks at a value and says what it must be, or None when it is that.
"""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, TypeAlias

import attrs

Kind: TypeAlias = Callable[[object], str | None]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MOST = 1e300
_CONTENT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def _number(value: object) -> float:
    """`value` if it is a number that a float can hold, and one that no field takes otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST:
        return value
    return -inf


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def count(value: object) -> str | None:
    return None if _whole(value) >= 0 else "a whole number >= 0"


def positive(value: object) -> str | None:
    return None if _whole(value) >= 1 else "a whole number >= 1"


def seconds(value: object) -> str | None:
    return None if _number(value) >= 0 else "seconds >= 0"


def rate(value: object) -> str | None:
    return None if _number(value) > 0 else "a number > 0"


def share(value: object) -> str | None:
    return None if 0 <= _number(value) <= 1 else "a number from 0 to 1"


def status(value: object) -> str | None:
    return None if 200 <= _whole(value) <= 599 else "an HTTP status from 200 to 599"


def close_code(value: object) -> str | None:
    return None if 1000 <= _whole(value) <= 4999 else "a WebSocket close code from 1000 to 4999"


def flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def text(value: object) -> str | None:
    return None if isinstance(value, str) else "text"


def header_text(value: object) -> str | None:
    good = isinstance(value, str) and _CONTENT.fullmatch(value)
    return None if good else "text that fits into a header, without control characters"


def header_value(value: object) -> str | None:
    """Text or a number."""
    return None if _number(value) > -inf else header_text(value)


def anything(_: object) -> str | None:
    return None


def numbers(value: object) -> str | None:
    good = isinstance(value, tuple) and value and not any(map(positive, value))
    return None if good else "whole numbers >= 1, at least one"


def span(value: object) -> str | None:
    good = isinstance(value, tuple) and len(value) == 2 and not any(map(positive, value))
    if good and isinstance(value, tuple) and value[0] <= value[1]:
        return None
    return "two whole numbers >= 1, the smaller one first"


def headers(value: object) -> str | None:
    good = isinstance(value, tuple) and all(
        isinstance(name, str) and _NAME.fullmatch(name) and not header_text(content)
        for name, content in value
    )
    return None if good else "an object of header names and values"


def or_none(kind: Kind) -> Kind:
    def check(value: object) -> str | None:
        wrong = None if value is None else kind(value)
        return f"{wrong}, or null" if wrong else None

    return check


def one_of(*names: str) -> Kind:
    def check(value: object) -> str | None:
        return None if value in names else f"one of {', '.join(names)}"

    return check


def as_tuple(value: object) -> object:
    """Lists and single numbers as tuples, mappings as pairs; the rest is left to the check."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list | range) else value


def of(kind: Kind, default: Any = attrs.NOTHING, *, many: bool = False) -> Any:
    """An attrs field that holds a `kind`; with `many` it is a tuple made from what is given."""

    def check(owner: object, field: "attrs.Attribute[Any]", value: object) -> None:
        wrong = kind(value)
        if wrong:
            shown = repr(value)[:60]
            msg = f"{type(owner).__name__}.{field.name} must be {wrong}, not {shown}"
            raise ValueError(msg)

    convert = as_tuple if many else None
    return attrs.field(
        default=default, validator=check, converter=convert, metadata={"kind": kind, "many": many}
    )
