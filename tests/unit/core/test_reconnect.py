"""When a session connects again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.sessions.reconnect import (
    RETRYABLE_CODES,
    ConnectAgain,
    Restarts,
    StopReconnecting,
    wait_before,
)
from streamnursery.values.session import Reconnect


def test_waits_double_and_end_at_the_cap() -> None:
    policy = Reconnect(attempts=8)
    assert [wait_before(policy, n, 0.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]


@given(
    attempt=st.integers(1, 5000),
    dice=st.floats(0, 1, exclude_max=True),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
)
def test_a_wait_is_lengthened_by_its_jitter_and_never_above_the_cap(
    attempt: int, dice: float, factor: float, jitter: float
) -> None:
    policy = Reconnect(factor=factor, jitter=jitter)
    plain = wait_before(policy, attempt, 0.0)
    wait = wait_before(policy, attempt, dice)
    assert plain <= wait <= min(policy.cap, plain * (1 + jitter) + 1e-9)


def test_the_attempts_are_those_of_the_policy_and_begin_anew_with_a_connection() -> None:
    restarts = Restarts(Reconnect(attempts=3, jitter=0.0))
    for _ in range(2):
        delays = [restarts.next_attempt(0.5) for _ in range(3)]
        assert delays == [ConnectAgain(1.0), ConnectAgain(2.0), ConnectAgain(4.0)]
        assert isinstance(restarts.next_attempt(0.5), StopReconnecting)
        restarts.opened()


def test_what_a_server_asks_for_is_a_floor_up_to_a_cap() -> None:
    restarts = Restarts(Reconnect(jitter=0.0, retry_after_cap=60.0))
    assert restarts.next_attempt(0.0, 20.0) == ConnectAgain(20.0)
    assert restarts.next_attempt(0.0, 0.5) == ConnectAgain(2.0)
    assert isinstance(restarts.next_attempt(0.0, 61.0), StopReconnecting)
    assert restarts.attempt == 2


@given(st.lists(st.floats(0, 500), max_size=40), st.integers(1, 5), st.floats(1, 100))
def test_breaks_are_counted_within_their_period(
    times: list[float], most: int, period: float
) -> None:
    restarts = Restarts(Reconnect(max_restarts=most, period=period))
    seen: list[float] = []
    for now in sorted(times):
        seen.append(now)
        within = [t for t in seen if t > now - period]
        assert (restarts.on_connection_lost(now) is not None) == (len(within) > most)


def test_codes_of_our_own_mistakes_and_of_applications_are_final() -> None:
    assert {1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015} == RETRYABLE_CODES
    assert all(a < 3000 for a, _ in pairwise(sorted(RETRYABLE_CODES)))


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 0},
        {"base": 0},
        {"factor": 0.5},
        {"factor": True},
        {"jitter": 1.5},
        {"jitter": "x"},
        {"cap": float("inf")},
        {"max_restarts": 0},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_its_name(fields: dict[str, object]) -> None:
    (name,) = fields
    with pytest.raises(ValueError, match=rf"sessions\.reconnect\.{name}"):
        Reconnect(**fields)  # type: ignore[arg-type]
