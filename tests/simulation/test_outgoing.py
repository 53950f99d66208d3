"""One law over everything that leaves for a request: requests, and connections begun."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from streamnursery.errors import ConnectionLostError, EngineError, ServerError
from streamnursery.records import AttemptRecord, Resent
from streamnursery.simulator import (
    CloseIdle,
    Cut,
    Goaway,
    Plan,
    RefuseConnect,
    Reset,
    ResetStream,
    Rule,
    Stall,
    Status,
    When,
)
from streamnursery.simulator.fault import Fault
from tests.support.scene import AT_ONCE, Reading, Scene, always, ask, once, scene, virtual

H2C = {"main": {"url": "http://main.example.com/v1", "http": "h2c"}}


def lawful(attempts: Sequence[AttemptRecord]) -> bool:
    requests = sum(a.requests for a in attempts)
    connections = sum(a.connections for a in attempts)
    return requests <= len(attempts) + 2 and connections <= 2 * len(attempts)


async def crowd(s: Scene, count: int, **options: Any) -> list[Reading]:
    readings: list[Reading] = []

    async def one() -> None:
        readings.append(await ask(s.engine, **options))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return readings


def error_of(reading: Reading) -> EngineError:
    assert reading.error is not None
    return reading.error


@virtual
async def test_a_server_that_always_says_goaway_gets_the_attempts_and_two_requests_more() -> None:
    records: list[Any] = []
    async with scene(always(Goaway(last_id=0)), endpoints=H2C, observers=[records.append]) as s:
        error = error_of(await ask(s.engine))
        assert isinstance(error, ConnectionLostError)
        assert (len(error.attempts), s.asked) == (5, 7)
        assert sum(a.requests for a in error.attempts) == 7
        assert s.engine.statistics().connections.opened == 7
        assert lawful(error.attempts)
        first, second = (r for r in records if isinstance(r, Resent))
        assert first.delay == 0
        assert 0 < second.delay <= 1


@pytest.mark.parametrize(
    "fault",
    [Goaway(last_id=0), Goaway(last_id=0, code="INTERNAL_ERROR"), ResetStream("REFUSED_STREAM")],
    ids=str,
)
@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_a_hundred_callers_at_once_stay_within_the_law(fault: Fault, attempts: int) -> None:
    @virtual
    async def check() -> None:
        model = {"retries": {"attempts": attempts, "base": 0.2}}
        async with scene(always(fault), endpoints=H2C, model=model) as s:
            readings = await crowd(s, 100)
            errors = [error_of(reading) for reading in readings]
            assert all(lawful(error.attempts) for error in errors)
            told = sum(a.requests for error in errors for a in error.attempts)
            # Requests of connections that were closed before one was read are told and not seen.
            assert s.asked <= told <= 100 * (attempts + 2)
            connections = sum(a.connections for error in errors for a in error.attempts)
            assert connections == s.engine.statistics().connections.opened

    check()


@virtual
async def test_the_breaker_hears_of_requests_that_are_resent_again_and_again() -> None:
    async with scene(always(Goaway(last_id=0)), endpoints=H2C) as s:
        await crowd(s, 4)
        gates = s.engine._supervisor.routes.gates.values()
        assert any(gate.breaker.generation > 0 for gate in gates)


@virtual
async def test_a_kept_connection_that_dies_costs_one_request_and_no_wait() -> None:
    records: list[Any] = []
    async with scene(once(CloseIdle(after=1.0)), profile=AT_ONCE, observers=[records.append]) as s:
        for _ in range(3):
            assert (await ask(s.engine)).finished
            await trio.sleep(1.0)
        assert all(r.delay == 0 for r in records if isinstance(r, Resent))


@virtual
async def test_an_answer_with_an_error_always_costs_an_attempt() -> None:
    async with scene(always(Status(500)), endpoints=H2C) as s:
        error = error_of(await ask(s.engine))
        assert isinstance(error, ServerError)
        assert (len(error.attempts), s.asked) == (5, 5)
        assert [a.requests for a in error.attempts] == [1] * 5


@virtual
async def test_the_two_requests_more_are_for_the_whole_of_a_call() -> None:
    """GOAWAY once in each attempt: two of them are resent, later ones are failures."""
    rules = Plan((
        Rule((Goaway(last_id=0),), When(requests=(1, 3, 5, 6, 7))),
        Rule((Status(500),), When(requests=(2, 4))),
    ))
    async with scene(rules, endpoints=H2C) as s:
        error = error_of(await ask(s.engine))
        assert (len(error.attempts), s.asked) == (5, 7)
        assert [a.requests for a in error.attempts] == [2, 2, 1, 1, 1]


@virtual
async def test_hedges_are_attempts() -> None:
    for attempts, most in ((1, 2), (2, 2), (3, 3), (5, 5)):
        model = {"retries": {"attempts": attempts}, "hedge_after": 0.1}
        async with scene(always(Stall(at=0, seconds=0.5), Cut(at=0)), model=model) as s:
            error = error_of(await ask(s.engine))
            assert len(error.attempts) == s.asked <= most


@virtual
async def test_refused_connections_are_counted_and_no_request_is() -> None:
    async with scene(always(RefuseConnect()), model={"retries": {"attempts": 2}}) as s:
        error = error_of(await ask(s.engine))
        assert [(a.requests, a.connections) for a in error.attempts] == [(0, 1)] * 2


@virtual
async def test_a_reset_of_a_fresh_connection_is_a_failed_attempt() -> None:
    async with scene(always(Reset(at=0)), model={"retries": {"attempts": 3}}) as s:
        error = error_of(await ask(s.engine))
        assert [(a.requests, a.connections) for a in error.attempts] == [(1, 1)] * 3


@virtual
async def test_a_goaway_for_all_at_once_is_resent_once_and_nobody_fails() -> None:
    """Each connection serves one stream: the next ones are given what the last one took."""
    async with scene(always(Goaway()), endpoints=H2C, profile=AT_ONCE) as s:
        readings = await crowd(s, 100)
        assert all(reading.finished for reading in readings)
        assert s.engine.statistics().total.retries == 0
        assert s.asked == 100
