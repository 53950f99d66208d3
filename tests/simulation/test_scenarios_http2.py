"""Scenarios that only HTTP/2 has, on the simulated network (SCENARIOS B13-B15, R4, P4, X3)."""

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio

from streamnursery import ConnectionLostError, EngineError, RateLimitedError
from streamnursery.errors import FirstByteTimeoutError, TooLargeError
from streamnursery.simulator import (
    Cut,
    Garbage,
    Goaway,
    PingSilence,
    Plan,
    Profile,
    Reset,
    ResetStream,
    Rule,
    Settings,
    Stall,
    When,
    WindowStall,
)
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, assert_quiescent, wait_quiescent
from tests.support.scene import AT_ONCE, PACED, Scene, always, ask, once, scene, virtual

H2C = {"main": {"url": "http://main.example.com/v1", "http": "h2c"}}


def over_http2(plan: Plan | None = None, **more: Any) -> AbstractAsyncContextManager[Scene]:
    return scene(plan, endpoints=H2C, **more)


@virtual
async def test_an_answer_over_http2_is_what_it_is_over_http1() -> None:
    texts = []
    for open_scene in (over_http2, scene):
        async with open_scene(Plan()) as s:
            reading = await ask(s.engine)
            assert reading.finished and reading.tokens > 0
            texts.append(reading.text)
            assert s.engine.statistics().connections.http2_streams == 0
    assert texts[0] == texts[1]


@virtual
async def test_b13_a_refused_stream_goes_unnoticed() -> None:
    async with over_http2(once(ResetStream("REFUSED_STREAM"))) as s:
        reading = await ask(s.engine)
        assert reading.finished and s.asked == 2
        total = s.engine.statistics().total
        assert (total.succeeded, total.retries) == (1, 0)


@virtual
async def test_b13_a_reset_before_the_answer_is_a_retry() -> None:
    async with over_http2(once(ResetStream("INTERNAL_ERROR"))) as s:
        assert (await ask(s.engine)).finished
        assert s.engine.statistics().total.retries == 1


@virtual
async def test_b13_a_reset_after_content_is_an_error_with_what_was_delivered() -> None:
    async with over_http2(always(ResetStream("INTERNAL_ERROR", at=3)), profile=PACED) as s:
        reading = await ask(s.engine)
        assert isinstance(reading.error, ConnectionLostError) and reading.tokens == 3
        assert "INTERNAL_ERROR" in str(reading.error) and s.asked == 1


@virtual
async def test_b13_a_call_for_calm_is_answered_with_a_wait() -> None:
    async with over_http2(once(ResetStream("ENHANCE_YOUR_CALM"))) as s:
        began = trio.current_time()
        reading = await ask(s.engine)
        assert reading.finished and s.asked == 2
        assert s.engine.statistics().total.retries == 1
        assert trio.current_time() > began


@virtual
async def test_b13_a_server_that_is_never_calm_is_left_alone() -> None:
    model = {"retries": {"attempts": 2}}
    async with over_http2(always(ResetStream("ENHANCE_YOUR_CALM")), model=model) as s:
        assert isinstance((await ask(s.engine)).error, RateLimitedError)
        assert s.asked == 2


@virtual
async def test_b13_one_reset_is_nothing_to_the_other_streams() -> None:
    async with over_http2(once(ResetStream(at=2), requests=(3,)), profile=PACED) as s:
        errors: list[EngineError | None] = []

        async def one() -> None:
            errors.append((await ask(s.engine)).error)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        assert sum(error is None for error in errors) == 7
        assert s.engine.statistics().connections.opened == 1


@virtual
async def test_b14_a_stream_ends_well_after_a_goaway_and_the_next_one_goes_elsewhere() -> None:
    async with over_http2(once(Goaway()), profile=PACED) as s:
        reading = await ask(s.engine)
        assert reading.finished and reading.error is None
        assert (await ask(s.engine)).finished
        assert s.engine.statistics().total.retries == 0
        assert s.engine.statistics().connections.opened == 2 and s.asked == 2


@virtual
async def test_b15_a_stream_above_the_last_one_is_sent_again_and_not_counted() -> None:
    async with over_http2(once(Goaway(last_id=0))) as s:
        reading = await ask(s.engine)
        assert reading.finished and s.asked == 2
        total = s.engine.statistics().total
        assert (total.succeeded, total.retries, total.failed) == (1, 0, 0)


@virtual
async def test_a_server_that_closes_every_connection_unserved_is_not_asked_for_ever() -> None:
    """The two attempts, and two requests more that no server has looked at."""
    async with over_http2(always(Goaway(last_id=0)), model={"retries": {"attempts": 2}}) as s:
        reading = await ask(s.engine)
        assert isinstance(reading.error, ConnectionLostError)
        assert s.asked == 4
        assert s.engine.statistics().total.retries == 1


@virtual
async def test_b15_nothing_is_lost_when_every_connection_takes_one_stream_only() -> None:
    async with over_http2(always(Goaway()), model={"max_streams": 50}) as s:
        results = []

        async def one() -> None:
            results.append((await ask(s.engine)).finished)

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(one)
        assert results == [True] * 40 and s.asked == 40
        assert s.engine.statistics().total.retries == 0


