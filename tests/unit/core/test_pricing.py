"""One function prices what is reserved and what is settled."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.money.pricing import affordable_output, cost, whole_usage, worst_usage
from streamnursery.values.money import Money
from streamnursery.values.prices import BUILT_IN, Price, Tier, TokenRates, price_on
from streamnursery.values.usage import Usage

SONNET = BUILT_IN["claude-sonnet-4.5"][0]
CHEAP = Price(TokenRates(1, 3, 0, 2, 5))
"""Fractions of a nano for a token."""


def rates(top: int = 10**12) -> st.SearchStrategy[TokenRates]:
    rate = st.integers(0, top)
    some = st.none() | rate
    return st.builds(TokenRates, rate, rate, *[some] * 3, cache_write_hour=some)


prices = st.builds(Price, rates(), st.just(()) | rates().map(lambda r: (Tier(1000, r),)))
tokens = st.integers(0, 10**7)
counts = st.none() | tokens
usages = st.builds(Usage, counts, counts, counts, counts, counts, cache_write_hour_tokens=counts)


def test_a_request_above_a_tier_pays_that_tier_for_all_of_its_tokens() -> None:
    assert cost(SONNET, Usage(300_000, 0)) == Money.parse("1.80")
    assert cost(SONNET, Usage(300_000, 1_000_000)) == Money.parse("24.30")
    assert cost(SONNET, Usage(200_000, 0)) == Money.parse("0.60")


def test_cached_and_written_input_is_taken_out_of_the_input() -> None:
    usage = Usage(6010, 0, cached_tokens=1000, cache_write_tokens=5000)
    assert cost(SONNET, usage) == Money.parse("0.01908")  # 10 x 3 + 1000 x 0.30 + 5000 x 3.75


def test_input_that_is_kept_for_an_hour_has_a_price_of_its_own() -> None:
    usage = Usage(5000, 0, cache_write_tokens=5000, cache_write_hour_tokens=2000)
    assert cost(SONNET, usage) == Money.parse("0.02325")  # 3000 x 3.75 + 2000 x 6
    assert cost(CHEAP, Usage(9, 0, cache_write_tokens=9, cache_write_hour_tokens=9)) == cost(
        CHEAP, Usage(9, 0, cache_write_tokens=9)
    )


def test_the_sum_is_rounded_up_once() -> None:
    assert cost(CHEAP, Usage(1, 1)) == 1
    assert cost(CHEAP, Usage(500_000, 500_000)) == 2
    assert cost(CHEAP, Usage(0, 0)) == 0


def test_zero_tokens_and_unknown_tokens_cost_nothing() -> None:
    assert cost(SONNET, Usage()) == cost(SONNET, Usage(0, 0)) == 0


def test_parts_larger_than_their_whole_are_cut_to_it() -> None:
    usage = Usage(10, 10, cached_tokens=99, cache_write_tokens=99, reasoning_tokens=99)
    assert cost(Price(TokenRates(10**6, 10**6, 0, 0, 0)), usage) == 0


@pytest.mark.parametrize(
    ("rule", "counts", "whole"),
    [
        ("inclusive", Usage(100, 50, 40, 10, 30), (100, 50)),
        ("cached-apart", Usage(10, 50, 1000, 5000), (6010, 50)),
        ("reasoning-apart", Usage(100, 100, 40, None, 300), (100, 400)),
        ("reasoning-apart", Usage(None, None, None, None, 300), (None, None)),
    ],
)
def test_every_providers_counts_become_whole(
    rule: str, counts: Usage, whole: tuple[int | None, int | None]
) -> None:
    usage = whole_usage(counts, rule)  # type: ignore[arg-type]
    assert (usage.input_tokens, usage.output_tokens) == whole


@given(
    price=prices,
    spent=tokens,
    made=tokens,
    cached=tokens,
    written=tokens,
    thought=tokens,
    hour=tokens,
)
def test_a_reservation_covers_whatever_its_tokens_turn_out_to_be(
    price: Price, spent: int, made: int, cached: int, written: int, thought: int, hour: int
) -> None:
    reserved = cost(price, worst_usage(price, spent, made))
    if price.rates_for(spent).cached_input is None or (
        (price.rates_for(spent).cached_input or 0) <= price.rates_for(spent).input
    ):
        usage = Usage(spent, made, cached, written, thought, cache_write_hour_tokens=hour)
        assert cost(price, usage) <= reserved


@given(price=prices, usage=usages, more=tokens)
def test_more_output_never_costs_less(price: Price, usage: Usage, more: int) -> None:
    made = usage.output_tokens or 0
    longer = Usage(usage.input_tokens, made + more, usage.cached_tokens, usage.cache_write_tokens)
    shorter = Usage(usage.input_tokens, made, usage.cached_tokens, usage.cache_write_tokens)
    assert cost(price, longer) >= cost(price, shorter) >= 0


@given(price=prices, spent=tokens, nanos=st.integers(0, 10**15))
def test_the_output_that_is_affordable_is_paid_for_and_no_more_is(
    price: Price, spent: int, nanos: int
) -> None:
    made = affordable_output(price, spent, nanos)
    if made:
        assert cost(price, worst_usage(price, spent, made)) <= nanos
    if made < 10**12:
        assert cost(price, worst_usage(price, spent, made + 1)) >= nanos


def test_output_that_is_free_is_not_affordable_where_the_input_is_not() -> None:
    free = Price(TokenRates(1_000_000, 0))
    assert affordable_output(free, 100, 100) == 10**12
    assert affordable_output(free, 100, 99) == 0


def test_the_newest_price_that_holds_counts_and_before_all_of_them_the_first() -> None:
    old = Price(TokenRates(1, 1), as_of=date(2025, 1, 1))
    new = Price(TokenRates(2, 2), as_of=date(2026, 1, 1))
    assert price_on((new, old), date(2026, 1, 1)) is new
    assert price_on((new, old), date(2025, 12, 31)) is old
    assert price_on((new, old), date(2020, 1, 1)) is old
    assert price_on((), date(2026, 1, 1)) is None


def test_a_rate_is_a_whole_number_and_never_a_float() -> None:
    with pytest.raises(ValueError, match="whole number of nano-dollars"):
        TokenRates(0.5, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", BUILT_IN)
def test_every_built_in_price_says_where_and_when_it_was_read(model: str) -> None:
    for price in BUILT_IN[model]:
        assert price.source.startswith("https://")
        assert price.as_of > date(2025, 1, 1)
