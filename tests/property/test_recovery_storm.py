"""A provider goes away under load and comes back: requests that follow the decisions of core.

Events are run from a heap in their own time; nothing waits.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from math import inf
from random import Random

import attrs
import pytest

from streamnursery.core.recovery.circuit_gate import BreakerPermit, CircuitGate, Closed
from streamnursery.core.recovery.next_step import Failure, GiveUp, Position, TryAgain, next_step
from streamnursery.core.recovery.retry_budget import RetryBudget
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values import errors
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Route

RATE = {"test": 50, "proof": 200, "soak": 1000}
DOWN_AT, UP_AT, END_AT = 10.0, 70.0, 90.0
PLAN = RoutePlan(
    "m", (PlannedRoute(Route("e", "m"), "m", Role.PRIMARY, "e", Retries(), Patience()),)
)
Trouble = Callable[[float], errors.EngineError | None]


@attrs.define
class Storm:
    """`rate` requests a second against one route; `trouble` says what an exchange meets."""

    rate: int
    trouble: Trouble
    budget: RetryBudget
    gate: CircuitGate = attrs.field(factory=lambda: CircuitGate(offset=0.7))
    answered: Counter[int] = attrs.field(factory=Counter)
    """Answers by second."""
    returned: list[float] = attrs.field(factory=list)
    """When those who had waited were sent."""
    attempts: int = 0
    lost: int = 0
    _events: list[tuple[float, int, Callable[[float], None]]] = attrs.field(factory=list)
    _dice: Random = attrs.field(factory=lambda: Random(5))

    def run(self) -> None:
        for number in range(int(END_AT * self.rate)):
            self._at(number / self.rate, partial(self._enter, Position(PLAN), waited=False))
        while self._events and self._events[0][0] < END_AT:
            now, _, event = heapq.heappop(self._events)
            event(now)

    def _at(self, date: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (date, self._dice.getrandbits(60), event))

    def _enter(self, position: Position, now: float, *, waited: bool) -> None:
        entered = self.gate.enter(now)
        if isinstance(entered, Closed):
            self._go_on(Failure.closed(entered, now), position, now)
            return
        if position.new_here:
            self.budget.deposit(now)
        self.attempts += 1
        if waited:
            self.returned.append(now)
        error = self.trouble(now)
        latency = 0.05 if error else 0.5
        self._at(now + latency, partial(self._leave, position, entered, error))

    def _leave(
        self, position: Position, visit: BreakerPermit, error: errors.EngineError | None, now: float
    ) -> None:
        visit.ended(error, now)
        if error is None:
            self.answered[int(now)] += 1
        else:
            self._go_on(Failure.of(error, committed=False), position, now)

    def _go_on(self, failure: Failure, position: Position, now: float) -> None:
        step = next_step(
            failure,
            position,
            now=now,
            deadline=inf,
            dice=self.gate.dice(),
            budget_left={"e": self.budget.level(now)},
        )
        if isinstance(step, GiveUp):
            self.lost += 1
            return
        assert isinstance(step, TryAgain)
        assert self.budget.withdraw(now, step.cost)
        if failure.refused is None and failure.what.startswith("RateLimited"):
            self.gate.on_refused(failure.retry_after, step.after, now)
        self._at(now + step.after, partial(self._enter, step.position, waited=True))


def refused(now: float) -> errors.EngineError | None:
    return errors.ConnectError("") if DOWN_AT <= now < UP_AT else None


def overloaded(now: float) -> errors.EngineError | None:
    return errors.ServerError("", status=503) if DOWN_AT <= now < UP_AT else None


def paused(now: float) -> errors.EngineError | None:
    """A rate limit that names the end of the trouble."""
    if not DOWN_AT <= now < UP_AT:
        return None
    return errors.RateLimitedError("", status=429, retry_after=UP_AT - now)


def limited(now: float) -> errors.EngineError | None:
    """A rate limit that names a date and does not keep it."""
    if not DOWN_AT <= now < UP_AT:
        return None
    return errors.RateLimitedError("", status=429, retry_after=7)


def late(now: float) -> errors.EngineError | None:
    """A rate limit that names no date: what pauses is its repetition."""
    return errors.RateLimitedError("", status=429) if DOWN_AT <= now < UP_AT else None


DATED = [refused, overloaded, paused, limited]
"""Troubles in which requests wait for one date, set by the breaker or by the provider."""
TROUBLES = pytest.mark.parametrize("trouble", [*DATED, late])


@cache
def storm(trouble: Trouble, rate: int) -> Storm:
    it = Storm(rate, trouble, RetryBudget(capacity=rate))
    it.run()
    return it


@TROUBLES
def test_o2_a_storm_stays_within_a_tenth_more_than_its_requests_and_the_bucket(
    trouble: Trouble, tier: str
) -> None:
    rate = RATE[tier]
    assert storm(trouble, rate).attempts <= 1.1 * rate * END_AT + rate


@TROUBLES
def test_o3_the_full_rate_is_back_within_ten_seconds(trouble: Trouble, tier: str) -> None:
    rate = RATE[tier]
    for second in range(int(UP_AT) + 10, int(END_AT) - 1):
        assert storm(trouble, rate).answered[second] >= 0.95 * rate


@pytest.mark.parametrize("trouble", DATED)
def test_o3_those_who_waited_do_not_come_back_at_once(trouble: Trouble, tier: str) -> None:
    back = [date for date in storm(trouble, RATE[tier]).returned if date >= UP_AT]
    slots = Counter(int(date * 10) for date in back)
    assert max(slots.values()) <= len(back) / 5


def test_a_pause_that_is_kept_loses_nobody(tier: str) -> None:
    it = storm(paused, RATE[tier])
    assert it.lost == 0
    assert len(it.returned) >= 0.99 * RATE[tier] * (UP_AT - DOWN_AT)


def test_an_open_breaker_keeps_most_requests_away_from_a_dead_provider(tier: str) -> None:
    rate = RATE[tier]
    assert storm(refused, rate).attempts < 0.8 * rate * END_AT


def test_a_storm_of_refusals_without_a_date_sends_no_more_than_one_whose_date_is_not_kept(
    tier: str,
) -> None:
    rate = RATE[tier]
    assert storm(late, rate).attempts <= 1.05 * storm(limited, rate).attempts
