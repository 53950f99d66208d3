from collections.abc import Mapping
from math import inf, nan

import pytest

from streamnursery.core.recovery.circuit_gate import Closed
from streamnursery.core.recovery.next_step import (
    Failure,
    GiveUp,
    NextRoute,
    Position,
    Step,
    TryAgain,
    next_step,
)
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values import errors
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Route

RETRIES = Retries(attempts=3, base=1, cap=30, retry_after_cap=120)
PLENTY = dict.fromkeys("abc", 100.0)


def stop(
    place: str, model: str = "", account: str = "", retries: Retries = RETRIES
) -> PlannedRoute:
    """`place` is written `endpoint/model`."""
    endpoint, _, wire = place.partition("/")
    return PlannedRoute(
        Route(endpoint, wire), model or wire, Role.BACKUP, account or endpoint, retries, Patience()
    )


def at(*places: str | PlannedRoute) -> Position:
    stops = tuple(stop(place) if isinstance(place, str) else place for place in places)
    return Position(RoutePlan("m", stops))


def step(
    failure: errors.EngineError | Closed,
    position: Position,
    *,
    committed: bool = False,
    now: float = 0.0,
    deadline: float = inf,
    dice: float = 0.5,
    budget_left: Mapping[str, float] = PLENTY,
) -> Step:
    it = (
        Failure.closed(failure, now)
        if isinstance(failure, Closed)
        else Failure.of(failure, committed=committed)
    )
    return next_step(it, position, now=now, deadline=deadline, dice=dice, budget_left=budget_left)


def again(it: Step) -> TryAgain:
    assert isinstance(it, TryAgain), it
    return it


def route(it: Step) -> str:
    assert isinstance(it, NextRoute), it
    return str(it.position.stop.route)


def why(it: Step) -> str:
    assert isinstance(it, GiveUp), it
    return it.why


def refused() -> errors.EngineError:
    return errors.ConnectError("")


def busy(after: float | None = None) -> errors.EngineError:
    return errors.RateLimitedError("", status=429, retry_after=after)


def down(after: float | None = None) -> errors.EngineError:
    return errors.ServerError("", status=503, retry_after=after)


def test_c2_a_refused_connection_is_tried_again_after_our_own_backoff() -> None:
    first = again(step(refused(), at("a/m")))
    assert (first.after, first.cost) == (0.5, 1)
    second = again(step(refused(), first.position))
    assert second.after == 1
    assert why(step(refused(), second.position)) == "ConnectError; a/m has used up 3 of 3 attempts"


def test_b3_nothing_is_tried_again_once_content_was_delivered() -> None:
    lost = errors.ConnectionLostError("")
    assert why(step(lost, at("a/m", "b/m", "c/n"), committed=True)) == (
        "ConnectionLostError, after content was delivered"
    )


@pytest.mark.parametrize(
    "error",
    [
        errors.RequestError(""),
        errors.ContentError("", status=400),
        errors.TotalTimeoutError(""),
        errors.DeadlineError(""),
        errors.CallbackError(""),
        errors.StorageError(""),
        errors.BudgetExceededError(""),
        errors.StreamCancelledError(""),
    ],
)
def test_what_would_fail_anywhere_goes_nowhere(error: errors.EngineError) -> None:
    assert "asking again would not help" in why(step(error, at("a/m", "b/m", "c/n")))


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectError(""),
        errors.ConnectionLostError(""),
        errors.ConnectTimeoutError(""),
        errors.FirstByteTimeoutError(""),
        errors.FirstTokenTimeoutError(""),
        errors.IdleTimeoutError(""),
        errors.MalformedChunkError(""),
        errors.UnexpectedContentError(""),
        errors.TruncatedStreamError(""),
        errors.ServerError("", status=500),
        errors.ServerError("", status=500, retryable=False),
        errors.TooLargeError(""),
        errors.RedirectRefusedError(""),
    ],
)
def test_c3_a_broken_route_is_left_for_the_models_next_one_at_once(
    error: errors.EngineError,
) -> None:
    it = step(error, at("a/m", "b/m"))
    assert route(it) == "b/m"
    assert isinstance(it, NextRoute)
    assert it.cost == 0


