"""JSON that was not written for us: strict in syntax, tolerant in text and numbers.

The slow way beside msgspec, for error bodies and for the rare chunk that does not fit its types.
"""

import json
import math
import re
from typing import Any

import msgspec

SURROGATE = re.compile("[\ud800-\udfff]")
_LONG_INT = 300
"""Digits from which a whole number is only "huge": Python refuses to convert 4,301 and more."""


def parse(data: bytes) -> object:
    """The value of one JSON text (RFC 8259).

    Bytes that are not UTF-8 become U+FFFD. Numbers too large for a float become infinite. The
    constants that servers in Python write, NaN and Infinity, are read as Python reads them.
    Strings may hold lone surrogates: pass those that leave the engine through `clean`.

    Raises:
        ValueError: not JSON, or nested deeper than the interpreter's stack bound.
    """
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_int=_whole)
    except RecursionError:
        msg = "nested too deeply"
    raise ValueError(msg)


def read_json(data: bytes) -> dict[str, Any] | list[Any] | None:
    """The JSON object or list that `data` is; None if it is neither."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        value = parse(data)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def clean(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, so that it encodes as UTF-8."""
    return SURROGATE.sub("\ufffd", text)


def as_raw(value: object) -> msgspec.Raw:
    """`value` as JSON again: ASCII, with lone surrogates as the escapes that they came as."""
    return msgspec.Raw(json.dumps(finite(value), separators=(",", ":")).encode())


def finite(value: object) -> object:
    """`value` with null where JSON has no word: NaN and the infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def excerpt(data: bytes, limit: int) -> str:
    """The beginning of `data` as text that takes at most `limit` bytes as UTF-8."""
    text = data[:limit].decode("utf-8", "replace")
    return text.encode()[:limit].decode("utf-8", "ignore")


def count(value: object) -> int | None:
    """A JSON number as a token count: whole, not negative, exact in every JSON reader
    (at most 2**53). 12.0 is 12; everything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= 2**53 or value != int(value):
        return None
    return int(value)


def _whole(digits: str) -> int | float:
    if len(digits) > _LONG_INT:
        return -math.inf if digits.startswith("-") else math.inf
    return int(digits)


def text_of(value: object) -> str:
    """Text that encodes as UTF-8; empty for anything else."""
    return clean(value) if isinstance(value, str) else ""


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; none of anything else."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
