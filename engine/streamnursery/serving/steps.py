"""An answer as steps in the bytes of HTTP/1.1, which a player takes.

Rule 1: steps are lazy and know no clock: a `Send` says the earliest time for it, which may lie
        in the past, a `Wait` counts from the moment it is reached.
Rule 2: every sequence ends with one `End`.
Rule 3: each function here that takes steps gives steps, and holds at most 16 KiB back.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, auto
from http import HTTPStatus
from math import inf
from typing import TypeAlias

import attrs

BATCH = 16 * 1024
"""Bytes that are put into one send when nothing spaces them out."""
Headers = Iterable[tuple[str, str]]
JSON = ("content-type", "application/json")
CLOSE = ("connection", "close")


class How(Enum):
    """What becomes of the connection."""

    KEEP = auto()
    """The message is complete."""
    CLOSE = auto()
    """The message is complete, and the connection ends with it."""
    CUT = auto()
    """FIN in the middle of the message."""
    RESET = auto()
    """RST, which discards what the client has not read."""
    TALK = auto()
    """It is a WebSocket from now on."""


@attrs.define  # one is made for every token, and freezing doubles its price
class Send:
    """Bytes to send, not before `at` on trio's clock."""

    data: bytes
    at: float = -inf
    marks: tuple[int, ...] = ()
    """For each token in `data`: after how many bytes of it a client can know the token."""
    apart: bool = False
    """To be read by themselves, where the network allows that."""


@attrs.frozen
class Wait:
    """Do nothing for so long; inf: until the client goes."""

    seconds: float


@attrs.frozen
class End:
    """The answer is over."""

    how: How
    note: str = "complete"
    """How the answer ended, for the log."""


Step: TypeAlias = Send | Wait | End


def batched(steps: Iterator[Step]) -> Iterator[Step]:
    """Join sends that are due together."""
    parts: list[bytes] = []
    marks: list[int] = []
    size, at = 0, -inf
    for step in steps:
        joins = isinstance(step, Send) and not step.apart
        if parts and not (joins and isinstance(step, Send) and step.at <= at and size < BATCH):
            yield Send(b"".join(parts), at, tuple(marks))
            parts, marks, size = [], [], 0
        if isinstance(step, Send) and joins:
            at = step.at if not parts else at
            parts.append(step.data)
            marks += [size + mark for mark in step.marks]
            size += len(step.data)
        else:
            yield step


def chunked(steps: Iterator[Step]) -> Iterator[Step]:
    """As chunks of HTTP/1.1, the last one included if the message is complete (RFC 9112 7.1)."""
    for step in steps:
        if isinstance(step, Send):
            begin = b"%x\r\n" % len(step.data)
            marks = tuple([len(begin) + mark for mark in step.marks])
            yield Send(b"%b%b\r\n" % (begin, step.data), step.at, marks, step.apart)
        else:
            if isinstance(step, End) and step.how is How.KEEP:
                yield Send(b"0\r\n\r\n")
            yield step


def close_delimited(steps: Iterator[Step]) -> Iterator[Step]:
    """The end of the connection is the end of the message."""
    for step in steps:
        complete = isinstance(step, End) and step.how is How.KEEP
        yield End(How.CLOSE, step.note) if isinstance(step, End) and complete else step


def head(status: int, headers: Headers) -> bytes:
    """A status line and header block. No status and no header is refused."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(
    status: int, body: bytes, headers: Headers, *, at: float = -inf, end: End | None = None
) -> Iterator[Step]:
    """An answer of known length."""
    length = () if status in (204, 304) else (("content-length", str(len(body))),)
    yield Send(head(status, (*headers, *length)) + body, at)
    yield end or End(How.KEEP)