def test_the_last_route_of_a_model_is_tried_again_before_a_fallback_model_is() -> None:
    it = step(down(), again(step(down(), at("a/m", "b/n"))).position)
    it = step(down(), again(it).position)
    assert route(it) == "b/n"
    assert str(it) == "go to b/n: ServerError 503; a/m has used up 3 of 3 attempts"


def test_o4_a_route_that_was_left_is_not_returned_to() -> None:
    moved = step(down(), at("a/m", "b/m"))
    assert route(moved) == "b/m"
    assert isinstance(moved, NextRoute)
    second = again(step(down(), moved.position))
    third = again(step(down(), second.position))
    assert {it.position.stop.endpoint for it in (second, third)} == {"b"}
    assert why(step(down(), third.position)) == "ServerError 503; b/m has used up 3 of 3 attempts"


def test_h1_a_rate_limit_is_waited_for_where_it_was_met() -> None:
    it = again(step(busy(2), at("a/m", "b/m"), dice=0))
    assert it.after == 2
    assert again(step(busy(2), at("a/m", "b/m"), dice=0.5)).after == 3


def test_h2_a_wait_beyond_the_cap_is_not_begun() -> None:
    assert why(step(busy(3600), at("a/m"))) == (
        "RateLimitedError 429; a wait of 3600 s is beyond retry_after_cap = 120 s"
    )
    assert route(step(busy(3600), at("a/m", "b/n"))) == "b/n"
    assert again(step(busy(120), at("a/m"), dice=0)).after == 120


@pytest.mark.parametrize("asked", [120.001, 1e35, inf, nan])
def test_t20_no_header_makes_us_wait_longer_than_the_cap(asked: float) -> None:
    assert isinstance(step(busy(asked), at("a/m")), GiveUp)


def test_h3_an_empty_account_is_asked_again_only_with_another_key() -> None:
    empty = errors.QuotaError("", status=429, retryable=True)
    assert "asking again would not help" in why(step(empty, at("a/m", "a/n")))
    assert route(step(empty, at("a/m", stop("b/m", account="a"), "c/m"))) == "c/m"


def test_h5_a_refused_key_is_not_used_again_further_down_the_plan() -> None:
    it = step(errors.AuthError("", status=401), at("a/m", "b/m", "a/n", "c/o"))
    assert route(it) == "b/m"
    assert isinstance(it, NextRoute)
    assert route(step(errors.AuthError("", status=401), it.position)) == "c/o"


def test_c5_an_endpoint_that_cannot_prove_who_it_is_is_not_asked_again() -> None:
    assert isinstance(step(errors.TlsError(""), at("a/m", stop("b/m", account="a"))), GiveUp)
    assert route(step(errors.TlsError(""), at("a/m", "b/m"))) == "b/m"


def test_a_model_that_is_not_there_is_looked_for_further_on() -> None:
    missing = errors.ModelError("", status=404)
    assert route(step(missing, at("a/m", "a/n"))) == "a/n"
    assert "asking again would not help" in why(step(missing, at("a/m")))


def test_what_the_provider_says_of_retrying_is_obeyed() -> None:
    never = errors.ServerError("", status=500, retryable=False)
    assert "asking again would not help" in why(step(never, at("a/m")))
    please = errors.ContentError("", status=409, retryable=True)
    assert again(step(please, at("a/m"))).after == 0.5


def test_an_open_breaker_is_not_waited_for_while_anything_else_is_planned() -> None:
    assert route(step(Closed(5, paused=False), at("a/m", "b/n"))) == "b/n"


def test_an_open_breaker_is_waited_for_where_nothing_else_is_planned() -> None:
    it = again(step(Closed(5, paused=False), at("a/m"), now=1, dice=0))
    assert (it.after, it.cost) == (4, 0)
    it = again(step(Closed(15, paused=False), it.position, now=5))
    assert it.position.refused_for == 14
    assert why(step(Closed(5, paused=False), it.position, now=4)) == (
        "breaker open; a/m stayed closed for 15 s"
    )


