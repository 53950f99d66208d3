"""The defaults serve thousands, and a limit that holds something back says so."""

import logging

import pytest
import trio

from streamnursery import ChatRequest, Engine, OverloadedError
from streamnursery.simulator import Profile, Status
from streamnursery.values.settings import EngineConfig
from tests.support.scene import always, scene, virtual

SLOW = Profile(tokens_per_second=10, output_tokens=(20, 20))
HELD = "max_in_flight=50 is held back by "


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest("m", f"Hi {number}") for number in range(count)]


def test_a_model_without_a_setting_has_the_slots_of_the_engine() -> None:
    config = EngineConfig()
    assert (config.default_max_streams, config.max_streams, config.max_queued) == (
        1000,
        1000,
        50_000,
    )
    assert EngineConfig(max_streams=3000).default_max_streams == 3000
    assert EngineConfig(max_streams=30, default_max_streams=5).default_max_streams == 5


@virtual
async def test_five_hundred_in_flight_run_at_once() -> None:
    async with scene(profile=SLOW) as s:
        outcomes = await s.engine.settle(requests(500), max_in_flight=500)
        assert all(outcome.ok for outcome in outcomes)
        assert s.engine.statistics().models["m"].peak_active == 500


@pytest.mark.every(5)
@pytest.mark.parametrize("verb", ["settle", "as_completed", "merge"])
@pytest.mark.parametrize(
    ("model", "engine", "named"),
    [
        ({"max_streams": 10}, {}, 'max_streams of model "m" = 10'),
        ({}, {"max_streams": 20}, "engine.max_streams = 20"),
        ({"max_streams": 30}, {"max_streams": 20}, "engine.max_streams = 20"),
        ({"max_streams": 50}, {}, ""),
    ],
)
def test_a_limit_that_holds_back_what_was_asked_for_says_so_once(
    verb: str,
    model: dict[str, int],
    engine: dict[str, int],
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @virtual
    async def check() -> None:
        async with scene(profile=SLOW, model=model, engine=engine) as s:
            for _ in range(2):
                await run(s.engine, verb, 60)

    with caplog.at_level(logging.WARNING, "streamnursery"):
        check()
    said = [record.getMessage() for record in caplog.records if HELD in record.getMessage()]
    assert len(said) == bool(named)
    assert all(f"{HELD}{named}: " in text for text in said)


async def run(eng: Engine, verb: str, count: int) -> None:
    if verb == "settle":
        await eng.settle(requests(count), max_in_flight=50)
    elif verb == "as_completed":
        async with eng.as_completed(requests(count), max_in_flight=50) as outcomes:
            assert [outcome.ok async for outcome in outcomes] == [True] * count
    else:
        async with eng.merge(requests(count), max_in_flight=50) as events:
            assert len([event async for event in events]) > count


def test_nothing_is_said_where_no_number_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def check() -> None:
        async with scene(profile=SLOW, model={"max_streams": 3}) as s:
            await s.engine.settle(requests(60))

    check()
    assert not [record for record in caplog.records if "max_in_flight" in record.getMessage()]


@virtual
async def test_a_full_queue_names_the_ways_out() -> None:
    async with scene(profile=SLOW, model={"max_streams": 1}, engine={"max_queued": 1}) as s:
        outcomes = await s.engine.settle(requests(3))
        (error,) = [outcome.error for outcome in outcomes if not outcome.ok]
        assert isinstance(error, OverloadedError)
        for way in ("eng.as_completed()", "eng.settle()", "engine.max_queued", "max_queued = 1"):
            assert way in str(error)


@virtual
async def test_the_slots_of_a_route_follow_it_from_its_first_429_on() -> None:
    async with scene(always(Status(429, retry_after=0.5)), profile=SLOW) as s:
        limit = s.engine._admission
        async with trio.open_nursery() as nursery:
            for request in requests(100):
                nursery.start_soon(s.engine.settle, [request])
            await trio.sleep(0.4)
            (lane,) = limit.lanes.of_model("m")
            assert lane.route is not None and lane.route.adaptive is not None
            assert 1 <= lane.route.slots.max_slots <= 90
            assert lane.route.slots.taken <= 90
        assert lane.route.slots.taken == limit.slots("m").taken == 0


@pytest.mark.parametrize(
    ("model", "defaults", "fault"),
    [
        ({"max_streams": 50}, {}, Status(429)),  # somebody has set how many
        ({}, {"max_streams": 50}, Status(429)),
        ({}, {}, Status(503)),  # no rate limit
    ],
)
def test_slots_that_somebody_has_set_stay(
    model: dict[str, int], defaults: dict[str, int], fault: Status
) -> None:
    @virtual
    async def check() -> None:
        async with scene(always(fault), model=model, defaults=defaults) as s:
            await s.engine.settle(requests(5))
            (lane,) = s.engine._admission.lanes.of_model("m")
            assert lane.route is not None and lane.route.adaptive is None

    check()


@virtual
async def test_setting_the_slots_ends_the_following() -> None:
    async with scene(always(Status(429)), model={"retries": {"attempts": 1}}) as s:
        await s.engine.settle(requests(1))
        (lane,) = s.engine._admission.lanes.of_model("m")
        assert lane.route is not None and lane.route.adaptive is not None
        s.engine.set_limits(model="m", max_streams=7)
        assert lane.route.adaptive is None
