"""When a second attempt is made beside the first, and where it may go.

Rule 1: "p95" is what a share of 0.95 of the model's latest first tokens did not exceed. What counts
        is how long a request waited, whichever attempt answered: a hedge that helped keeps the
        figure low, and so hedging goes on helping.
        It is taken over two periods, and the lower one counts: a bad spell in one of them does
        not put hedging off.
Rule 2: until `ENOUGH` first tokens were seen there is no figure and no hedge.
Rule 3: a hedge asks the same model: at its further routes first, then here once more. A fallback
        model gives another answer.
"""

from collections.abc import Sequence

import attrs

from streamnursery.core.measure.histogram import Histogram
from streamnursery.core.recovery.next_step import Position
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.values.policy import HedgeAfter

ENOUGH = 20
PERIOD = 400
"""First tokens after which a new period begins, and the one before the last is forgotten."""
_TELLING = 100
"""First tokens from which on a period has its own figure."""

# Over the histogram's bucket, which is 5 % wide: what always takes equally long is never hedged.
_ABOVE = 1.05


@attrs.define(eq=False)
class FirstTokens:
    """How long attempts waited for their first tokens, lately."""

    _now: Histogram = attrs.field(factory=Histogram, init=False)
    _before: Histogram = attrs.field(factory=Histogram, init=False)

    def add(self, seconds: float) -> None:
        if self._now.count >= PERIOD:
            self._before, self._now = self._now, Histogram()
        self._now.add(seconds)

    def p95(self) -> float | None:
        """Seconds; None until enough is known."""
        least = _TELLING if self._before.count else ENOUGH
        periods = [p for p in (self._now, self._before) if p.count >= least]
        figures = [p95 for period in periods if (p95 := period.quantile(0.95)) is not None]
        return min(figures) * _ABOVE if figures else None


def hedge_delay(hedge_after: HedgeAfter, lately: FirstTokens) -> float | None:
    """Seconds from the beginning of an attempt to its hedge; None for no hedge."""
    if hedge_after == "off":
        return None
    return lately.p95() if hedge_after == "p95" else hedge_after


def hedge_stops(position: Position) -> Sequence[PlannedRoute]:
    """Where an attempt at `position` may be hedged, in order."""
    here = position.stop
    further = [
        stop
        for stop in position.plan.stops[position.at + 1 :]
        if stop.model == here.model and stop.account not in position.barred
    ]
    return [*further, here]
