from math import inf, nan

import pytest

from streamnursery.core.recovery.breaker import BreakerPolicy, Circuit
from streamnursery.core.recovery.circuit_gate import (
    BELIEVED,
    MAX_PAUSE,
    BreakerPermit,
    CircuitGate,
    Closed,
)
from streamnursery.values import errors

POLICY = BreakerPolicy(
    min_calls=2, slow_after=2, slow_rate=0.5, quiet=0, open_first=5, open_for=5, probes=1
)


def visit(gate: CircuitGate, now: float = 0) -> BreakerPermit:
    entered = gate.enter(now)
    assert isinstance(entered, BreakerPermit)
    return entered


def fail(gate: CircuitGate, now: float = 0) -> None:
    visit(gate, now).ended(errors.ConnectError(""), now)


@pytest.mark.parametrize(
    "error", [errors.RateLimitedError("", retry_after=3), errors.ServerError("", retry_after=3)]
)
def test_a_provider_that_asks_for_a_pause_asks_it_of_everybody(error: errors.EngineError) -> None:
    gate = CircuitGate()
    visit(gate).ended(error, now=1)
    assert gate.enter(2) == Closed(4, paused=True)
    assert isinstance(gate.enter(4), BreakerPermit)


def test_a_wait_that_other_errors_name_is_no_pause_of_the_route() -> None:
    gate = CircuitGate()
    visit(gate).ended(errors.QuotaError("", retry_after=3), now=1)
    assert isinstance(gate.enter(2), BreakerPermit)


def test_a_429_without_a_date_pauses_nobody() -> None:
    gate = CircuitGate()
    visit(gate).ended(errors.RateLimitedError(""), now=1)
    gate.on_refused(None, 3, now=1)
    assert isinstance(gate.enter(1), BreakerPermit)


def test_nothing_but_refusals_pauses_everybody() -> None:
    gate = CircuitGate()
    for n in range(4):
        gate.on_refused(None, 30, now=n)
        assert gate.peek(n) is None
    gate.on_refused(None, 3, now=4)
    assert gate.peek(4) == Closed(7, paused=True)


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_between_refusals_lets_the_count_begin_anew(whole: bool) -> None:
    gate = CircuitGate()
    for n in range(20):
        if n % 4 == 3:
            answered = visit(gate, n)
            if whole:
                answered.ended(None, n)
            else:
                answered.on_first_token(n)
        gate.on_refused(None, 30, now=n)
        assert gate.peek(n) is None


def test_a_date_that_was_asked_for_holds_with_the_wait_on_top_of_it() -> None:
    gate = CircuitGate()
    gate.on_refused(5, 6.5, now=1)
    assert gate.peek(1) == Closed(7.5, paused=True)


def test_a_pause_only_grows() -> None:
    gate = CircuitGate()
    gate.pause(10, now=0)
    gate.pause(2, now=1)
    assert gate.paused_until == 10


@pytest.mark.parametrize("seconds", [1e35, inf])
def test_t20_an_absurd_header_does_not_close_a_route_for_good(seconds: float) -> None:
    gate = CircuitGate()
    gate.pause(seconds, now=5)
    assert gate.paused_until == 5 + BELIEVED
    asked_again = visit(gate, 5 + BELIEVED)
    asked_again.ended(errors.RateLimitedError("", retry_after=seconds), 130)
    assert gate.paused_until == 130 + MAX_PAUSE


LONG = errors.RateLimitedError("", retry_after=3600)


def test_a_long_pause_is_believed_when_it_is_asked_for_again() -> None:
    gate = CircuitGate()
    crowd = [visit(gate) for _ in range(3)]
    for call in crowd:
        call.ended(LONG, now=1)
    assert gate.peek(1) == gate.enter(120) == Closed(121, paused=True)
    probe = visit(gate, 121)
    assert gate.enter(122) == gate.peek(122) == Closed(126, paused=True)
    probe.ended(LONG, 123)
    assert gate.enter(124) == Closed(123 + 3600, paused=True)
    again = visit(gate, 3723)
    assert isinstance(gate.enter(3724), Closed)
    again.ended(LONG, 3725)
    assert gate.enter(3726) == Closed(3725 + 3600, paused=True)


@pytest.mark.parametrize("error", [None, errors.ServerError("", status=500)])
def test_a_long_pause_that_is_not_asked_for_again_is_over(
    error: errors.EngineError | None,
) -> None:
    gate = CircuitGate()
    visit(gate).ended(LONG, now=0)
    probe = visit(gate, 120)
    if error is None:
        probe.on_first_token(121)
    else:
        probe.ended(error, 121)
    assert isinstance(gate.enter(121), BreakerPermit)
    probe.ended(LONG, 200)
    if error is None:  # a stream that ends so is not the one that was let through to see
        assert gate.paused_until == 320