@virtual
async def test_r4_an_upload_that_stalls_ends_with_its_patience() -> None:
    patience = {"first_byte": 7.0}
    model = {"patience": patience, "retries": {"attempts": 1}}
    async with over_http2(always(WindowStall()), model=model) as s:
        async with s.engine.stream("m", "x" * 200_000) as stream:
            with pytest.raises(FirstByteTimeoutError):
                async for _ in stream:
                    pass
        assert trio.current_time() == pytest.approx(7, abs=0.1)
        await trio.sleep(1)
        assert [record.ending for record in s.provider.log] == ["client gone"]


@virtual
async def test_r4_a_cancelled_upload_is_reset() -> None:
    async with over_http2(always(WindowStall())) as s:
        with trio.move_on_after(1):
            await s.engine.complete("m", "x" * 200_000)
        await trio.sleep(1)
        assert [record.ending for record in s.provider.log] == ["client gone"]
        s.provider.plan = Plan()
        assert (await ask(s.engine)).finished
        assert s.engine.statistics().connections.opened == 1


@virtual
async def test_p4_a_limit_that_shrinks_below_what_runs_holds_nobody_up() -> None:
    plan = once(Settings(max_streams=2), requests=(5,))
    async with over_http2(plan, profile=PACED, model={"max_streams": 30}) as s:
        done = []

        async def one(after: float) -> None:
            await trio.sleep(after)
            done.append((await ask(s.engine)).finished)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(one, 0.0 if number < 10 else 0.05)
        assert done == [True] * 30
        assert s.engine.statistics().connections.opened > 1


@virtual
async def test_p4_beyond_all_connections_requests_wait_for_a_stream() -> None:
    plan = always(Settings(max_streams=3))
    http2 = {"max_connections": 2}
    async with over_http2(plan, profile=PACED, model={"max_streams": 30}, http2=http2) as s:
        done = []

        async def one() -> None:
            done.append((await ask(s.engine)).finished)

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(one)
        assert done == [True] * 30
        assert s.engine.statistics().connections.opened == 2


@virtual
async def test_a_silent_connection_is_noticed_and_its_streams_fail_over() -> None:
    backups = {"backup": Plan()}
    endpoints = H2C | {"backup": {"url": "http://backup.example.com/v1"}}
    plan = always(PingSilence())
    model = {"patience": {"idle": "off", "first_byte": "off", "first_token": "off"}}
    async with scene(plan, endpoints=endpoints, backups=backups, model=model) as s:
        reading = await ask(s.engine)
        assert reading.finished
        assert 35 <= trio.current_time() < 38
        assert len(s.providers["backup"].log) == 1


@virtual
async def test_a_stream_that_stalls_longer_than_any_ping_goes_on() -> None:
    model = {"patience": {"idle": "off", "total": "off"}}
    async with over_http2(always(Stall(at=2, seconds=300)), model=model) as s:
        assert (await ask(s.engine)).finished


ODDITIES: dict[str, tuple[Fault, type[EngineError]]] = {
    "cut": (Cut(2), ConnectionLostError),
    "reset": (Reset(2), ConnectionLostError),
    "a head without end": (Garbage("endless_header"), ConnectionLostError),
    "informational answers without end": (Garbage("endless_informational"), TooLargeError),
    "a long header": (Garbage("long_header"), TooLargeError),
    "many headers": (Garbage("many_headers"), TooLargeError),
    "no HTTP at all": (Garbage("not_http"), ConnectionLostError),
}


@pytest.mark.parametrize(("fault", "error"), ODDITIES.values(), ids=ODDITIES)
def test_what_breaks_an_answer_breaks_it_over_http2_too(
    fault: Fault, error: type[EngineError]
) -> None:
    @virtual
    async def run() -> None:
        model = {"retries": {"attempts": 1}}
        async with over_http2(always(fault), profile=AT_ONCE, model=model) as s:
            assert isinstance((await ask(s.engine)).error, error)

    run()


async def _crowd(world: World, count: int) -> None:
    """A crowd in all phases, cancelled as one; then the next request works at once."""
    config = world.config(max_streams=count, default_max_streams=count)
    async with world.open_engine(config) as engine:

        async def one(number: int) -> None:
            await trio.sleep(world.dice.random() * 2)
            async with engine.stream("m", f"q{number}") as stream:
                async for _ in stream:
                    await trio.sleep(world.dice.random() * 0.01)

        with trio.move_on_after(2):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(one, number)
        assert_quiescent(engine)
        assert (await engine.complete("m", "next")).text
        await wait_quiescent(engine)
        endings = {record.ending for record in world.provider.log}
        assert endings <= {"client gone", "complete"}, endings


@pytest.mark.parametrize(("http", "proof"), [("h2c", 1_000), ("auto", 300)])
def test_x3_a_crowd_cancelled_in_all_phases_leaves_nothing(
    tier: str, http: Any, proof: int
) -> None:
    rounds, count = {"test": (1, 150), "proof": (1, proof)}.get(tier, (100, 1_000))
    slow = Profile(ttft_mean=0.5, ttft_p95=1.5, tokens_per_second=20)
    for seed in range(rounds):
        world = World(seed, http=http, tick=0.001)
        world.provider.models = {"m": slow}
        world.run(partial(_crowd, count=count))


def test_the_text_forms_know_what_http2_adds() -> None:
    from streamnursery.simulator import parse_script

    text = '[{"reset_stream": "REFUSED_STREAM"}, {"goaway": 5}, {"settings": {"max_streams": 2}}]'
    assert parse_script(text) == (ResetStream("REFUSED_STREAM"), Goaway(5), Settings(2))
    assert Plan((Rule(parse_script('"window_stall"'), When()),)).rules
