import pytest

from streamnursery.core.recovery.breaker import (
    TRANSITIONS,
    Breaker,
    BreakerPolicy,
    BreakerSignal,
    Circuit,
    Generation,
    verdict,
)
from streamnursery.core.recovery.error_policy import CallOutcome
from streamnursery.values import errors

POLICY = BreakerPolicy(
    window=10,
    min_calls=4,
    failure_rate=0.5,
    slow_rate=0.75,
    slow_after=2,
    quiet=0,
    open_first=5,
    open_for=5,
    probes=2,
)
OK, SLOW, BAD, GONE = (
    CallOutcome.SUCCESS,
    CallOutcome.SLOW,
    CallOutcome.FAILURE,
    CallOutcome.IGNORED,
)


def admitted(breaker: Breaker, now: float) -> Generation:
    generation = breaker.admit(now)
    assert generation is not None
    return generation


def call(breaker: Breaker, *outcomes: CallOutcome, now: float = 0) -> None:
    for outcome in outcomes:
        breaker.report(admitted(breaker, now), outcome, now)


def opened(now: float = 0) -> Breaker:
    breaker = Breaker(POLICY)
    call(breaker, BAD, BAD, BAD, BAD, now=now)
    assert breaker.circuit is Circuit.OPEN
    return breaker


def half_open() -> Breaker:
    breaker = opened()
    breaker.report(admitted(breaker, 5), GONE, 5)
    assert breaker.circuit is Circuit.HALF_OPEN
    return breaker


def test_every_circuit_can_be_left() -> None:
    assert {circuit for circuit, _ in TRANSITIONS} == set(Circuit) == set(TRANSITIONS.values())
    assert {signal for _, signal in TRANSITIONS} == set(BreakerSignal)


def test_half_of_the_calls_failing_opens_the_circuit() -> None:
    breaker = Breaker(POLICY)
    call(breaker, OK, BAD, OK)
    assert breaker.admit(0) is not None
    call(breaker, BAD)
    assert breaker.circuit is Circuit.OPEN
    assert breaker.admit(0) is None


def test_fewer_calls_than_the_least_number_say_nothing() -> None:
    breaker = Breaker(POLICY)
    call(breaker, BAD, BAD, BAD)
    assert breaker.circuit is Circuit.CLOSED


def test_failures_that_are_long_past_do_not_count() -> None:
    breaker = Breaker(POLICY)
    call(breaker, BAD, BAD, BAD, now=0)
    call(breaker, BAD, now=10)
    assert breaker.circuit is Circuit.CLOSED


def test_slow_first_tokens_open_the_circuit_too() -> None:
    breaker = Breaker(POLICY)
    call(breaker, OK, SLOW, SLOW, SLOW)
    assert breaker.circuit is Circuit.OPEN


def test_slow_calls_below_their_rate_do_not() -> None:
    breaker = Breaker(POLICY)
    call(breaker, OK, OK, SLOW, SLOW)
    assert breaker.circuit is Circuit.CLOSED


def test_cancelled_calls_are_neither_success_nor_failure() -> None:
    breaker = Breaker(POLICY)
    call(breaker, *[GONE] * 100, BAD, BAD, BAD)
    assert breaker.statistics(0).calls == 3


def test_a_call_that_breaks_after_its_first_token_becomes_a_failure() -> None:
    breaker = Breaker(POLICY)
    call(breaker, OK, OK, OK)
    generation = admitted(breaker, 0)
    breaker.report(generation, OK, 0)
    breaker.on_stream_failed(generation, 0)
    assert breaker.circuit is Circuit.CLOSED
    breaker.on_stream_failed(generation, 0)
    assert (breaker.circuit, breaker.statistics(0).generation) == (Circuit.OPEN, 1)


def test_an_open_circuit_says_when_to_come_back() -> None:
    breaker = opened(now=1)
    assert breaker.retry_at(2) == 6
    assert breaker.admit(5.999) is None
    assert breaker.retry_at(7) == 7


def test_a_closed_circuit_lets_through_at_once() -> None:
    assert Breaker(POLICY).retry_at(3) == 3


def test_a_half_open_circuit_lets_only_its_probes_through() -> None:
    breaker = opened()
    assert [breaker.admit(5) is not None for _ in range(4)] == [True, True, False, False]
    assert breaker.circuit is Circuit.HALF_OPEN
    assert breaker.retry_at(6) == 10


