"""A limit per minute as a bucket that gives a date, so that polling is not needed.

Rule 1: no window of 60 s sees more than `limit` units, whatever the arrivals, also when units are
        given back. The log of the last 60 s keeps that; the pace keeps requests apart.
Rule 2: the pace is the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371,
        Annex A; ATM Forum TM 4.1): a burst of `burst * limit` units and a refill of what is left
        of the limit, (limit - burst) / 60 per second, so that alone it keeps rule 1 too.
Rule 3: what is larger than the burst waits for a full bucket and leaves it in debt. Where the
        burst would reach half of the limit there is no pace: the log alone decides.
Rule 4: a correction upwards may break the limit, since it has happened already; it delays what
        comes next. A correction downwards gives back to the log exactly, and to the pace no more
        than a full bucket.
"""

from collections import deque
from math import inf

import attrs

WINDOW = 60.0
"""Seconds."""
BURST = 0.1
"""The part of a limit that may be used at once, by default."""

_EXACT = 1000
"""Entries of the log that are kept apart; beyond them those of a tenth of a second share one,
which leaves the window when the last of them does."""
_GRAIN = 0.1
_ENOUGH = 1e-9
"""Units by which a float may miss a full bucket."""


@attrs.define(eq=False)
class Taken:
    """An entry of the log: units taken at one time, or within a grain of it."""

    at: float
    units: int


class Bucket:
    """`limit` units per 60 s."""

    def __init__(self, limit: int, burst: float = BURST) -> None:
        self._log: deque[Taken] = deque()
        self._logged = 0
        self._full_at = -inf
        """When the bucket would be full again: the theoretical arrival time of GCRA."""
        self._set(limit, burst)

    def _set(self, limit: int, burst: float) -> None:
        self.limit = limit
        self.burst = max(1.0, limit * burst)
        """Units that may be used at once."""
        self.paced = self.burst < limit / 2
        self._rate = (limit - self.burst) / WINDOW if self.paced else inf

    def change(self, limit: int, burst: float, now: float) -> None:
        """Another limit from now on; what the last 60 s have used still counts."""
        backlog = max(0.0, self._full_at - now) * self._rate if self.paced else 0.0
        self._set(limit, burst)
        self._full_at = now + backlog / self._rate

    def date(self, units: int, now: float) -> float:
        """When `units` may be taken if no other takes any: not after `now` means now.

        `inf` for more than the limit: that never fits.
        """
        return max(self._pace_date(units, now), self._window_date(units, now))

    def take(self, units: int, now: float) -> Taken:
        """Take `units` whatever the date; hand the result to `correct` to change them."""
        self._full_at = max(self._full_at, now) + units / self._rate
        self._logged += units
        last = self._log[-1] if self._log else None
        if last is not None and (
            last.at == now or (len(self._log) >= _EXACT and now - last.at < _GRAIN)
        ):
            last.at = now
            last.units += units
            return last
        taken = Taken(now, units)
        self._log.append(taken)
        return taken

    def correct(self, taken: Taken, more: int, now: float) -> None:
        """Of `taken`, `more` units than said were used; fewer where it is negative."""
        start = max(self._full_at, now) if more > 0 else self._full_at
        self._full_at = start + more / self._rate
        self._prune(now)
        if taken.at + WINDOW > now:
            taken.units += more
            self._logged += more
        elif more > 0:
            self._log.append(Taken(now, more))
            self._logged += more

    def used(self, now: float) -> int:
        """Units of the last 60 s."""
        self._prune(now)
        return self._logged

    def _pace_date(self, units: int, now: float) -> float:
        if not self.paced:
            return now
        needed = min(float(units), self.burst) - _ENOUGH
        return self._full_at - (self.burst - needed) / self._rate

    def _window_date(self, units: int, now: float) -> float:
        if units > self.limit:
            return inf
        self._prune(now)
        over = self._logged + units - self.limit
        date = now
        for taken in self._log:
            if over <= 0:
                break
            over -= taken.units
            date = taken.at + WINDOW
        return date

    def _prune(self, now: float) -> None:
        log = self._log
        while log and log[0].at + WINDOW <= now:
            self._logged -= log.popleft().units