def test_short_openings_are_waited_out_many_times() -> None:
    """Of a route that comes and goes; the request's own backoff does not grow by them."""
    position = at("a/m")
    for _ in range(29):
        it = again(step(Closed(5.25, paused=False), position, now=5, dice=0.5))
        assert it.after == pytest.approx(0.25 + 1)
        position = it.position
    assert "stayed closed for 15 s" in why(step(Closed(5.25, paused=False), position, now=5))


def test_a_pause_is_a_queue_and_not_an_attempt() -> None:
    position = at("a/m", "b/n")
    for _ in range(100):
        it = again(step(Closed(7, paused=True), position, now=2, dice=0))
        assert (it.after, it.cost) == (5, 0)
        position = it.position
    assert position.attempts == position.refused_for == 0


def test_a_long_pause_is_not_waited_for() -> None:
    assert "beyond retry_after_cap" in why(step(Closed(200, paused=True), at("a/m")))
    assert route(step(Closed(200, paused=True), at("a/m", "b/n"))) == "b/n"


def test_a_wait_that_cannot_end_before_the_deadline_is_not_begun() -> None:
    assert why(step(busy(4), at("a/m"), now=10, deadline=14, dice=0)) == (
        "RateLimitedError 429; a wait of 4 s cannot end before the deadline"
    )
    assert again(step(busy(4), at("a/m"), now=10, deadline=14.01, dice=0)).after == 4
    assert route(step(busy(4), at("a/m", "b/n"), now=10, deadline=14)) == "b/n"


def test_after_the_deadline_nothing_is_begun() -> None:
    assert why(step(down(), at("a/m", "b/m"), now=5, deadline=5)) == (
        "ServerError 503; the deadline has passed"
    )


def test_an_empty_retry_budget_ends_the_retries_of_its_endpoint_alone() -> None:
    assert why(step(down(), at("a/m"), budget_left={"a": 0.9})) == (
        "ServerError 503; the retry budget of a is empty"
    )
    assert route(step(down(), at("a/m", "b/n"), budget_left={"a": 0, "b": 0})) == "b/n"


def test_going_back_to_an_endpoint_under_another_name_is_paid_for() -> None:
    position = at("a/m", stop("a/west", model="m"), "b/m")
    paid = step(down(), position)
    assert route(paid) == "a/west"
    assert isinstance(paid, NextRoute)
    assert (paid.cost, paid.position.new_here) == (1, False)
    free = step(down(), position, budget_left={"a": 0, "b": 0})
    assert route(free) == "b/m"
    assert isinstance(free, NextRoute)
    assert (free.cost, free.position.new_here) == (0, True)


def test_a_timeout_costs_twice() -> None:
    late = errors.FirstTokenTimeoutError("")
    assert again(step(late, at("a/m"))).cost == 2
    assert isinstance(step(late, at("a/m"), budget_left={"a": 1}), GiveUp)


def test_each_model_has_its_own_policy() -> None:
    position = at("a/m", stop("b/n", retries=Retries(attempts=1)))
    it = step(errors.ModelError(""), position)
    assert isinstance(it, NextRoute)
    assert "b/n has used up 1 of 1 attempts" in why(step(down(), it.position))


def test_every_step_prints() -> None:
    assert str(step(down(), at("a/m"))) == "try again in 0.5 s: ServerError 503"
    assert str(step(down(), at("a/m", "b/m"))) == "go to b/m: ServerError 503"
    assert str(step(down(), at("a/m"), committed=True)) == (
        "not tried again: ServerError 503, after content was delivered"
    )


def test_t6_a_reason_holds_no_text_of_the_provider() -> None:
    error = errors.ServerError("canary", body="canary", code="canary", status=500)
    assert "canary" not in repr(step(error, at("a/m")))
