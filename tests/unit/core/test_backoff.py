from collections import Counter
from itertools import pairwise
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.backoff import SPREAD, ceiling, delay, pushback, turn_dice
from streamnursery.values.policy import Retries

POLICY = Retries(base=1, cap=30)
DICE = st.floats(0, 1, exclude_max=True)


def test_the_longest_wait_doubles_up_to_the_cap() -> None:
    assert [ceiling(POLICY, n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_whole_wait_is_jittered() -> None:
    assert delay(POLICY, 4, dice=0) == 0
    assert delay(POLICY, 4, dice=0.5) == 4


@given(
    base=st.floats(5e-324, 1e308),
    cap=st.floats(5e-324, 1e308),
    attempt=st.integers(1, 10**30),
    dice=DICE,
)
def test_no_attempt_number_overflows(base: float, cap: float, attempt: int, dice: float) -> None:
    wait = delay(Retries(base=base, cap=cap), attempt, dice)
    assert isfinite(wait)
    assert 0 <= wait <= cap


def test_what_the_provider_asks_for_is_a_floor_with_jitter_on_top() -> None:
    assert pushback(POLICY, asked=20, attempt=1, dice=0) == 20
    assert pushback(POLICY, asked=20, attempt=1, dice=0.5) == 20 + SPREAD / 2


def test_the_jitter_on_top_grows_with_the_attempts() -> None:
    assert pushback(POLICY, asked=20, attempt=5, dice=0.5) == 20 + 16 / 2


def test_the_floor_is_not_bound_by_the_cap_of_our_own_backoff() -> None:
    assert pushback(POLICY, asked=110, attempt=1, dice=0) == 110


@pytest.mark.parametrize("asked", [0.0, -1.0])
def test_asking_for_nothing_leaves_our_own_backoff(asked: float) -> None:
    assert pushback(POLICY, asked, attempt=3, dice=0.25) == delay(POLICY, 3, 0.25)


@given(asked=st.floats(0, 120), attempt=st.integers(1, 100), dice=DICE)
def test_a_wait_is_never_below_what_was_asked_nor_above_its_stated_bound(
    asked: float, attempt: int, dice: float
) -> None:
    wait = pushback(POLICY, asked, attempt, dice)
    assert asked <= wait <= asked + max(SPREAD, ceiling(POLICY, attempt))


@given(waiters=st.integers(5, 3000), first=st.integers(0, 10**6), offset=DICE)
def test_no_tenth_of_a_second_gets_more_than_a_fifth_of_the_waiters(
    waiters: int, first: int, offset: float
) -> None:
    turns = range(first, first + waiters)
    dates = sorted(pushback(POLICY, 60, 1, turn_dice(turn, offset)) for turn in turns)
    most = waiters // 5
    assert all(dates[i + most] - dates[i] > 0.1 for i in range(waiters - most))


def test_a_large_crowd_comes_back_evenly() -> None:
    slots = Counter(int(turn_dice(turn, 0.3) * 20) for turn in range(10_000))
    assert len(slots) == 20
    assert all(abs(count - 500) <= 3 for count in slots.values())


def test_the_turns_of_two_processes_differ() -> None:
    ours = [turn_dice(turn, 0.0) for turn in range(100)]
    theirs = [turn_dice(turn, 0.37) for turn in range(100)]
    dates = sorted(ours + theirs)
    assert all(a != b for a, b in pairwise(dates))
