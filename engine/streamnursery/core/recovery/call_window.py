"""Counts of the last seconds in constant space and time.

Time is cut into slices, a tenth of the window each; the window is the slice that runs now and the
nine before it, as in resilience4j's time-based window (partial aggregations). It forgets by the
slice: between 90 % and 100 % of `seconds` is remembered.
"""

from collections.abc import Callable
from functools import partial

import attrs

SLICES = 10


@attrs.frozen
class CallCounts:
    calls: int = 0
    failures: int = 0
    slow: int = 0


@attrs.define(eq=False)
class CallWindow:
    seconds: float
    _slices: list[CallCounts] = attrs.field(factory=lambda: [CallCounts()] * SLICES, init=False)
    _current: int = attrs.field(default=0, init=False)
    """Number of the slice that runs now, counted from time 0."""
    _sum: CallCounts = attrs.field(factory=CallCounts, init=False)
    """Of all slices."""

    def add(self, now: float, *, calls: int = 0, failures: int = 0, slow: int = 0) -> CallCounts:
        """Count them; what `tally` says then."""
        self._advance(now)
        place = self._current % SLICES
        old = self._slices[place]
        self._slices[place] = CallCounts(
            old.calls + calls, old.failures + failures, old.slow + slow
        )
        all_ = self._sum
        self._sum = CallCounts(all_.calls + calls, all_.failures + failures, all_.slow + slow)
        return self._sum

    def tally(self, now: float) -> CallCounts:
        self._advance(now)
        return self._sum

    def view(self, now: float) -> Callable[[], CallCounts]:
        """What `tally` says now, worked out when it is called."""
        return partial(_tally, self.seconds, tuple(self._slices), self._current, self._sum, now)

    def clear(self) -> None:
        self._slices = [CallCounts()] * SLICES
        self._sum = CallCounts()

    def _advance(self, now: float) -> None:
        current = int(now * SLICES // self.seconds)
        if current <= self._current:
            return
        for number in range(max(self._current + 1, current - SLICES + 1), current + 1):
            self._slices[number % SLICES] = CallCounts()
        self._current = current
        self._sum = CallCounts(
            sum(s.calls for s in self._slices),
            sum(s.failures for s in self._slices),
            sum(s.slow for s in self._slices),
        )


def _tally(
    seconds: float, slices: tuple[CallCounts, ...], current: int, counts: CallCounts, now: float
) -> CallCounts:
    window = CallWindow(seconds)
    window._slices, window._current, window._sum = list(slices), current, counts
    return window.tally(now)
