"""What binds, what runs, and changing it under load."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import ConfigError, Engine, RequestError
from streamnursery.simulator import RateLimit
from tests.support.scene import PACED, always, once, scene, virtual


async def read(eng: Engine, model: str = "m", **options: Any) -> None:
    await eng.complete(model, "x", **options)


@virtual
async def test_a_request_is_told_which_limit_binds_and_when_it_may_start() -> None:
    async with scene(model={"max_streams": 1, "rpm": 2, "burst": 1}) as s:
        eng = s.engine
        told = eng.explain("m", "x" * 40, max_tokens=7)
        assert (told.limit, told.earliest, told.ahead) == (None, 0.0, 0)
        assert str(told) == "m at main: could start now (about 14 input and 7 output tokens)"
        async with eng.stream("m", "x") as first:
            await anext(first)
            assert eng.explain("m", "x").limit == "a slot of model 'm' (1 of 1 taken)"
            assert eng.explain("m", "x").earliest is None
            async with eng.stream("m", "x") as second:
                await wait_all_tasks_blocked()
                assert second.waiting_for() == "a slot of model 'm' (1 of 1 taken)"
                await first.completion()
                await second.completion()
        ended_at = trio.current_time()
        told = eng.explain("m", "x")
        assert told.limit == "rpm = 2 of model 'm'"
        assert told.earliest == pytest.approx(60 - ended_at)
        async with eng.stream("m", "x") as third:
            await trio.sleep(1)
            assert third.waiting_for() == (
                f"rpm = 2 of model 'm', in {59 - ended_at:.3g} s at the earliest"
            )
            async with eng.stream("m", "x") as fourth:
                await trio.sleep(1)
                assert str(fourth.waiting_for()).startswith("rpm = 2 of model 'm'")
                assert eng.statistics().models["m"].limit == "rpm = 2 of model 'm'"


@virtual
async def test_a_closed_route_is_what_a_request_waits_for() -> None:
    async with scene(once(RateLimit(rpm=1)), model={}) as s:
        s.engine._supervisor.routes.gate(s.engine.plan("m").stops[0].route).pause(30, 0.0)
        told = s.engine.explain("m", "x")
        assert told.limit == "route main/m to open again (paused by its provider)"
        assert told.earliest == pytest.approx(30)


@virtual
async def test_the_snapshot_has_a_line_for_every_live_stream() -> None:
    async with scene(profile=PACED, model={"max_streams": 2}) as s:
        eng = s.engine
        async with AsyncExitStack() as stack:
            opened = []
            for options in ({"tenant": "acme"}, {"buffer_events": 2}, {}):
                stream = eng.stream("m", "x", **options)
                opened.append(await stack.enter_async_context(stream))
                await wait_all_tasks_blocked()
            reading, unread, queued = opened
            assert eng.snapshot().streams[0].state == "waiting"
            await anext(reading)
            await trio.sleep(0.45)
            first, second, third = eng.snapshot().streams
            assert (first.request, first.model, first.tenant) == (1, "m", "acme")
            assert (first.route, first.attempt) == ("main/m", 1)
            assert (first.state, second.state, third.state) == ("streaming", "held back", "queued")
            assert first.age == pytest.approx(1.45)
            assert first.since_content == pytest.approx(0.05)
            assert (third.since_content, third.route, third.attempt) == (None, None, 0)
            assert third.waits_for == queued.waiting_for() == eng.explain("m").limit
            assert second.waits_for == "the consumer"
            assert second.unread_bytes > 0
            assert unread.statistics().outcome is None
        assert eng.snapshot().streams == ()
        whole, *others = eng.snapshot().limits
        assert (whole.name, whole.taken, whole.max_streams) == ("engine", 0, 1000)
        assert {limit.name: limit.max_streams for limit in others} == {
            "model 'm'": 2,
            "endpoint 'main'": None,
        }


@virtual
async def test_a_reload_changes_limits_rates_tenants_and_endpoints_and_ends_nothing() -> None:
    async with scene(profile=PACED, model={"max_streams": 1}) as s:
        eng = s.engine
        changed = {
            "endpoints": {"main": {"url": "http://main.example.com/v1", "rpm": 100}},
            "models": {
                "m": {"routes": [{"endpoint": "main"}], "max_streams": 5, "rpm": 50},
                "new": {"routes": [{"endpoint": "main", "model": "m"}]},
            },
            "tenants": {"acme": {"weight": 2}},
            "engine": {"max_queued": 3, "max_buffered_bytes": 10**6},
        }
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(read, eng)
            await wait_all_tasks_blocked()
            assert eng.statistics().total.queued == 3
            report = eng.reload(changed)
            await wait_all_tasks_blocked()
            assert eng.statistics().total.queued == 0
        assert report.changed == (
            "max_queued",
            "tenants.acme",
            "endpoints.main",
            "models.m",
            "models.new",
        )
        assert report.at_next_start == ("max_buffered_bytes",)
        await read(eng, "new")
        assert eng.statistics().models["m"].max_streams == 5
        assert eng.config.tenants["acme"].weight == 2
        rates = {limit.name: limit.rates for limit in eng.snapshot().limits}
        assert [(r.kind, r.limit, r.used) for r in rates["endpoint 'main'"]] == [("rpm", 100, 4)]


@virtual
async def test_a_reload_with_mistakes_changes_nothing() -> None:
    async with scene(model={"max_streams": 4}) as s:
        with pytest.raises(ConfigError):
            s.engine.reload({"models": {"m": {"max_streams": -1}}})
        assert s.engine.statistics().total.max_streams == 1000
        assert s.engine._admission.slots("m").max_slots == 4
        with pytest.raises(RequestError):
            s.engine.explain("")


@virtual
async def test_explain_sends_nothing() -> None:
    async with scene(always()) as s:
        s.engine.explain("m", "x")
        assert s.asked == 0
        assert s.engine.statistics().total.requests == 0
