"""Scenarios C: what can go wrong before a byte is sent (SCENARIOS 5.1)."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import DeadlineError, Patience, Rerouted
from streamnursery.errors import ConnectError, ConnectTimeoutError, QueueDeadlineError
from streamnursery.records import AttemptState
from streamnursery.simulator import (
    BlackHole,
    CloseIdle,
    Host,
    Plan,
    RefuseConnect,
    ResolveFail,
    Rule,
)
from tests.support.scene import always, ask, once, read, scene, virtual


@virtual
async def test_c1_a_name_that_resolves_at_the_second_try() -> None:
    async with scene(once(ResolveFail())) as s:
        reading = await ask(s.engine)
        assert reading.finished
        assert s.asked == 1
        assert s.engine.statistics().total.retries == 1


@virtual
async def test_c1_a_name_that_never_resolves_is_named() -> None:
    async with scene(always(ResolveFail())) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, ConnectError)
        assert "main.example.com" in str(error)
        assert error.unresolved
        assert [a.state for a in error.attempts] == [AttemptState.NOT_SENT] * 2
        assert any("no address again" in note for note in error.__notes__)
        assert s.asked == 0


@virtual
async def test_c1_a_name_that_was_reached_before_is_worth_all_attempts() -> None:
    async with scene(once(ResolveFail(), requests=(2, 3, 4, 5, 6))) as s:
        assert (await ask(s.engine)).finished
        await trio.sleep(10)  # its connection is not kept so long
        error = (await ask(s.engine)).error
        assert isinstance(error, ConnectError)
        assert len(error.attempts) == 5


@virtual
async def test_c2_two_refused_connections_are_two_backoffs_and_one_request() -> None:
    async with scene(once(RefuseConnect(), requests=(2, 3))) as s:
        assert (await ask(s.engine)).finished
        await trio.sleep(10)  # its connection is not kept so long
        reading = await ask(s.engine)
        assert reading.finished
        assert s.asked == 2
        assert s.engine.statistics().total.retries == 2


@virtual
async def test_c2_where_nothing_ever_answered_the_second_refusal_is_final() -> None:
    async with scene(always(RefuseConnect())) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, ConnectError)
        assert error.refused
        assert [a.state for a in error.attempts] == [AttemptState.NOT_SENT] * 2
        assert any("nothing has ever answered there" in note for note in error.__notes__)
        assert trio.current_time() <= 1


@virtual
async def test_c2_one_refusal_at_the_start_is_a_backoff_and_one_request() -> None:
    async with scene(once(RefuseConnect())) as s:
        assert (await ask(s.engine)).finished
        assert s.asked == 1


@virtual
async def test_c2_a_backup_is_asked_before_the_refusal_is_final() -> None:
    async with scene(always(RefuseConnect()), backups={"spare": Plan()}) as s:
        assert (await ask(s.engine)).finished


@virtual
async def test_c3_a_black_hole_ends_at_the_connect_clock_and_goes_to_the_backup_first() -> None:
    patience = {"patience": {"connect": 7}}
    async with scene(always(BlackHole()), backups={"spare": Plan()}, model=patience) as s:
        reading = await ask(s.engine)
        assert reading.finished
        (rerouted,) = (e for e in reading.events if isinstance(e, Rerouted))
        assert (rerouted.source, rerouted.target) == ("main/m", "spare/m")
        assert "ConnectTimeoutError" in rerouted.why
        assert trio.current_time() == pytest.approx(7 + 1 + 0.9, abs=0.01)


@virtual
async def test_c3_a_black_hole_never_outlasts_the_deadline() -> None:
    async with scene(always(BlackHole())) as s:
        error = (await ask(s.engine, timeout=5)).error
        assert isinstance(error, DeadlineError)
        assert trio.current_time() == 5
        assert error.attempts[0].state is AttemptState.NOT_SENT


@virtual
async def test_c3_the_connect_clock_is_named() -> None:
    async with scene(always(BlackHole()), model={"retries": {"attempts": 1}}) as s:
        error = (await ask(s.engine, patience=Patience(connect=3))).error
        assert isinstance(error, ConnectTimeoutError)
        assert "patience.connect = 3 s" in str(error)
        assert trio.current_time() == 3


@virtual
async def test_c4_cancelling_while_connecting_passes_at_once() -> None:
    async with scene(always(BlackHole())) as s:
        with trio.move_on_after(2) as scope:
            async with s.engine.stream("m", "hello") as stream:
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 2
        assert stream.error is not None


@virtual
async def test_c6_a_dead_first_address_costs_the_stagger_and_no_second_request() -> None:
    plan = Plan((Rule((BlackHole(address=0),)),))
    async with scene(plan) as s:
        s.network.add("main.example.com", Host(s.provider, addresses=("45.1.1.1", "45.1.1.2")))
        reading = await ask(s.engine)
        assert reading.finished
        assert s.asked == 1
        assert trio.current_time() == pytest.approx(0.25 + 1 + 0.9, abs=0.01)


@virtual
async def test_c7_a_deadline_in_the_queue_tells_the_queue_and_the_limit() -> None:
    async with scene(model={"max_streams": 1}) as s:
        async with s.engine.stream("m", "first") as first:
            await wait_all_tasks_blocked()
            async with s.engine.stream("m", "second", timeout=1) as second:
                await trio.sleep(0.5)
                assert "slot of model 'm' (1 of 1 taken)" in (second.waiting_for() or "")
                error = (await read(second)).error
            assert isinstance(error, QueueDeadlineError)
            assert "1 of 1 taken" in str(error)
            assert trio.current_time() == 1
            assert (await read(first)).finished


@virtual
async def test_c7_waiters_are_served_in_their_order() -> None:
    async with scene(model={"max_streams": 1}) as s:
        order: list[int] = []

        async def one(number: int) -> None:
            async with s.engine.stream("m", "hello") as stream:
                await read(stream)
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, number)
                await wait_all_tasks_blocked()
        assert order == [0, 1, 2, 3, 4]


@virtual
async def test_c8_the_keep_alive_race_costs_one_silent_resend() -> None:
    async with scene(always(CloseIdle(after=1.0))) as s:
        for _ in range(5):
            assert (await ask(s.engine)).finished
            await trio.sleep(1.0)  # the server hangs up as we reach for the connection
        total = s.engine.statistics().total
        assert (total.succeeded, total.retries) == (5, 0)
