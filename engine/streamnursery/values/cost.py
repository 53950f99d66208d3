"""What an answer cost, as the ledger books it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from streamnursery.values.money import NANOS_PER_DOLLAR, NO_MONEY, Money

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


@attrs.frozen
class Cost:
    """The money of an attempt, or of all attempts of a request. US dollars."""

    money: Money | None
    """None where it is not known; `reason` says why."""
    reason: str = ""
    price_date: date | None = None
    """The first day for which the price holds; of several prices the oldest. None: the price has
    no date, or there is no price."""
    source: str = ""
    """Where the price was read."""
    estimated: bool = False
    """Tokens were counted by us, since the provider did not report them."""
    uncertain: Money = NO_MONEY
    """Not in `money`: the most that attempts cost of which no answer was seen. They were sent, and
    the provider may charge for them."""

    def __str__(self) -> str:
        if self.money is None:
            return f"unknown: {self.reason}"
        marks = [
            *(["estimated"] if self.estimated else []),
            *([f"and up to {self.uncertain} uncertain"] if self.uncertain else []),
            *([f"price of {self.price_date}"] if self.price_date is not None else []),
        ]
        return f"{self.money} ({', '.join(marks)})" if marks else str(self.money)


class CostSource(Protocol):
    """Works out the cost of an attempt when it is read."""

    def cost(self, record: Any) -> Cost:
        """Of the attempt with this `AttemptRecord`, which knows this module."""


class HasCost(Protocol):
    @property
    def cost(self) -> Cost: ...


def usd(cost: Cost) -> float | None:
    """US dollars; None where they are not known."""
    return None if cost.money is None else cost.money / NANOS_PER_DOLLAR


NO_ATTEMPT = Cost(NO_MONEY)
BY_HAND = Cost(None, "the record was made by hand")


def total_cost(attempts: Iterable[HasCost]) -> Cost:
    """All `attempts` together; not known as soon as one of them is not."""
    costs = [attempt.cost for attempt in attempts]
    if not costs:
        return NO_ATTEMPT
    if len(costs) == 1:
        return costs[0]
    dates = [cost.price_date for cost in costs if cost.price_date is not None]
    sources = dict.fromkeys(cost.source for cost in costs if cost.source)
    unknown = [cost.reason for cost in costs if cost.money is None]
    return Cost(
        None if unknown else Money(sum(cost.money or 0 for cost in costs)),
        "; ".join(dict.fromkeys(unknown)),
        min(dates, default=None),
        "; ".join(sources),
        any(cost.estimated for cost in costs),
        Money(sum(cost.uncertain for cost in costs)),
    )


@attrs.frozen
class RouteEstimate:
    """What a request may cost at one route."""

    route: str
    """`endpoint/model`."""
    low: Money | None
    """The estimated input, read from the provider's cache where that is cheaper, and one token of
    output. None: the model has no price."""
    high: Money | None
    """What a budget would reserve: the input with a quarter more, and `max_tokens` of output, or
    where the request has none, 99 of 100 answers so far."""
    price_date: date | None = None
    source: str = ""


@attrs.frozen
class Estimate:
    """What a request is expected to take, before it is sent."""

    input_tokens: int
    """At the first route; no provider is asked."""
    output_tokens: int
    """The most at the first route."""
    routes: tuple[RouteEstimate, ...]
    """In the order in which they are tried."""
