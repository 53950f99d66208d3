"""A disturbed world: every point is passed, equal seeds give equal runs, nothing is left behind."""

from collections import Counter
from typing import Any

import pytest
import trio

from streamnursery.core import buggify
from streamnursery.simulator import Plan, Rule, Status, When
from streamnursery.testing import World, random_traffic
from streamnursery.testing.disturbance import POINTS
from streamnursery.values.http import HttpVersion
from streamnursery.values.request import make_request

SOME_FAIL = Plan((Rule((Status(503),), When(every=4)),))
MODEL: dict[str, Any] = {
    "routes": [{"endpoint": "main", "model": "gpt-4.1"}],
    "price": {"input": "1", "output": "1"},
    "max_streams": 2,
    "retries": {"base": 0.1},
}


def config(http: HttpVersion) -> dict[str, Any]:
    return {
        "endpoints": {"main": {"url": "http://sim.test/v1", "http": http}},
        "models": {"m": MODEL},
        "budgets": {
            "daily": "0.0002 USD",
            "mode": "soft",
            "unknown_price": "zero",
            "soft_wait": 1.0,
            "ledger": "/ledger.db",
        },
    }


async def a_day(world: World, http: HttpVersion) -> None:
    """Bulk work beyond slots and budget, a session, and a drain."""
    async with world.open_engine(config(http)) as eng:
        async with eng.session("main") as session:
            await session.send({"type": "echo"})
            async with session.stream("gpt-4.1?respond=3", "Hi") as stream:
                await stream.completion()
        request = make_request("m", "Hi", max_tokens=20)
        assert len(await eng.settle([request] * 14, max_in_flight=6)) == 14
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(eng.settle, [request])
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(eng.drain)


def disturbed_day(seed: int, points: frozenset[str] | None = None) -> World:
    http: HttpVersion = "h2c" if seed % 2 else "auto"
    world = World(seed, plan=SOME_FAIL, http=http, buggify=True)
    assert world.disturbance is not None
    if points is not None:
        world.disturbance.chosen = points
    world.run(a_day, http)
    return world


def test_every_point_is_passed() -> None:
    passed: Counter[str] = Counter()
    for seed in (0, 1):
        world = disturbed_day(seed, frozenset(POINTS))
        assert world.disturbance is not None
        passed += world.disturbance.passed
    assert POINTS.keys() - passed.keys() == set()


def test_a_world_disturbs_the_points_that_its_seed_has_chosen() -> None:
    disturbance = disturbed_day(2).disturbance
    assert disturbance is not None
    assert disturbance.struck.keys() <= disturbance.chosen < POINTS.keys()
    assert disturbance.passed.keys() > disturbance.chosen & disturbance.passed.keys()


@pytest.mark.parametrize("seed", [4, 5])
def test_equal_seeds_give_equal_runs(seed: int) -> None:
    first, second = disturbed_day(seed), disturbed_day(seed)
    assert first.digest() == second.digest()
    assert first.disturbance is not None
    assert second.disturbance is not None
    assert first.disturbance.struck == second.disturbance.struck


def test_a_disturbed_world_goes_another_way() -> None:
    digests = set()
    for disturbed in (False, True):
        world = World(1, buggify=disturbed)
        world.run(random_traffic(world.dice, 10).run)
        digests.add(world.digest())
    assert len(digests) == 2


def test_a_world_that_fails_leaves_nothing_behind_and_says_how_to_see_it_again() -> None:
    async def main(world: World) -> None:
        assert buggify.world is world.disturbance
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        World(9, buggify=True).run(main)
    assert buggify.world is None
    assert "replay: World(9, buggify=True).run(main)" in caught.value.__notes__


def test_who_is_cancelled_after_its_row_was_written_leaves_no_reservation() -> None:
    world = World(1, buggify=True)
    assert world.disturbance is not None
    world.disturbance.chosen = frozenset({"ledger.written"})

    async def main(world: World) -> None:
        settings = config("auto") | {"budgets": {"daily": "1 USD", "ledger": "/ledger.db"}}
        async with world.open_engine(settings) as eng:
            for _ in range(40):
                with trio.move_on_after(0.006):
                    await eng.complete("m", "Hi", max_tokens=20)
            await trio.sleep(1)
            states = "SELECT DISTINCT state FROM attempts"
            assert ("sending",) not in world.disk.query("/ledger.db", states)

    world.run(main)
    assert world.disturbance.struck["ledger.written"] > 5
