"""Limits that a provider states: obeyed, refilled, corrected by the next answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.limits.learned_rates import MAX_RESET, LearnedRates
from streamnursery.values.demand import Demand
from streamnursery.values.rates import RateNews
from streamnursery.values.usage import Usage

ASK = Demand("m", "e", input_tokens=60, output_tokens=40)


def date(rates: LearnedRates, now: float, demand: Demand = ASK) -> float:
    shortage = rates.shortage(demand, now)
    return now if shortage is None else shortage.date


def test_nothing_is_limited_before_the_first_answer() -> None:
    rates = LearnedRates()
    for _ in range(1000):
        assert rates.shortage(ASK, 0.0) is None
        list(rates.reserve(ASK, 0.0))


def test_what_is_left_is_taken_and_refills_evenly_until_the_reset() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("rpm", 60, 2, 57.0), 0.0)
    for _ in range(2):
        assert date(rates, 0.0) == 0.0
        list(rates.reserve(ASK, 0.0))
    assert date(rates, 0.0) == pytest.approx(1.0)
    assert date(rates, 1.0) == 1.0


def test_news_takes_the_place_of_what_was_thought_both_ways() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("tpm", 1000, 0, 60.0), 0.0)
    assert date(rates, 0.0) == pytest.approx(6.0, rel=0.01)
    rates.hear(RateNews("tpm", 1000, 1000, 0.0), 0.0)
    assert date(rates, 0.0) == 0.0
    rates.hear(RateNews("tpm", 1000, 50, 57.0), 0.0)
    assert date(rates, 0.0) == pytest.approx(3.0, rel=0.01)


def test_requests_under_way_may_be_missing_in_the_news() -> None:
    rates = LearnedRates()
    first, *others = [rates.reserve(ASK, 0.0)[0] for _ in range(5)]
    first.on_rate_headers([RateNews("rpm", 10, 9, 6.0)], 0.0)
    assert rates.buckets["rpm"].left(0.0) == 5
    assert rates.underway == 4
    for other in others:
        other.settle(ASK, Usage(1, 1), 1.0)
        other.void(1.0)
    assert rates.underway == 0


def test_what_sent_nothing_gives_back_what_it_took() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("tpm", 1000, 100, 60.0), 0.0)
    underway = rates.reserve(ASK, 0.0)[0]
    assert date(rates, 0.0) > 0
    underway.void(0.0)
    underway.void(0.0)
    assert date(rates, 0.0) == 0.0


def test_a_request_above_the_limit_passes_when_all_of_it_is_there() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("tpm", 50, 0, 10.0), 0.0)
    assert date(rates, 0.0) == pytest.approx(10.0, rel=0.03)
    assert rates.impossible(ASK) is None
    list(rates.reserve(ASK, 11.0))
    assert date(rates, 11.0) > 30.0


def test_what_is_left_of_a_limit_that_was_never_stated_is_no_limit() -> None:
    rates = LearnedRates()
    for remaining in (0, 5, 0):
        rates.hear(RateNews("rpm", None, remaining, 60.0), 0.0)
        rates.hear(RateNews("tpm", None, remaining, None), 0.0)
        for _ in range(100):
            list(rates.reserve(ASK, 0.0))
        assert date(rates, 0.0) == 0.0
    assert rates.statistics(0.0) == ()


def test_a_days_limit_comes_back_over_the_day() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("rpm", 1000, 0, 86_400.0), 0.0)
    assert date(rates, 0.0) == pytest.approx(86.4, rel=0.01)
    rates.hear(RateNews("rpm", 10_000, 9_999, 8.64), 0.0)
    for _ in range(9_999):
        list(rates.reserve(ASK, 0.0))
    assert date(rates, 0.0) == pytest.approx(8.64, rel=0.01)


def test_a_limit_that_is_renewed_comes_back_at_once_and_not_before() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("rpd", 1000, 1, 3600.0, period=86_400.0, renewed=True), 0.0)
    list(rates.reserve(ASK, 0.0))
    assert date(rates, 10.0) == 3600.0
    for _ in range(1000):
        assert date(rates, 3600.0) == 3600.0
        list(rates.reserve(ASK, 3600.0))
    assert date(rates, 3600.0) == 3600.0 + 86_400.0


def test_a_reset_of_nothing_is_a_full_bucket() -> None:
    rates = LearnedRates()
    rates.hear(RateNews("tpm", 1000, 0, 0.0), 0.0)
    assert date(rates, 0.0) == 0.0


@given(
    limit=st.none() | st.integers(1, 10**15),
    remaining=st.integers(0, 10**15),
    reset=st.none() | st.floats(0, 1e9),
)
def test_no_news_closes_a_route_for_good(
    limit: int | None, remaining: int, reset: float | None
) -> None:
    rates = LearnedRates()
    rates.hear(RateNews("rpm", limit, remaining, reset), 0.0)
    assert date(rates, 0.0) <= MAX_RESET