def test_enough_good_probes_close_the_circuit_with_a_clean_slate() -> None:
    breaker = half_open()
    call(breaker, OK, OK, now=5)
    assert breaker.circuit is Circuit.CLOSED
    call(breaker, BAD, BAD, BAD, now=5)
    assert breaker.circuit is Circuit.CLOSED


def test_one_bad_probe_opens_the_circuit_again() -> None:
    breaker = half_open()
    call(breaker, OK, BAD, now=6)
    assert breaker.circuit is Circuit.OPEN
    assert breaker.retry_at(6) == 11


def test_slow_probes_open_the_circuit_again() -> None:
    breaker = half_open()
    call(breaker, SLOW, SLOW, now=6)
    assert breaker.circuit is Circuit.OPEN


def test_one_slow_probe_among_good_ones_closes_it() -> None:
    breaker = half_open()
    call(breaker, SLOW, OK, now=6)
    assert breaker.circuit is Circuit.CLOSED


def test_a_probe_that_breaks_after_its_first_token_opens_the_circuit_again() -> None:
    breaker = half_open()
    generation = admitted(breaker, 5)
    breaker.report(generation, OK, 5)
    breaker.on_stream_failed(generation, 6)
    assert breaker.circuit is Circuit.OPEN


def test_a_cancelled_probe_gives_its_place_to_the_next_caller() -> None:
    breaker = opened()
    first, second = admitted(breaker, 5), admitted(breaker, 5)
    breaker.report(first, GONE, 5)
    assert breaker.admit(5) == second
    assert breaker.admit(5) is None


def test_a_probe_that_is_never_heard_of_does_not_keep_the_route_closed() -> None:
    breaker = opened()
    lost = [admitted(breaker, 5), admitted(breaker, 5)]
    assert breaker.admit(9.9) is None
    assert breaker.retry_at(10) == 10
    call(breaker, OK, OK, now=10)
    assert breaker.circuit is Circuit.CLOSED
    breaker.report(lost[0], BAD, 11)
    assert breaker.statistics(11).calls == 0


def test_a_stuck_probe_that_comes_back_late_still_counts_while_half_open() -> None:
    breaker = opened()
    lost = [admitted(breaker, 5), admitted(breaker, 5)]
    admitted(breaker, 10)
    for generation in lost:
        breaker.report(generation, OK, 11)
    assert breaker.circuit is Circuit.CLOSED


def test_late_news_is_ignored() -> None:
    breaker = Breaker(POLICY)
    before = admitted(breaker, 0)
    call(breaker, BAD, BAD, BAD, BAD)
    breaker.report(before, OK, 5)
    breaker.on_stream_failed(before, 5)
    call(breaker, GONE, now=5)
    breaker.report(before, BAD, 5)
    breaker.on_stream_failed(before, 5)
    assert breaker.circuit is Circuit.HALF_OPEN


def test_statistics_tell_the_state() -> None:
    breaker = Breaker(POLICY)
    call(breaker, BAD, SLOW, OK, now=1)
    closed = breaker.statistics(1)
    assert (closed.circuit, closed.retry_at, closed.generation) == ("closed", None, 0)
    assert (closed.calls, closed.failures, closed.slow) == (3, 1, 1)
    shut = opened().statistics(1)
    assert (shut.circuit, shut.retry_at, shut.generation, shut.calls) == ("open", 5, 1, 0)


@pytest.mark.parametrize("value", [0, -1, 1.01, 50])
def test_a_rate_is_a_share_and_not_a_percentage(value: float) -> None:
    with pytest.raises(ValueError, match="failure_rate must be above 0 and at most 1"):
        BreakerPolicy(failure_rate=value)
    with pytest.raises(ValueError, match="slow_rate must be above 0 and at most 1"):
        BreakerPolicy(slow_rate=value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, OK),
        (errors.ConnectError(""), BAD),
        (errors.DescriptorsExhaustedError(""), GONE),
        (errors.TlsError(""), BAD),
        (errors.FirstTokenTimeoutError(""), BAD),
        (errors.TotalTimeoutError(""), GONE),
        (errors.DeadlineError(""), GONE),
        (errors.MalformedChunkError(""), BAD),
        (errors.TruncatedStreamError(""), BAD),
        (errors.ServerError("", status=503), BAD),
        (errors.RateLimitedError("", status=429), GONE),
        (errors.QuotaError(""), OK),
        (errors.AuthError(""), OK),
        (errors.ModelError(""), OK),
        (errors.ContentError(""), OK),
        (errors.RequestError(""), GONE),
        (errors.CallbackError(""), GONE),
        (errors.StreamCancelledError(""), GONE),
        (errors.OverloadedError(""), GONE),
    ],
)
def test_an_error_says_something_about_its_route_or_nothing(
    error: errors.EngineError | None, expected: CallOutcome
) -> None:
    assert verdict(POLICY, error, waited=1) is expected


