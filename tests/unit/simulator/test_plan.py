"""Which request meets which faults."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator import (
    CloseIdle,
    Crlf,
    Cut,
    Plan,
    RefuseConnect,
    Reset,
    ResolveFail,
    Rule,
    When,
)
from streamnursery.simulator.script import Script


def met(plan: Plan, number: int = 1, elapsed: float = 0.0, model: str | None = None) -> Script:
    return plan.for_request(number, elapsed, Random(1), model)


def test_no_rule_means_no_fault() -> None:
    assert met(Plan()) == ()


def test_the_faults_of_all_matching_rules_are_put_together_in_order() -> None:
    plan = Plan((Rule((Cut(1),)), Rule((Reset(1),), When(requests=(2,))), Rule((Crlf(),))))
    assert met(plan, 1) == (Cut(1), Crlf())
    assert met(plan, 2) == (Cut(1), Reset(1), Crlf())


def test_requests_are_counted_from_one() -> None:
    third = Plan((Rule((Crlf(),), When(every=3)),))
    assert [n for n in range(1, 8) if met(third, n)] == [3, 6]
    some = Plan((Rule((Crlf(),), When(requests=(1, 4))),))
    assert [n for n in range(1, 8) if met(some, n)] == [1, 4]


def test_a_window_of_time_ends_before_its_end() -> None:
    plan = Plan((Rule((Crlf(),), When(since=10, until=20)),))
    assert [t for t in (0, 9.9, 10, 19.9, 20, 99) if met(plan, 1, t)] == [10, 19.9]


def test_a_rule_for_a_model_waits_until_the_model_is_known() -> None:
    plan = Plan((Rule((Crlf(),), When(model="sim/gpt-*")), Rule((Cut(1),))))
    assert met(plan) == (Cut(1),)
    assert met(plan, model="gpt-4.1") == (Crlf(),)
    assert met(plan, model="fast") == ()


def test_network_faults_are_kept_from_requests_and_the_other_way_round() -> None:
    plan = Plan((
        Rule((RefuseConnect(), ResolveFail(), CloseIdle(1), Crlf()), When(requests=(2,))),
    ))
    assert met(plan, 2) == (Crlf(),)
    assert plan.for_connection(1, 0, Random(1)) == ()
    assert plan.for_connection(2, 0, Random(1)) == (RefuseConnect(), CloseIdle(1))
    assert not plan.for_lookup(1, 0, Random(1))
    assert plan.for_lookup(2, 0, Random(1))


@given(seed=st.integers())
def test_equal_dice_give_equal_faults(seed: int) -> None:
    plan = Plan((Rule((Crlf(),), When(probability=0.5)),))
    one, other = Random(seed), Random(seed)
    for number in range(20):
        assert plan.for_request(number, 0, one) == plan.for_request(number, 0, other)


def test_a_rule_that_cannot_match_rolls_no_dice() -> None:
    dice = Random(1)
    before = dice.getstate()
    Plan((Rule((Crlf(),), When(requests=(9,), probability=0.5)),)).for_request(1, 0, dice)
    assert dice.getstate() == before


def test_probability_is_a_share_of_the_requests() -> None:
    plan, dice = Plan((Rule((Crlf(),), When(probability=0.25)),)), Random(1)
    hits = sum(bool(plan.for_request(n, 0, dice)) for n in range(4000))
    assert hits == pytest.approx(1000, rel=0.1)
