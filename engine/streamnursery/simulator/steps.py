"""An answer as steps that somebody else takes, and what can be done to such steps.

Rule 1: steps are lazy and know no clock: a `Send` says the earliest time for it, which may lie
        in the past, a `Wait` counts from the moment it is reached.
Rule 2: every sequence ends with one `End`.
Rule 3: each function here takes steps and gives steps, and holds at most 16 KiB back.
"""

from collections.abc import Iterator
from enum import Enum, auto
from itertools import cycle
from math import inf
from typing import TypeAlias

import attrs

BATCH = 16 * 1024
"""Bytes that are put into one send when nothing spaces them out."""
RESET_AFTER = 0.001
"""Seconds between the last bytes and a RST, so that a client that reads gets them: a RST
discards what was not read."""


class How(Enum):
    """What becomes of the connection."""

    KEEP = auto()
    """The message is complete."""
    CLOSE = auto()
    """FIN."""
    RESET = auto()
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


def part(send: Send, start: int, end: int) -> Send:
    """Some bytes of `send`, and the tokens that they complete."""
    marks = tuple([mark - start for mark in send.marks if start < mark <= end])
    return Send(send.data[start:end], send.at, marks, send.apart)


def split(steps: Iterator[Step], sizes: tuple[int, ...]) -> Iterator[Step]:
    """Cut into pieces of these sizes, over and over, each to be read by itself."""
    following = cycle(sizes)
    for step in steps:
        if not isinstance(step, Send):
            yield step
            continue
        start = 0
        while start < len(step.data):
            end = start + next(following)
            yield attrs.evolve(part(step, start, end), apart=True)
            start = end


def drip(steps: Iterator[Step], size: int, every: float) -> Iterator[Step]:
    """Cut into pieces of `size` bytes with `every` seconds before each but the first."""
    first = True
    for step in split(steps, (size,)):
        if isinstance(step, Send):
            if not first:
                yield Wait(every)
            first = False
        yield step


def broken_off(steps: Iterator[Step], after: int, end: End) -> Iterator[Step]:
    """Let `after` bytes through and then `end`, unless the steps end before that."""
    left = after
    for step in steps:
        if not isinstance(step, Send):
            yield step
            continue
        if len(step.data) > left:
            if left:
                yield part(step, 0, left)
            yield from ending(end)
            return
        left -= len(step.data)
        yield step


def broken_off_at_token(steps: Iterator[Step], tokens: int, end: End) -> Iterator[Step]:
    """Let `tokens` tokens through and then `end`, unless the steps end before that."""
    for step in steps:
        if isinstance(step, Send) and len(step.marks) > tokens:
            start = step.marks[tokens - 1] if tokens else 0
            if start:
                yield part(step, 0, start)
            yield from ending(end)
            return
        tokens -= len(step.marks) if isinstance(step, Send) else 0
        yield step


def ending(end: End) -> Iterator[Step]:
    if end.how is How.RESET:
        yield Wait(RESET_AFTER)
    yield end
