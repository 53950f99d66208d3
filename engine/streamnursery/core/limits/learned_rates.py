"""What a provider's own headers say is left, as a limit of the route they came from.

Rule 1: nothing is known before the first answer, and nothing is limited.
Rule 2: what is left refills evenly until the reset, as the token buckets of the providers do, or
        all at once where their table says so. The news of each answer takes the place of what was
        thought before, upwards and downwards.
Rule 3: requests under way whose answers have not come yet may be missing in the news: they are
        taken off what it says is left.
Rule 4: no news closes a route for good: a limit refills within `MAX_RESET`, which is a day since
        limits are stated per day, and a request above the limit passes when all of it is there.
Rule 5: what is left of a limit that was never stated is ignored: gateways say "0" in every answer
        and serve, and some repeat one figure for hours.
"""

from collections.abc import Callable, Sequence
from functools import partial

import attrs

from streamnursery.core.limits.rate_buckets import Shortage, units, weights
from streamnursery.values.demand import Demand
from streamnursery.values.rates import RateNews
from streamnursery.values.statistics import RateStatistics
from streamnursery.values.usage import Usage

MAX_RESET = 86_400.0
_FEW = 4


@attrs.define(eq=False)
class RemainingQuota:
    """What is left of one limit of a provider."""

    limit: float
    level: float
    as_of: float
    refill: float
    """Units per second."""
    renews_at: float | None = None
    """When all of it comes back at once, where it does."""
    period: float = 60.0
    weights: tuple[int, int, int] = (0, 0, 1)
    """What a request and its tokens take, as `rate_buckets.weights`."""

    def left(self, now: float) -> float:
        if self.renews_at is not None:
            return self.level if now < self.renews_at else self.limit
        return min(self.limit, self.level + (now - self.as_of) * self.refill)

    def used(self, now: float) -> int:
        """What is not left of the limit."""
        return round(self.limit - self.left(now))

    def date(self, wanted: int, now: float) -> float:
        """When `wanted` units, or all of the limit, are there."""
        if self.renews_at is None and wanted <= self.level:
            return now  # of what comes back evenly there is never less than there was
        missing = min(float(wanted), self.limit) - self.left(now)
        if missing <= 1e-6:
            return now
        return now + missing / self.refill if self.renews_at is None else self.renews_at

    def take(self, wanted: int, now: float) -> None:
        """Below zero for what is larger than the limit."""
        if self.renews_at is None:  # as `left`, without the call: it is asked for every request
            self.level = min(self.limit, self.level + (now - self.as_of) * self.refill) - wanted
        else:
            self.level = self.left(now) - wanted
            if now >= self.renews_at:
                self.renews_at = now + self.period
        self.as_of = now


@attrs.define(eq=False)
class Underway:
    """What a demand took of what is left. Its news, its end without any, or nothing sent."""

    _rates: "LearnedRates"
    _demand: Demand
    _open: bool = attrs.field(default=True, init=False)

    def on_rate_headers(self, news: Sequence[RateNews], now: float) -> None:
        """The head of the answer came, with or without news."""
        self._close()
        for item in news:
            self._rates.hear(item, now)

    def settle(self, _demand: Demand, _usage: Usage | None, _now: float) -> None:
        """The provider knows better what it counts: the next news says it."""
        self._close()

    def void(self, now: float) -> None:
        """Nothing was sent."""
        if self._open:
            for kind, allowance in self._rates.buckets.items():
                wanted = units(kind, self._demand.input_tokens, self._demand.output_tokens)
                allowance.take(-wanted, now)
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._rates.add_underway(self._demand, -1)


class LearnedRates:
    """The limits of one route, as its provider reports them."""

    def __init__(self) -> None:
        self.buckets: dict[str, RemainingQuota] = {}
        self._requests = 0
        self._inputs = 0
        self._outputs = 0

    def hear(self, news: RateNews, now: float) -> None:
        """`news` came just now."""
        before = self.buckets.get(news.kind)
        known = news.limit or (before.limit if before is not None else 0)
        if not known:
            return
        limit = float(max(known, news.remaining))
        remaining = limit if news.reset == 0 else float(news.remaining)
        missing = limit - remaining
        reset = news.period * missing / limit if news.reset is None else min(news.reset, MAX_RESET)
        # What is left was rounded down and the reset was not: a unit less is missing, perhaps.
        surely = missing - 1 if missing > _FEW else missing
        refill = surely / reset if missing and reset > 0 else limit / news.period
        weight = weights(news.kind) if before is None else before.weights
        underway = weight[0] * self._requests + weight[1] * self._inputs + weight[2] * self._outputs
        self.buckets[news.kind] = RemainingQuota(
            limit,
            max(0.0, remaining - underway),
            now,
            max(refill, limit / MAX_RESET),
            renews_at=now + (news.period if news.reset is None else reset)
            if news.renewed
            else None,
            period=news.period,
            weights=weight,
        )

    def shortage(self, demand: Demand, now: float) -> Shortage | None:
        """The limit that `demand` waits for longest; None: there is enough left of all."""
        worst: Shortage | None = None
        made, spent = demand.output_tokens, demand.input_tokens
        for kind, allowance in self.buckets.items():
            request, per_input, per_output = allowance.weights
            wanted = request + per_input * spent + per_output * made
            if allowance.renews_at is None and wanted <= allowance.level:
                continue  # as `date` says, without the call: it is asked for every request
            date = allowance.date(wanted, now)
            if date > (now if worst is None else worst.date):
                worst = Shortage(kind, int(allowance.limit), wanted, date)
        return worst

    def reserve(self, demand: Demand, now: float) -> tuple[Underway]:
        """Take what `demand` needs from what is left."""
        made, spent = demand.output_tokens, demand.input_tokens
        for allowance in self.buckets.values():
            request, per_input, per_output = allowance.weights
            allowance.take(request + per_input * spent + per_output * made, now)
        self.add_underway(demand, 1)
        return (Underway(self, demand),)

    def keep(self, now: float) -> Callable[[], tuple[RateStatistics, ...]]:
        """What `statistics` says now, worked out when it is called."""
        kept = [(kind, quota.limit, quota.left(now)) for kind, quota in self.buckets.items()]
        return partial(_statistics, kept) if kept else tuple

    def statistics(self, now: float) -> tuple[RateStatistics, ...]:
        return self.keep(now)()

    def impossible(self, _demand: Demand) -> Shortage | None:
        """Never: the provider refuses what is too much."""
        return None

    def add_underway(self, demand: Demand, sign: int) -> None:
        """One more request whose answer has not come, or with -1 one less."""
        self._requests += sign
        self._inputs += sign * demand.input_tokens
        self._outputs += sign * demand.output_tokens

    @property
    def underway(self) -> int:
        """Requests whose answers have not come."""
        return self._requests


def _statistics(kept: Sequence[tuple[str, float, float]]) -> tuple[RateStatistics, ...]:
    """Of each kind, its limit and what is left of it."""
    return tuple(
        RateStatistics(kind, int(limit), round(limit - left)) for kind, limit, left in kept
    )