def test_the_one_call_that_leaves_or_stays_silent_gives_its_place_to_the_next() -> None:
    gate = CircuitGate()
    visit(gate).ended(LONG, now=0)
    visit(gate, 120).left(121)
    visit(gate, 121)
    assert gate.peek(125) == Closed(126, paused=True)
    assert visit(gate, 126).probe


def test_who_waits_for_longer_believes_longer_pauses() -> None:
    gate = CircuitGate()
    entered = gate.enter(0, 600)
    assert isinstance(entered, BreakerPermit)
    entered.ended(errors.RateLimitedError("", retry_after=500), 0)
    assert gate.peek(1) == Closed(500, paused=True)
    assert not visit(gate, 500).probe


@pytest.mark.parametrize("seconds", [nan, -5.0, 0.0])
def test_t20_a_pause_of_nothing_is_none(seconds: float) -> None:
    gate = CircuitGate()
    gate.pause(seconds, now=5)
    assert isinstance(gate.enter(5), BreakerPermit)


def test_an_open_breaker_closes_the_gate() -> None:
    gate = CircuitGate(POLICY)
    fail(gate)
    fail(gate)
    closed = gate.enter(1)
    assert closed == Closed(5, paused=False)
    assert str(closed) == "breaker open"
    assert str(Closed(5, paused=True)) == "paused by its provider"


def test_looking_in_is_not_entering() -> None:
    gate = CircuitGate(POLICY)
    assert gate.peek(0) is None
    fail(gate)
    fail(gate)
    assert gate.peek(1) == Closed(5, paused=False)
    assert gate.peek(5) is None
    assert gate.peek(5) is None
    visit(gate, 5)
    assert gate.peek(6) == Closed(10, paused=False)
    gate.pause(20, now=6)
    assert gate.peek(7) == Closed(26, paused=True)


def test_a_call_is_settled_at_its_first_token() -> None:
    gate = CircuitGate(POLICY)
    fail(gate)
    fail(gate)
    probe = visit(gate, 5)
    probe.on_first_token(6)
    assert gate.breaker.circuit is Circuit.CLOSED
    probe.on_first_token(7)
    probe.ended(None, 60)
    assert gate.breaker.statistics(60).calls == 0


def test_a_late_first_token_is_slow() -> None:
    gate = CircuitGate(POLICY)
    for _ in range(2):
        visit(gate).on_first_token(2.5)
    assert gate.breaker.circuit is Circuit.OPEN


def test_a_stream_that_breaks_after_its_first_token_is_a_failure() -> None:
    gate = CircuitGate(POLICY)
    streams = [visit(gate), visit(gate)]
    for stream in streams:
        stream.on_first_token(1)
    streams[0].ended(errors.ConnectionLostError(""), 2)
    assert gate.breaker.circuit is Circuit.OPEN


def test_a_stream_that_we_left_after_its_first_token_stays_a_success() -> None:
    gate = CircuitGate(POLICY)
    stream = visit(gate)
    stream.on_first_token(1)
    stream.ended(errors.StreamCancelledError(""), 2)
    stream.left(2)
    assert gate.breaker.statistics(2).calls == 1
    assert gate.breaker.statistics(2).failures == 0


def test_leaving_gives_the_probe_back_once() -> None:
    gate = CircuitGate(POLICY)
    fail(gate)
    fail(gate)
    probe = visit(gate, 5)
    assert isinstance(gate.enter(5), Closed)
    probe.left(5)
    probe.left(5)
    visit(gate, 5)
    assert isinstance(gate.enter(5), Closed)


def test_what_is_told_after_the_end_is_ignored() -> None:
    gate = CircuitGate(POLICY)
    call = visit(gate)
    call.ended(errors.ConnectError(""), 1)
    call.ended(errors.ConnectError(""), 1)
    call.on_first_token(1)
    call.left(1)
    assert gate.breaker.statistics(1).calls == 1


def test_the_gate_hands_out_dice_that_do_not_repeat() -> None:
    gate = CircuitGate(offset=0.25)
    dice = [gate.dice() for _ in range(1000)]
    assert len(set(dice)) == 1000
    assert all(0 <= die < 1 for die in dice)


def test_statistics_tell_pause_and_breaker() -> None:
    gate = CircuitGate()
    assert gate.statistics(0).paused_until is None
    gate.pause(3, now=0)
    assert gate.statistics(1).paused_until == 3
    assert gate.statistics(3).paused_until is None
    assert gate.statistics(3).breaker.circuit == "closed"
