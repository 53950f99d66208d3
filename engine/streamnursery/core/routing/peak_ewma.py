"""Latency as load balancers see it: a peak counts at once, and is forgotten slowly.

Two routes are picked at random and the one with the smaller load is taken ("power of two
choices"): load is the latency times the requests under way. (Finagle's `PeakEwma`, tower's
`load/peak_ewma.rs`.)
"""

from collections.abc import Callable, Sequence
from math import exp
from typing import TypeVar

T = TypeVar("T")
_DECAY = 10.0
"""Seconds in which a peak loses two thirds of what it was above the rest."""


class PeakEwma:
    """Times to the first token of one route."""

    __slots__ = ("_at", "_value", "pending")

    def __init__(self, expected: float = 1.0) -> None:
        """`expected` seconds are believed until something was measured."""
        self.pending = 0
        """Requests that have had no first token yet."""
        self._value = expected
        self._at: float | None = None

    def add(self, seconds: float, now: float) -> None:
        """A request had its first token after `seconds`."""
        if self._at is None or seconds > self._value:
            self._value = seconds
        else:
            kept = exp(-(now - self._at) / _DECAY)
            self._value = self._value * kept + seconds * (1 - kept)
        self._at = now

    def load(self, now: float) -> float:
        """What a new request would have to expect. One peak does not keep requests away for
        ever."""
        kept = 1.0 if self._at is None else exp(-(now - self._at) / (6 * _DECAY))
        return self._value * kept * (self.pending + 1)


def pick_of_two(choices: Sequence[T], load: Callable[[T], float], dice: Callable[[], float]) -> T:
    """The less loaded of two of `choices`, which are picked by two rolls in [0, 1)."""
    if len(choices) == 1:
        return choices[0]
    first = int(dice() * len(choices))
    second = int(dice() * (len(choices) - 1))
    second += second >= first
    one, two = choices[first], choices[second]
    return one if load(one) <= load(two) else two
