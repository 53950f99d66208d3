"""Laws of a whole request: whatever happens, in whatever order, its attempts are bounded."""

from collections import Counter
from math import inf

import attrs
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.circuit_gate import Closed
from streamnursery.core.recovery.next_step import (
    Failure,
    GiveUp,
    NextRoute,
    Position,
    TryAgain,
    next_step,
)
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values import errors
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Route

ENDPOINTS = ("a", "b", "c")
BROKEN = (
    errors.ConnectError,
    errors.TlsError,
    errors.ConnectionLostError,
    errors.FirstTokenTimeoutError,
    errors.MalformedChunkError,
    errors.TruncatedStreamError,
    errors.ServerError,
    errors.RateLimitedError,
    errors.QuotaError,
    errors.AuthError,
    errors.ModelError,
    errors.ContentError,
    errors.TotalTimeoutError,
)

ERRORS = st.builds(
    lambda kind, retry_after, retryable: kind("", retry_after=retry_after, retryable=retryable),
    st.sampled_from(BROKEN),
    st.none() | st.floats(0, 300),
    st.none() | st.booleans(),
)
PLANS = st.lists(
    st.tuples(
        st.sampled_from(ENDPOINTS), st.sampled_from("mno"), st.sampled_from("xy"), st.integers(1, 4)
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda it: it[:3],
).map(
    lambda places: RoutePlan(
        "m",
        tuple(
            PlannedRoute(
                Route(endpoint, f"{model}{wire}"),
                model,
                Role.BACKUP,
                "a" if endpoint == "b" else endpoint,  # a and b share a key
                Retries(attempts=attempts),
                Patience(),
            )
            for endpoint, model, wire, attempts in places
        ),
    )
)
DICE = st.floats(0, 1, exclude_max=True)


@attrs.define
class World:
    """Runs one request against errors that `data` chooses."""

    plan: RoutePlan
    data: st.DataObject
    deadline: float = inf
    now: float = 0.0
    budget: dict[str, float] = attrs.field(factory=lambda: dict.fromkeys(ENDPOINTS, 6.0))
    sent: list[PlannedRoute] = attrs.field(factory=list)
    failures: list[Failure] = attrs.field(factory=list)
    paid: Counter[str] = attrs.field(factory=Counter)

    def run(self) -> GiveUp:
        """All attempts fail; returns the end that must come."""
        position = Position(self.plan)
        while True:
            failure = self._visit(position)
            self.failures.append(failure)
            step = next_step(
                failure,
                position,
                now=self.now,
                deadline=self.deadline,
                dice=self.data.draw(DICE),
                budget_left=self.budget,
            )
            if isinstance(step, GiveUp):
                return step
            if isinstance(step, TryAgain):
                assert self.now + step.after < self.deadline
                self.now += step.after
            self._pay(step)
            position = step.position

    def _visit(self, position: Position) -> Failure:
        if self.data.draw(st.integers(0, 4)) == 0:
            opens_at = self.now + self.data.draw(st.floats(0, 10))
            return Failure.closed(Closed(opens_at, paused=False), self.now)
        self.sent.append(position.stop)
        return Failure.of(self.data.draw(ERRORS), committed=False)

    def _pay(self, step: TryAgain | NextRoute) -> None:
        endpoint = step.position.stop.endpoint
        assert self.budget[endpoint] >= step.cost
        self.budget[endpoint] -= step.cost
        self.paid[endpoint] += step.cost > 0


@given(plan=PLANS, data=st.data())
def test_no_route_is_asked_more_often_than_its_policy_allows(
    plan: RoutePlan, data: st.DataObject
) -> None:
    world = World(plan, data)
    world.run()
    for stop, times in Counter(world.sent).items():
        assert times <= stop.retries.attempts
    assert len(world.sent) <= plan.max_exchanges


@given(plan=PLANS, data=st.data())
def test_o4_a_plan_is_walked_forwards_only(plan: RoutePlan, data: st.DataObject) -> None:
    world = World(plan, data)
    world.run()
    order = [plan.stops.index(stop) for stop in world.sent]
    assert order == sorted(order)


@given(plan=PLANS, data=st.data())
def test_every_exchange_but_an_endpoints_first_is_paid_for(
    plan: RoutePlan, data: st.DataObject
) -> None:
    world = World(plan, data)
    world.run()
    sent = Counter(stop.endpoint for stop in world.sent)
    for endpoint, times in sent.items():
        assert times - 1 <= world.paid[endpoint]
    assert all(level >= 0 for level in world.budget.values())


@given(plan=PLANS, data=st.data())
def test_h3_a_refused_key_is_never_shown_again(plan: RoutePlan, data: st.DataObject) -> None:
    world = World(plan, data)
    world.run()
    refused: set[str] = set()
    exchanges = iter(world.sent)
    for failure in world.failures:
        if failure.refused is not None:
            continue
        stop = next(exchanges)
        assert stop.account not in refused
        if failure.what in ("QuotaError", "AuthError", "TlsError") and not failure.retryable:
            refused.add(stop.account)


@given(plan=PLANS, data=st.data(), deadline=st.floats(0, 100))
def test_no_wait_ends_after_the_deadline(
    plan: RoutePlan, data: st.DataObject, deadline: float
) -> None:
    world = World(plan, data, deadline=deadline)
    world.run()
    assert world.now < deadline or len(world.sent) <= 1


@given(
    plan=PLANS,
    error=ERRORS,
    now=st.floats(0, 1e6),
    deadline=st.floats(0, 1e6) | st.just(inf),
    dice=DICE,
)
def test_after_content_was_delivered_every_failure_is_the_end(
    plan: RoutePlan, error: errors.EngineError, now: float, deadline: float, dice: float
) -> None:
    step = next_step(
        Failure.of(error, committed=True),
        Position(plan),
        now=now,
        deadline=deadline,
        dice=dice,
        budget_left=dict.fromkeys(ENDPOINTS, 100.0),
    )
    assert isinstance(step, GiveUp)
    assert type(error).__name__ in str(step)


@given(plan=PLANS, error=ERRORS, asked=st.floats(0, 120), dice=DICE)
def test_no_wait_is_shorter_than_what_was_asked(
    plan: RoutePlan, error: errors.EngineError, asked: float, dice: float
) -> None:
    error.retry_after = asked
    step = next_step(
        Failure.of(error, committed=False),
        Position(plan),
        now=0,
        deadline=inf,
        dice=dice,
        budget_left=dict.fromkeys(ENDPOINTS, 100.0),
    )
    if isinstance(step, TryAgain):
        assert step.after >= asked
