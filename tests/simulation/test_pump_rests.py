"""A pump that may let reads come together, on a virtual clock."""

import pytest
import trio
from trio.testing import MockClock

from streamnursery.core.measure.moderation import MAX_REST
from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.testing import World
from streamnursery.transport.pump import Readers
from tests.support.rounds import Reads

STREAMS = 100


class Rounds(trio.abc.Instrument):
    """The instants at which the pump ran."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == "pump":
            self.times.append(trio.current_time())


async def paced(connection: PipeConnection, rate: float, phase: float, seconds: float) -> None:
    """Send the time, `rate` times a second."""
    await trio.sleep(phase / rate)
    for _ in range(round(rate * seconds)):
        connection.send_nowait(b"%.9f " % trio.current_time(), apart=True)
        await trio.sleep(1 / rate)


async def delays(rate: float, max_added_latency: float, rounds: Rounds) -> list[float]:
    """How long each of the reads of `STREAMS` streams waited, in order of their reading."""
    waited: list[float] = []

    def note(reads: Reads) -> bool:
        sent = float((reads.rounds[-1] or b"").split()[0])
        waited.append(trio.current_time() - sent)
        return True

    async with trio.open_nursery() as nursery:
        readers = Readers(nursery, max_added_latency=max_added_latency)
        async with trio.open_nursery() as senders:
            for n in range(STREAMS):
                ours, theirs = pipe()
                readers.start(Reads(ours, note))
                senders.start_soon(paced, theirs, rate, n / STREAMS, 1.0)
            trio.lowlevel.add_instrument(rounds)
        await trio.sleep(1)
        readers.close()
    trio.lowlevel.remove_instrument(rounds)
    return waited


async def test_a_busy_pump_reads_many_at_one_wake_up_and_holds_none_longer_than_granted(
    autojump_clock: MockClock,
) -> None:
    at_once, resting = Rounds(), Rounds()
    assert max(await delays(50, 0.0, at_once)) == pytest.approx(0, abs=1e-6)
    waited = await delays(50, MAX_REST, resting)
    assert len(waited) == 50 * STREAMS
    assert 0 < max(waited) <= MAX_REST + 1e-6
    # 5,000 reads a second: 25 come together in 5 ms. Two task steps to each rest.
    assert len(resting.times) < len(at_once.times) / 5


async def test_less_may_be_granted(autojump_clock: MockClock) -> None:
    assert max(await delays(50, 0.002, Rounds())) <= 0.002 + 1e-6


async def test_a_quiet_pump_reads_at_once(autojump_clock: MockClock) -> None:
    assert max(await delays(5, MAX_REST, Rounds())) == pytest.approx(0, abs=1e-6)


async def test_a_rest_can_be_cancelled(autojump_clock: MockClock) -> None:
    ours, theirs = pipe()
    with trio.move_on_after(0.1):
        async with trio.open_nursery() as nursery:
            readers = Readers(nursery, max_added_latency=60.0)
            reads = Reads(ours)
            readers.start(reads)
            await paced(theirs, 5_000, 0, 1)
    assert reads.abandoned == ["the transport was closed"]


def test_the_engine_grants_what_its_configuration_says() -> None:
    async def steps(world: World, max_added_latency: float | None) -> int:
        rounds = Rounds()
        config = world.config(default_max_streams=60, max_added_latency=max_added_latency)
        async with world.open_engine(config) as eng:
            trio.lowlevel.add_instrument(rounds)
            async with trio.open_nursery() as nursery:
                for _ in range(60):
                    nursery.start_soon(eng.complete, "gpt-4.1", "Hello")
            trio.lowlevel.remove_instrument(rounds)
        return len(rounds.times)

    async def main(world: World) -> None:
        assert await steps(world, 0.005) < await steps(world, None) / 1.5

    World(1).run(main)
