"""Streams over the loopback, wave after wave: memory and descriptors stay where they were."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from streamnursery import ChatRequest, Engine, EngineError, open_engine
from streamnursery.simulator import Cut, Plan, Profile, Provider, Rule, Status, When, serve_loopback
from streamnursery.testing.quiescence import open_files
from tests.support.guard import at_rest

STREAMS = {"test": 400, "proof": 2000, "soak": 50_000}
AT_ONCE = 50
WAVES = 10
QUICK = Profile(ttft_mean=0.001, ttft_p95=0.001, tokens_per_second=5000, output_tokens=(5, 20))
FAULTS = Plan((Rule((Status(503),), When(every=7)), Rule((Cut(3),), When(every=11))))
RETRIES = {"base": 0.01, "cap": 0.02}
GROWTH = 8 * 1024 * 1024
"""Bytes that the process may grow by after the first waves: allocators are not exact."""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def wave(eng: Engine, count: int, dice: random.Random) -> int:
    """Run so many streams; a tenth of them is left early. How many had an outcome."""
    requests = [ChatRequest("m", [{"role": "user", "content": f"q{i}"}]) for i in range(count)]
    left = requests[: count // 10]
    settled = await eng.settle(requests[count // 10 :], max_in_flight=AT_ONCE)
    for request in left:
        with suppress(EngineError, trio.EndOfChannel):
            async with eng.stream(request) as stream:
                for _ in range(dice.randrange(3)):
                    await stream.receive()
    return len(settled) + len(left)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
async def test_waves_of_streams_leave_memory_and_descriptors_flat(tier: str) -> None:
    each, dice = STREAMS[tier] // WAVES, random.Random(3)
    sizes, files = list[int](), list[int]()
    provider = Provider(dice=random.Random(1), models={"m": QUICK}, plan=FAULTS, max_records=100)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        settings = {
            "endpoints": {"main": {"url": server.url}},
            "models": {
                "m": {"routes": [{"endpoint": "main"}], "max_streams": AT_ONCE, "retries": RETRIES}
            },
        }
        async with open_engine(settings) as eng:
            for _ in range(WAVES):
                assert await wave(eng, each, dice) == each
                await at_rest(eng)
                sizes.append(resident())
                files.append(len(open_files()))
        await server.stop()
    print(f"RSS of each wave, MiB: {[size >> 20 for size in sizes]}; descriptors: {files}")
    assert max(sizes[WAVES // 2 :]) - sizes[WAVES // 2 - 1] < GROWTH
    assert max(files) - files[0] <= 2 * AT_ONCE
