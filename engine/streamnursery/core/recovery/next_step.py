"""What to do after an attempt failed, or a route's gate was closed.

Rule 1: this file decides, the supervisor acts. A step is a value that says why.
Rule 2: once content was delivered the answer is GiveUp: a second attempt would repeat or
        contradict it. `interruption` asks for more, and then for stops that are `usable`.
Rule 3: `retryable` says whether this route may be asked again, the class of the error whether
        another may be asked at all, and whether it comes first (`error_policy`).
Rule 4: who may go elsewhere at once does not wait. A broken route of a model is left for its next
        one; its last route is tried again until its attempts are used up; only then comes a
        fallback model. An open breaker is not waited for while anything else is on the plan.
Rule 5: the plan is walked forwards: exchanges <= the sum of all its attempts.
Rule 6: every exchange that goes to an endpoint this request was sent to before is paid for by
        that endpoint's retry budget. The first one to a further endpoint is not.
Rule 7: a key that was refused, or whose endpoint cannot prove who it is, is not used again.
Rule 8: a prompt that was too long goes to a stop whose window is larger, or is not known.
Rule 9: a wait that cannot end before the deadline, or is longer than a provider may ask for, is
        not begun.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from streamnursery.core.recovery import backoff
from streamnursery.core.recovery.circuit_gate import Closed
from streamnursery.core.recovery.error_policy import RetryScope
from streamnursery.core.recovery.error_table import policy_of
from streamnursery.core.routing.route_plan import PlannedRoute, RoutePlan
from streamnursery.values.errors import (
    ContextTooLongError,
    EngineError,
    PatienceError,
    QuotaError,
)

# A timeout holds its slot longest; botocore charges it double too (`retries/quota.py`).
_TIMEOUT_COST = 2.0
_CLOSED_FOR = 5.0
"""Seconds of an open breaker that are waited out for each attempt of the route."""
_REFUSED_AT_LEAST = 0.5
"""Seconds that each time counts, so that there is an end to them."""


@attrs.frozen
class Failure:
    """What went wrong, in the words every provider shares."""

    what: str
    """For the reader; holds no text of provider or caller."""
    way: RetryScope
    retryable: bool
    committed: bool = False
    retry_after: float | None = None
    """Seconds, uncapped."""
    cost: float = 1.0
    """Tokens of the retry budget that another exchange costs."""
    refused: Closed | None = None
    """Nothing was sent: the route's gate was closed."""
    tokens: int | None = None
    """What the prompt that was too long takes, where the provider said so."""
    window: int | None = None
    """What it was too long for."""

    @classmethod
    def of(cls, error: EngineError, *, committed: bool) -> "Failure":
        way = policy_of(error).scope
        name = type(error).__name__
        return cls(
            what=name if error.status is None else f"{name} {error.status}",
            way=way,
            # No header can make an empty account or too long a prompt worth asking again.
            retryable=error.retryable and not isinstance(error, QuotaError | ContextTooLongError),
            committed=committed,
            retry_after=error.retry_after,
            cost=_TIMEOUT_COST if isinstance(error, PatienceError) else 1.0,
            tokens=error.tokens if isinstance(error, ContextTooLongError) else None,
            window=error.window if isinstance(error, ContextTooLongError) else None,
        )

    @classmethod
    def closed(cls, closed: Closed, now: float) -> "Failure":
        """A route that may not be used now."""
        return cls(
            what=str(closed),
            way=RetryScope.HERE_FIRST if closed.paused else RetryScope.ONWARDS_FIRST,
            retryable=True,
            retry_after=closed.opens_at - now,
            refused=closed,
        )


@attrs.frozen
class Position:
    """Where a request stands on its plan. Begin with `Position(plan)`."""

    plan: RoutePlan
    at: int = 0
    attempts: int = 0
    """Exchanges made on this route."""
    refused_for: float = 0.0
    """Seconds that its breaker asked for, each time it was found open. Pauses are not counted: they
    are a queue."""
    visited: frozenset[str] = frozenset()
    """Endpoints the request was sent to."""
    barred: frozenset[str] = frozenset()
    """Accounts not to be used again."""

    @property
    def stop(self) -> PlannedRoute:
        return self.plan.stops[self.at]

    @property
    def new_here(self) -> bool:
        """The endpoint has seen nothing of this request yet: its first exchange is a deposit."""
        return self.plan.stops[self.at].route.endpoint not in self.visited

    def counting(self, failure: Failure) -> "Position":
        if failure.refused is None:
            visited = self.visited | {self.stop.endpoint}
            return attrs.evolve(self, attempts=self.attempts + 1, visited=visited)
        if failure.refused.paused:
            return self
        seconds = max(failure.retry_after or 0.0, _REFUSED_AT_LEAST)
        return attrs.evolve(self, refused_for=self.refused_for + seconds)

    def having_visited(self, endpoint: str) -> "Position":
        """The same, after something was sent to `endpoint` as well."""
        return attrs.evolve(self, visited=self.visited | {endpoint})

    def at_stop(self, stop: PlannedRoute) -> "Position":
        """At a stop of this plan, on which nothing has been counted unless it is this one."""
        at = self.plan.stops.index(stop)
        return self if at == self.at else self.moved_to(at, self.barred)

    def moved_to(self, at: int, barred: frozenset[str]) -> "Position":
        return Position(self.plan, at, visited=self.visited, barred=barred)


