"""What an attempt cost: T21, E4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.money.ledger_row import News
from streamnursery.core.money.settlement import AttemptEnd, Expected, received_tokens, settlement
from streamnursery.values.errors import AttemptState
from streamnursery.values.prices import Price, TokenRates
from streamnursery.values.spending import Flag
from streamnursery.values.usage import Usage

PRICE = Price(TokenRates(10**6, 2 * 10**6))
"""One nano for a token of input, two for one of output."""
EXPECTED = Expected(input_tokens=100, output_tokens=1000, received_tokens=40)
DONE, COMMITTED = AttemptState.DONE, AttemptState.COMMITTED
MAYBE, NOT = AttemptState.MAYBE_SENT, AttemptState.NOT_SENT
INPUT_FIELD = frozenset({"input_tokens"})


def settled(ending: AttemptEnd, expected: Expected = EXPECTED) -> tuple[News, int, set[Flag]]:
    found = settlement(ending, PRICE, expected)
    return found.news, found.amount, set(found.flags)


def test_a_whole_answer_costs_what_its_usage_says() -> None:
    assert settled(AttemptEnd(DONE, 200, Usage(90, 50))) == (News.SETTLE, 190, set())


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 302])
def test_a_refusal_costs_nothing(status: int) -> None:
    assert settled(AttemptEnd(MAYBE, status)) == (News.RELEASE, 0, set())


def test_what_was_not_sent_costs_nothing() -> None:
    assert settled(AttemptEnd(NOT)) == (News.RELEASE, 0, set())


@pytest.mark.parametrize("status", [None, 200])
def test_what_may_have_been_sent_is_uncertain(status: int | None) -> None:
    assert settled(AttemptEnd(MAYBE, status)) == (News.DOUBT, 0, set())


def test_a_no_inside_of_a_good_answer_costs_the_input() -> None:
    ending = AttemptEnd(MAYBE, 200, refused=True)
    assert settled(ending, Expected(100, 1000)) == (News.SETTLE, 100, {Flag.ESTIMATED})


def test_a_cut_answer_costs_what_was_received() -> None:
    assert settled(AttemptEnd(COMMITTED, 200)) == (News.SETTLE, 180, {Flag.ESTIMATED})


def test_usage_of_an_earlier_moment_does_not_make_a_cut_answer_cheaper() -> None:
    early, late = Usage(100, 3), Usage(100, 60)
    assert settled(AttemptEnd(COMMITTED, 200, early)) == (News.SETTLE, 180, {Flag.ESTIMATED})
    assert settled(AttemptEnd(COMMITTED, 200, late)) == (News.SETTLE, 220, set())


def test_usage_that_is_missing_is_our_own_count() -> None:
    assert settled(AttemptEnd(DONE, 200)) == (News.SETTLE, 180, {Flag.ESTIMATED})
    nulls = Usage(reported=frozenset({"input_tokens", "output_tokens"}))
    assert settled(AttemptEnd(DONE, 200, nulls)) == (News.SETTLE, 180, {Flag.ESTIMATED})


@pytest.mark.parametrize(
    "usage",
    [
        Usage(0, 50),  # explicit nothing for a prompt that was there
        Usage(10**12, 50),
        Usage(None, 50, reported=INPUT_FIELD, refused=INPUT_FIELD),  # negative, text, endless
    ],
)
def test_t21_a_lie_about_the_input_is_not_believed(usage: Usage) -> None:
    assert settled(AttemptEnd(DONE, 200, usage)) == (
        News.SETTLE,
        200,
        {Flag.REJECTED, Flag.ESTIMATED},
    )


@pytest.mark.parametrize("made", [0, 1, 10**9])
def test_t21_a_lie_about_the_output_is_not_believed(made: int) -> None:
    assert settled(AttemptEnd(DONE, 200, Usage(100, made))) == (
        News.SETTLE,
        180,
        {Flag.REJECTED, Flag.ESTIMATED},
    )


def test_zero_output_of_an_empty_answer_is_no_lie() -> None:
    assert settled(AttemptEnd(DONE, 200, Usage(100, 0)), Expected(100, 1000)) == (
        News.SETTLE,
        100,
        set(),
    )


def test_hidden_reasoning_is_booked_in_full() -> None:
    news, amount, flags = settled(AttemptEnd(DONE, 200, Usage(100, 20_000, None, None, 19_960)))
    assert (news, amount, flags) == (News.SETTLE, 40_100, set())


def test_parts_larger_than_their_whole_are_not_believed() -> None:
    usage = Usage(100, 50, cached_tokens=10**6, reasoning_tokens=10**6)
    free_cache = Price(TokenRates(10**6, 10**6, cached_input=0, reasoning=0))
    found = settlement(AttemptEnd(DONE, 200, usage), free_cache, EXPECTED)
    assert (found.amount, set(found.flags)) == (150, {Flag.REJECTED})


def test_a_model_without_a_price_is_free_and_flagged() -> None:
    found = settlement(AttemptEnd(DONE, 200, Usage(90, 50)), None, EXPECTED)
    assert (found.news, found.amount, set(found.flags)) == (News.SETTLE, 0, {Flag.UNPRICED})


@pytest.mark.parametrize(
    ("events", "characters", "tokens"), [(10, 3, 10), (10, 120, 10), (1, 400, 100), (0, 0, 0)]
)
def test_received_tokens_are_events_unless_they_hold_more_text_than_a_token(
    events: int, characters: int, tokens: int
) -> None:
    assert received_tokens(events, characters) == tokens


counts = st.none() | st.integers(0, 2**53)


@given(
    state=st.sampled_from(AttemptState),
    status=st.none() | st.integers(100, 599),
    usage=st.none() | st.builds(Usage, counts, counts, counts, counts, counts),
    refused=st.booleans(),
    expected=st.builds(Expected, *[st.integers(0, 10**7)] * 3),
)
def test_t21_no_settlement_is_negative_or_out_of_all_proportion(
    state: AttemptState,
    status: int | None,
    usage: Usage | None,
    refused: bool,
    expected: Expected,
) -> None:
    found = settlement(AttemptEnd(state, status, usage, refused), PRICE, expected)
    most = 20 * expected.input_tokens + 200_000
    most += 2 * (20 * max(expected.output_tokens, expected.received_tokens) + 100_000)
    assert 0 <= found.amount <= most
    if found.news is not News.SETTLE:
        assert found.amount == 0
