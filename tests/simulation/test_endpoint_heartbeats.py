"""Heartbeats of HTTP endpoints: what they ask, what they find, and what they leave alone."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio

from streamnursery import Engine, ServerError
from streamnursery.errors import ConnectError
from streamnursery.records import CircuitChanged, EndpointBeat
from streamnursery.simulator import BlackHole, Delay, Plan, RefuseConnect, Rule, Status, When
from streamnursery.testing import World, assert_quiescent
from streamnursery.values.errors import EngineError
from streamnursery.values.events import Rerouted
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.session import EndpointHeartbeat
from streamnursery.values.settings import Endpoint, EngineConfig, ModelSettings, Route


def endpoint(name: str, interval: float | None = 30.0, **heartbeat: Any) -> Endpoint:
    url = BaseUrl.parse(f"http://{name}.test/v1")
    return Endpoint(name, url, heartbeat=EndpointHeartbeat(interval, **heartbeat))


def config(**changes: Any) -> EngineConfig:
    routes = (Route("sim", "fast"), Route("backup", "fast"))
    return EngineConfig(
        endpoints={"sim": endpoint("sim", **changes), "backup": endpoint("backup", None)},
        models={"fast": ModelSettings("fast", routes)},
        default_endpoint="sim",
    )


def run(
    body: Callable[[World, Engine], Awaitable[None]], *, plan: Plan | None = None, **changes: Any
) -> None:
    world = World(3, plan=plan)
    world.add_provider("backup")

    async def main(world: World) -> None:
        async with world.open_engine(config(**changes)) as eng:
            await body(world, eng)
            await trio.testing.wait_all_tasks_blocked(0)
            assert_quiescent(eng)

    world.run(main)


def asked(world: World) -> list[float]:
    return [r.received_at for r in world.provider.log if r.path == "/v1/models"]


def dead(since: float, until: float) -> Plan:
    return Plan((Rule((RefuseConnect(),), When(since=since, until=until)),))


def test_an_idle_endpoint_is_asked_every_interval_and_counts_as_no_traffic() -> None:
    async def body(world: World, eng: Engine) -> None:
        await trio.sleep(300)
        times = asked(world)
        gaps = [b - a for a, b in pairwise(times)]
        assert 10 <= len(times) <= 12
        assert all(27 <= gap <= 30 for gap in gaps)
        statistics = eng.statistics()
        assert statistics.total.requests == 0
        assert statistics.models == {}
        found = statistics.heartbeats["sim"]
        assert (found.beats, found.missed, found.alive) == (len(times), 0, True)
        assert "backup" not in statistics.heartbeats

    run(body)


def test_an_endpoint_in_use_is_not_asked() -> None:
    async def body(world: World, eng: Engine) -> None:
        for _ in range(30):
            await eng.complete("fast", "Hi")
            await trio.sleep(10)
        assert asked(world) == []
        assert eng.statistics().heartbeats["sim"].alive

    run(body)


def test_a_long_answer_puts_the_beat_off() -> None:
    async def body(world: World, eng: Engine) -> None:
        await eng.complete("gpt-4.1?respond=9000", "Hi", patience=Patience(total=None))
        assert trio.current_time() > 150
        assert asked(world) == []

    run(body)


def test_a_dead_endpoint_is_known_before_a_request_finds_out() -> None:
    async def body(world: World, eng: Engine) -> None:
        await trio.sleep(60)
        assert eng.statistics().heartbeats["sim"].alive is False
        begun = len(world.provider.log)
        async with eng.stream("fast", "Hi") as stream:
            events = [event async for event in stream]
        assert stream.route == "backup/fast"
        assert isinstance(events[0], Rerouted)
        assert len(stream.attempts) == 1
        assert len(world.provider.log) == begun
        await trio.sleep_until(110)
        assert eng.statistics().heartbeats["sim"].alive
        assert (await eng.complete("fast", "Hi")).route == "sim/fast"

    run(body, plan=dead(10.0, 100.0))


def test_a_silent_endpoint_is_given_its_timeout_and_asked_again_soon() -> None:
    async def body(world: World, eng: Engine) -> None:
        await trio.sleep(100)
        found = eng.statistics().heartbeats["sim"]
        assert found.alive is False
        assert 5 <= found.missed <= 10
        async with eng.stream("fast", "Hi") as stream:
            await stream.completion()
        assert stream.route == "backup/fast"

    run(body, plan=Plan((Rule((BlackHole(),)),)))


@pytest.mark.parametrize(
    ("status", "alive"),
    [(200, True), (401, True), (404, True), (429, True), (500, False), (503, False)],
)
def test_any_answer_is_a_sign_of_life_but_that_of_a_failed_server(status: int, alive: bool) -> None:
    async def body(world: World, eng: Engine) -> None:
        await trio.sleep(100)
        assert eng.statistics().heartbeats["sim"].alive is alive

    # A status fault concerns answers to questions; asked for early it stands in for any.
    script = () if status == 200 else (Status(status, early=True),)
    run(body, plan=Plan.always(*script))


def test_an_endpoint_without_a_backup_is_met_again_when_it_is_back() -> None:
    async def main(world: World) -> None:
        settings = EngineConfig(
            endpoints={"sim": endpoint("sim")},
            default_endpoint="sim",
            retries=Retries(attempts=1),
        )
        async with world.open_engine(settings) as eng:
            await trio.sleep(60)
            with pytest.raises(EngineError) as caught:
                await eng.complete("fast", "Hi")
            assert isinstance(caught.value, ServerError | ConnectError)
            await trio.sleep_until(110)
            assert (await eng.complete("fast", "Hi")).route == "sim/fast"

    World(3, plan=dead(10.0, 100.0)).run(main)


def test_beats_that_fail_and_recover_are_records_and_a_good_one_ends_the_breakers_wait() -> None:
    async def main(world: World) -> None:
        settings = EngineConfig(
            endpoints={"sim": endpoint("sim")}, default_endpoint="sim", retries=Retries(attempts=5)
        )
        records: list[Any] = []
        async with world.open_engine(settings, observers=[records.append]) as eng:
            await trio.sleep_until(99)
            # It waits for the route, and goes on with the first beat that is answered.
            assert (await eng.complete("fast", "Hi")).route == "sim/fast"
            beats = [r for r in records if isinstance(r, EndpointBeat)]
            assert [(r.model, r.alive) for r in beats] == [("sim", False), ("sim", True)]
            assert beats[0].why.startswith("ConnectError") and beats[1].why == ""
            circuits = [r.circuit for r in records if isinstance(r, CircuitChanged)]
            assert circuits == ["open", "half open", "closed"]
            assert trio.current_time() - beats[1].at < 2.5
            assert len(world.provider.log) == 2  # the beat and the request

    World(3, plan=dead(10.0, 100.0)).run(main)


def test_a_beat_that_nobody_watched_says_nothing() -> None:
    async def body(world: World, eng: Engine) -> None:
        for _ in range(600):
            await trio.sleep(0.05)
            if asked(world):
                break
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(60)  # as if the process had been stopped: the answer is not read in time
        await trio.sleep(1)
        assert eng.statistics().heartbeats["sim"].missed == 0
        assert (await eng.complete("fast", "Hi")).route == "sim/fast"

    run(body, plan=Plan.always(Delay(first_byte=0.5)))


def test_the_path_and_the_interval_are_those_of_the_configuration() -> None:
    async def body(world: World, eng: Engine) -> None:
        await trio.sleep(59)
        paths = {record.path for record in world.provider.log}
        assert paths == {"/v1/models/fast"}
        assert 5 <= len(world.provider.log) <= 12

    run(body, interval=10.0, path="/models/fast")


def test_the_configuration_file_switches_them_on() -> None:
    from streamnursery.config import config_from_mapping

    written = {"endpoints": {"a": {"url": "http://a.test/v1", "heartbeat": {"interval": 20}}}}
    found = config_from_mapping(written).endpoints["a"].heartbeat
    assert found == EndpointHeartbeat(20.0, 5.0, "/models")
    off = {"endpoints": {"a": {"url": "http://a.test/v1", "heartbeat": {"interval": "off"}}}}
    assert config_from_mapping(off).endpoints["a"].heartbeat.interval is None