def test_a_late_first_token_is_slow() -> None:
    assert verdict(POLICY, None, waited=2.1) is SLOW
    assert verdict(POLICY, errors.ContentError(""), waited=2.1) is SLOW


def test_a_deadline_after_a_long_silence_is_the_providers_slowness() -> None:
    assert verdict(POLICY, errors.DeadlineError(""), waited=2.1) is SLOW


def test_going_away_after_a_long_silence_says_nothing() -> None:
    assert verdict(POLICY, errors.StreamCancelledError(""), waited=100) is GONE


def tripped(policy: BreakerPolicy, now: float = 0) -> Breaker:
    breaker = Breaker(policy)
    for _ in range(policy.min_calls):
        generation = breaker.admit(now)
        assert generation is not None
        breaker.report(generation, BAD, now)
    return breaker


def test_it_does_not_open_while_calls_come_back() -> None:
    breaker = Breaker(BreakerPolicy(quiet=0.5))
    generation = breaker.generation
    for turn in range(20):
        breaker.report(generation, OK, turn * 0.4)
        for _ in range(5):
            breaker.report(generation, BAD, turn * 0.4 + 0.3)
        assert breaker.circuit is Circuit.CLOSED
    breaker.report(generation, BAD, 19 * 0.4 + 0.5)
    assert breaker.circuit is Circuit.OPEN


def test_the_first_opening_is_short_and_the_next_ones_grow_to_the_longest() -> None:
    breaker = tripped(BreakerPolicy())
    now, waits = 0.0, []
    for _ in range(20):
        waits.append(breaker.retry_at(now) - now)
        now = breaker.retry_at(now)
        generation = breaker.admit(now)
        assert generation is not None
        breaker.report(generation, BAD, now)
    assert waits[0] == 0.25
    assert all(wait <= 5 for wait in waits)
    assert max(waits[-5:]) > 2.5 > waits[2]
    assert len({round(wait, 3) for wait in waits[-5:]}) == 5  # no two are alike
    generation = breaker.admit(now := breaker.retry_at(now))
    assert generation is not None
    breaker.report(generation, OK, now)
    assert breaker.circuit is Circuit.CLOSED
    for _ in range(10):
        breaker.report(breaker.generation, BAD, now + 1)
    assert breaker.retry_at(now + 1) == now + 1.25


def test_while_a_probe_is_out_others_are_told_to_come_back_soon_and_not_let_in() -> None:
    breaker = tripped(BreakerPolicy())
    assert breaker.admit(0.25) is not None
    assert breaker.retry_at(0.3) == pytest.approx(0.55)
    assert breaker.admit(0.55) is None
    assert breaker.admit(5.25) is not None  # the first one is given up


def test_a_heartbeat_that_is_answered_ends_the_wait() -> None:
    breaker = tripped(POLICY)
    assert breaker.admit(1) is None
    breaker.on_heartbeat(OK, 1, 30)
    assert breaker.retry_at(1) == 1
    assert breaker.admit(1) is not None
    assert breaker.circuit is Circuit.HALF_OPEN


def test_a_request_that_nobody_looks_at_counts_as_a_failed_call() -> None:
    breaker = Breaker(POLICY)
    for _ in range(POLICY.min_calls):
        breaker.on_resent(breaker.generation, 0)
    assert breaker.circuit is Circuit.OPEN
    breaker.on_resent(Generation(0), 1)
    assert breaker.admit(5) is not None
    breaker.on_resent(breaker.generation, 5)
    assert breaker.circuit is Circuit.OPEN


def test_each_transition_is_told() -> None:
    told: list[tuple[Circuit, float]] = []
    breaker = Breaker(POLICY)
    breaker.on_change = lambda circuit, now: told.append((circuit, now))
    for _ in range(POLICY.min_calls):
        breaker.report(breaker.generation, BAD, 1)
    for _ in range(POLICY.probes):
        generation = breaker.admit(6)
        assert generation is not None
        breaker.report(generation, OK, 7)
    assert told == [(Circuit.OPEN, 1), (Circuit.HALF_OPEN, 6), (Circuit.CLOSED, 7)]
