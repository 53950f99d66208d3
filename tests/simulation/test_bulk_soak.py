"""Many requests from one generator: what is pulled ahead is bounded, and nothing piles up."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import trio

from streamnursery import ChatRequest, Completion
from streamnursery.records import Timings
from streamnursery.scheduler.run import bulk
from streamnursery.simulator import Profile
from tests.support.scene import scene, virtual

IN_FLIGHT = 50
SIZES = {"test": 200, "proof": 3000, "soak": 100_000}
CALLS = {"test": 1000, "proof": 10_000, "soak": 1_000_000}
ANSWER = Completion((), None, Timings(0.0), "main/m", "m", None, None)
TINY = Profile(ttft_mean=0.1, ttft_p95=0.1, output_tokens=(1, 1))


def rss() -> int:
    """Bytes of memory that are in use now, as far as the system says."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Source:
    """A generator that counts what was taken."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    def __iter__(self) -> Iterator[ChatRequest]:
        for n in range(self.count):
            self.taken += 1
            yield ChatRequest("m", [{"role": "user", "content": str(n)}])


class Watch:
    """What is pulled ahead, and memory at every tenth of the way."""

    def __init__(self, source: Source, tier: str) -> None:
        self.source = source
        self.tier = tier
        self.done = 0
        self.ahead = 0
        self.sizes: list[int] = []

    def one(self) -> None:
        self.done += 1
        self.ahead = max(self.ahead, self.source.taken - self.done)
        if self.done % (self.source.count // 10) == 0:
            self.sizes.append(rss())
            if self.tier == "soak":
                print(self.done, self.sizes[-1] >> 20, "MiB", self.ahead, trio.current_time())

    def check(self) -> None:
        assert self.done == self.source.count
        assert self.ahead <= IN_FLIGHT + 1
        if self.tier == "soak":
            assert self.sizes[-1] <= 1.1 * self.sizes[0]


def test_a_long_source_is_pulled_on_demand_and_memory_stays_flat(tier: str) -> None:
    @virtual
    async def main() -> None:
        limits = {"max_streams": IN_FLIGHT}
        # The provider's own log is not what is looked at.
        async with scene(profile=TINY, model=limits, max_records=100) as s:
            source = Source(SIZES[tier])
            watch = Watch(source, tier)
            async with s.engine.as_completed(source, max_in_flight=IN_FLIGHT) as outcomes:
                async for outcome in outcomes:
                    assert outcome.ok
                    watch.one()
            watch.check()

    main()


def test_a_million_are_no_more_than_a_thousand(tier: str) -> None:
    """Calls of the caller's own under the same limits, where the answer costs nothing."""

    @virtual
    async def main() -> None:
        async with scene(model={"max_streams": IN_FLIGHT}) as s:
            source = Source(CALLS[tier])
            watch = Watch(source, tier)

            async def call(request: ChatRequest) -> Completion:
                async with s.engine.lease(request.model):
                    await trio.sleep(0.1)
                return ANSWER

            async with bulk.as_completed(bulk.answering(call), source, IN_FLIGHT) as outcomes:
                async for outcome in outcomes:
                    assert outcome.completion is ANSWER
                    watch.one()
            watch.check()

    main()
