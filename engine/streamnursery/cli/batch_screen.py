"""What somebody sees of a batch while it runs."""

import sys
import time
from collections import deque

import attrs

from streamnursery.batch import BatchProgress
from streamnursery.values.money import Money

_LIVE, _LOGGED = 0.5, 10.0
"""Seconds between two looks, on a terminal and without one."""
_LATELY = 60.0
"""Seconds whose pace says when it will be over."""
_MOST_LOOKS = 400


@attrs.frozen
class Look:
    """A run at one moment."""

    at: float
    answered: int
    failed: int
    tokens: int
    """Of output."""
    worked: float
    """Expected tokens of the rows that are done."""

    @classmethod
    def of(cls, at: float, progress: BatchProgress) -> "Look":
        return cls(
            at,
            progress.answered,
            progress.failed,
            progress.output_tokens,
            progress.tokens_worked,
        )


class History:
    """A run from its beginning, in at most so many looks: of more every second one goes."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._every = 1
        self._seen = 0

    def add(self, look: Look) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            self.looks.append(look)
        if len(self.looks) >= _MOST_LOOKS:
            self.looks, self._every = self.looks[::2], self._every * 2


class Screen:
    """One line on stderr that is written over on a terminal, and a line now and then without
    one."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self.every = _LIVE if self._live else _LOGGED
        self._shown = 0
        self._past: deque[Look] = deque()

    def show(self, progress: BatchProgress, spent: int) -> None:
        now = Look.of(time.monotonic(), progress)
        self._past.append(now)
        while now.at - self._past[0].at > _LATELY:
            self._past.popleft()
        since = self._past[0]
        seconds = max(now.at - since.at, 1e-3)
        whole = "" if progress.rows is None else f"/{progress.rows}"
        parts = [
            f"{progress.done}{whole} done",
            f"{progress.failed} failed",
            f"{progress.in_flight} in flight",
            f"{(now.tokens - since.tokens) / seconds:.0f} tokens/s",
            str(Money(spent)),
        ]
        pace = (now.worked - since.worked) / seconds
        if progress.tokens_left is not None and pace > 0:
            parts.append(f"{duration(progress.tokens_left / pace)} left")
        self.say(", ".join(parts))

    def say(self, text: str) -> None:
        if self._live:
            sys.stderr.write("\r" + text.ljust(self._shown)[:200])
            self._shown = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self._live and self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            sys.stderr.flush()
            self._shown = 0


def duration(seconds: float) -> str:
    """In the two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