@attrs.frozen
class TryAgain:
    """Wait, without a slot, and use the same route again."""

    after: float
    """Seconds."""
    why: str
    position: Position
    cost: float
    """Tokens to withdraw from the retry budget of `position.stop.endpoint`."""

    def __str__(self) -> str:
        return f"try again in {self.after:.3g} s: {self.why}"


@attrs.frozen
class NextRoute:
    """Go on at `position.stop` at once."""

    why: str
    position: Position
    cost: float
    """Tokens to withdraw from the retry budget of `position.stop.endpoint`."""

    def __str__(self) -> str:
        return f"go to {self.position.stop.route}: {self.why}"


@attrs.frozen
class GiveUp:
    """The failure is the request's outcome."""

    why: str

    def __str__(self) -> str:
        return f"not tried again: {self.why}"


Step: TypeAlias = TryAgain | NextRoute | GiveUp


def next_step(
    failure: Failure,
    position: Position,
    *,
    now: float,
    deadline: float,
    dice: float,
    budget_left: Mapping[str, float],
    usable: Callable[[PlannedRoute], bool] = lambda _: True,
) -> Step:
    """The step after `failure` of the attempt at `position.stop`.

    `dice` comes from the gate of that route; `budget_left` has the retry budget of every endpoint
    on the plan, in tokens; no other stop than a `usable` one is gone to.
    """
    what, position = failure.what, position.counting(failure)
    if failure.committed:
        return GiveUp(f"{what}, after content was delivered")
    if now >= deadline:
        return GiveUp(f"{what}; the deadline has passed")
    if failure.way in (RetryScope.BACKUP_FIRST, RetryScope.ONWARDS_FIRST):
        same_model = failure.way is RetryScope.BACKUP_FIRST
        step = _onwards(failure, position, budget_left, usable, what, same_model=same_model)
        if step is not None:
            return step
    wait = _wait(position, failure, dice)
    refusal = _refusal(failure, position, wait, deadline - now, budget_left)
    if refusal is None and not usable(position.stop):
        refusal = f"{position.stop.route} is not configured for it"
    if refusal is None:
        cost = failure.cost if failure.refused is None else 0.0
        return TryAgain(wait, what, position, cost)
    why = f"{what}; {refusal}"
    return _onwards(failure, position, budget_left, usable, why) or GiveUp(why)


def _wait(position: Position, failure: Failure, dice: float) -> float:
    retries = position.stop.retries
    # An open breaker is not a failure of this request: its own backoff does not grow by that.
    turn = 1 if failure.refused is not None else max(1, position.attempts)
    return backoff.pushback(retries, failure.retry_after or 0.0, turn, dice)


def _refusal(
    failure: Failure,
    position: Position,
    wait: float,
    time_left: float,
    budget_left: Mapping[str, float],
) -> str | None:
    """Why this route is not to be asked again; None when it may be."""
    stop, retries = position.stop, position.stop.retries
    if not failure.retryable:
        return "asking again would not help"
    if position.attempts >= retries.attempts:
        return f"{stop.route} has used up {retries.attempts} of {retries.attempts} attempts"
    if position.refused_for >= retries.attempts * _CLOSED_FOR:
        return f"{stop.route} stayed closed for {position.refused_for:.3g} s"
    asked = failure.retry_after
    if asked is not None and not asked <= retries.retry_after_cap:  # NaN is not within it either
        return f"a wait of {asked:.4g} s is beyond retry_after_cap = {retries.retry_after_cap:g} s"
    if failure.refused is None and budget_left[stop.endpoint] < failure.cost:
        return f"the retry budget of {stop.endpoint} is empty"
    if wait >= time_left:
        return f"a wait of {wait:.3g} s cannot end before the deadline"
    return None


def _onwards(
    failure: Failure,
    position: Position,
    budget_left: Mapping[str, float],
    usable: Callable[[PlannedRoute], bool],
    why: str,
    *,
    same_model: bool = False,
) -> NextRoute | None:
    """To the next stop that may be used, if there is one."""
    if failure.way is RetryScope.NOWHERE:
        return None
    here, barred = position.stop, position.barred
    if failure.way is RetryScope.OTHER_KEY:
        barred |= {here.account}
    too_long = failure.way is RetryScope.LARGER_WINDOW
    for at in range(position.at + 1, len(position.plan.stops)):
        stop = position.plan.stops[at]
        if stop.account in barred or (same_model and stop.model != here.model):
            continue
        if not usable(stop) or (too_long and not _may_fit(failure, here, stop)):
            continue
        there = position.moved_to(at, barred)
        cost = 0.0 if there.new_here else failure.cost
        if not cost or budget_left[stop.endpoint] >= cost:
            return NextRoute(why, there, cost)
    return None


def _may_fit(failure: Failure, here: PlannedRoute, there: PlannedRoute) -> bool:
    """Whether a prompt that was too long `here` may be short enough `there`."""
    if there.context is None:
        return True
    if failure.tokens is not None:
        return there.context >= failure.tokens
    window = failure.window or here.context
    return window is None or there.context > window
