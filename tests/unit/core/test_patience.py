from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.patience import Clock, PatienceClock, expected_duration
from streamnursery.values.policy import Patience

PATIENCE = Patience(connect=1, first_byte=2, first_token=3, idle=4, total=10)


def clock(patience: Patience = PATIENCE, total: float = 10) -> PatienceClock:
    return PatienceClock(patience, total)


def test_each_phase_has_its_own_clock() -> None:
    it = clock()
    it.connecting(now=0)
    assert (it.deadline, it.expired(1)) == (1, Clock.CONNECT)
    it.connected(now=0.5)
    assert (it.deadline, it.expired(2.5)) == (2.5, Clock.FIRST_BYTE)
    it.on_head(now=1)
    assert (it.deadline, it.expired(4)) == (4, Clock.FIRST_TOKEN)
    assert it.content(now=2)
    assert (it.deadline, it.expired(6)) == (6, Clock.IDLE)
    assert not it.content(now=5)
    assert it.deadline == 9


def test_the_total_clock_starts_with_the_answer() -> None:
    it = clock()
    it.connecting(now=0)
    it.connected(now=5)
    it.on_head(now=6)
    for now in (8.0, 11.0, 14.0):
        it.content(now)
    assert it.deadline == 16
    assert it.expired(16) is Clock.TOTAL


def test_of_two_clocks_that_end_together_the_narrower_is_named() -> None:
    it = clock(total=4)
    it.on_head(now=0)
    it.content(now=0)
    assert it.deadline == 4
    assert it.expired(4) is Clock.IDLE


def test_while_paused_no_clock_runs() -> None:
    it = clock()
    it.on_head(now=0)
    it.content(now=1)
    it.pause(now=2)
    it.pause(now=3)
    assert it.deadline == inf
    assert it.expired(1e9) is None
    it.resume(now=102)
    assert it.deadline == 105
    it.resume(now=200)
    assert it.deadline == 105


def test_none_switches_a_clock_off() -> None:
    it = clock(Patience(connect=None, first_byte=None, first_token=None, idle=None), inf)
    it.connecting(0)
    assert it.deadline == inf
    it.on_head(0)
    assert it.deadline == inf
    assert it.expired(1e12) is None


@given(pauses=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 50)), max_size=8))
def test_pauses_move_the_total_by_exactly_their_length(pauses: list[tuple[float, float]]) -> None:
    it = clock(Patience(idle=None, first_token=None), total=100)
    it.on_head(now=0)
    now = away = 0.0
    for running, paused in pauses:
        now += running
        it.pause(now)
        now += paused
        away += paused
        it.resume(now)
    assert it.deadline == pytest.approx(100 + away)


def test_the_expected_duration_has_a_floor_of_a_minute() -> None:
    assert expected_duration(output_tokens=10, base_latency=1, tokens_per_second=45) == 60
    long = expected_duration(output_tokens=9000, base_latency=1, tokens_per_second=45)
    assert long == pytest.approx(206)
