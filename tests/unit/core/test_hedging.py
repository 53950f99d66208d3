"""When a second attempt is made beside the first, and where it may go."""

from random import Random

import pytest

from streamnursery.core.recovery.hedging import (
    ENOUGH,
    PERIOD,
    FirstTokens,
    hedge_delay,
    hedge_stops,
)
from streamnursery.core.recovery.next_step import Position
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Route


def test_the_delay_is_what_was_asked_for() -> None:
    lately = FirstTokens()
    assert hedge_delay("off", lately) is None
    assert hedge_delay(2.5, lately) == 2.5
    assert hedge_delay("p95", lately) is None


def test_there_is_no_figure_until_enough_is_known() -> None:
    lately = FirstTokens()
    for _ in range(ENOUGH - 1):
        lately.add(1.0)
    assert lately.p95() is None
    lately.add(1.0)
    assert lately.p95() == pytest.approx(1.05, rel=0.03)


def test_what_always_takes_equally_long_is_never_hedged() -> None:
    for seconds in (0.01, 0.3, 1.0, 7.7, 60.0):
        lately = FirstTokens()
        for _ in range(ENOUGH):
            lately.add(seconds)
        assert (lately.p95() or 0.0) > seconds


def test_old_first_tokens_are_forgotten() -> None:
    lately = FirstTokens()
    for seconds in (9.0, 1.0, 1.0):
        for _ in range(PERIOD):
            lately.add(seconds)
    assert (lately.p95() or 0.0) < 1.1


def test_a_bad_spell_does_not_put_hedging_off() -> None:
    lately = FirstTokens()
    for _ in range(PERIOD):
        lately.add(1.0)
    for _ in range(PERIOD):
        lately.add(20.0)
    assert (lately.p95() or 0.0) < 1.1


def test_the_tail_is_cut_by_half_for_few_more_attempts() -> None:
    """One first token in twenty takes ten times as long; whoever waits beyond p95 asks again."""
    for seed in range(5):
        dice, lately = Random(seed), FirstTokens()
        plain, hedged, attempts = [], [], 0
        for _ in range(4000):
            first, second = _first_token(dice), _first_token(dice)
            delay = lately.p95()
            asks = delay is not None and first > delay
            waited = min(first, delay + second) if asks and delay is not None else first
            lately.add(waited)
            plain.append(first)
            hedged.append(waited)
            attempts += 1 + asks
        assert _p99(hedged) <= _p99(plain) / 2
        assert attempts <= 4000 * 1.07


def _first_token(dice: Random) -> float:
    return dice.lognormvariate(0.0, 0.3) * (10 if dice.random() < 0.05 else 1)


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds))]


def stop(name: str, model: str = "m") -> PlannedRoute:
    return PlannedRoute(Route(name, model), model, Role.PRIMARY, name, Retries(), Patience())


def test_a_hedge_asks_the_same_model_further_on_and_then_here() -> None:
    here, spare, barred, other = stop("a"), stop("b"), stop("c"), stop("d", "other")
    plan = RoutePlan("m", (here, spare, barred, other))
    position = Position(plan, barred=frozenset(["c"]))
    assert list(hedge_stops(position)) == [spare, here]
    assert list(hedge_stops(position.at_stop(spare))) == [spare]
    assert list(hedge_stops(position.at_stop(other))) == [other]


def test_a_position_knows_where_a_hedge_has_been() -> None:
    here, spare = stop("a"), stop("b")
    position = Position(RoutePlan("m", (here, spare)), attempts=2)
    assert position.having_visited("b").at_stop(spare).new_here is False
    assert position.at_stop(here) is position
