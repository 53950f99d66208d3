"""Faults of an answer's bytes, as functions from steps to steps."""

from collections.abc import Iterator
from itertools import cycle

import attrs

from streamnursery.serving.steps import End, How, Send, Step, Wait

RESET_AFTER = 0.001
"""Seconds between the last bytes and a RST, so that a client that reads gets them: a RST
discards what was not read."""


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
