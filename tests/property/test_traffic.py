"""Whatever traffic meets whatever faults: nothing is lost, doubled, reordered or left behind.

The world checks all of it when it is left; here is only the traffic.
"""

from collections import Counter

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from streamnursery import ChatRequest, EngineError
from streamnursery.simulator import Plan, Rule, Status, When
from streamnursery.testing import (
    World,
    WorldMachine,
    in_world,
    random_traffic,
    simulate,
    wait_quiescent,
)
from streamnursery.testing.load import Traffic
from streamnursery.testing.strategies import requests, traffic
from streamnursery.values.http import HttpVersion
from tests.conftest import TIER

SIZES = {"test": (8, 63), "proof": (100, 50), "soak": (5000, 100)}
"""Seeds, and streams for each of them; both over two versions of HTTP: a million in a soak."""
PARTS = 2 if TIER == "test" else 4


@pytest.mark.parametrize("http", ["auto", "h2c"])
@pytest.mark.parametrize("part", range(PARTS))
def test_big_traffic_keeps_every_promise(tier: str, part: int, http: HttpVersion) -> None:
    seeds, streams = SIZES[tier]
    tally: Counter[str] = Counter()
    faulty = 0
    for seed in range(part, seeds, PARTS):
        # Every other world disturbs the engine's own steps as well.
        world = World(seed, http=http, buggify=seed // PARTS % 2 == 1)
        tally += world.run(random_traffic(world.dice, streams).run)
        faulty += sum(bool(record.script) for record in world.provider.log)
    # The traffic is worth its while: much ends well, much does not, and in many ways.
    total = tally.total()
    assert total == len(range(part, seeds, PARTS)) * streams
    assert 0.3 < tally["finished"] / total < 0.9
    assert faulty > 0.4 * total
    assert {"cancelled", "left", "DeadlineError", "ConnectionLostError"} < tally.keys()


@simulate(traffic=traffic())
async def test_small_traffic_keeps_every_promise(world: World, traffic: Traffic) -> None:
    await traffic.run(world)


class Visitors(WorldMachine):
    """Requests come and go while limits change; whatever remains is served in the end."""

    plan = Plan((Rule((Status(503),), When(every=5)),))

    @rule(request=requests(), allowed=st.sampled_from((0.0, 0.1, 50.0)))
    @in_world
    async def come(self, request: ChatRequest, allowed: float) -> None:
        self.nursery.start_soon(self.visit, request, allowed)

    async def visit(self, request: ChatRequest, allowed: float) -> None:
        try:
            await self.engine.complete(request, timeout=allowed)
        except EngineError:
            self.world.note("a visitor was turned away")

    @rule(model=st.sampled_from((None, "fast", "gpt-4.1")), max_streams=st.integers(0, 3))
    @in_world
    async def change_limits(self, model: str | None, max_streams: int) -> None:
        self.engine.set_limits(model=model, max_streams=max_streams)

    @rule()
    @in_world
    async def cancel_all(self) -> None:
        self.engine.cancel_all()
        await wait_quiescent(self.engine)

    @rule(seconds=st.sampled_from((0.0, 0.05, 1.0, 30.0)))
    @in_world
    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    @invariant()
    @in_world
    async def counts_agree(self) -> None:
        statistics = self.engine.statistics()
        total = statistics.total
        # A task may outlive its request's outcome by a moment: it reads the last bytes.
        ended = total.succeeded + total.failed + total.cancelled
        assert ended <= total.requests <= ended + statistics.streams


TestVisitors = Visitors.TestCase
TestVisitors.settings = settings(stateful_step_count=15)
