"""Cancels of asyncio, by each of its ways and in each phase of a stream: nothing is left, and
nothing is sent afterwards."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

import streamnursery.aio as sn
from streamnursery.simulator import (
    BlackHole,
    Delay,
    HangAfterDone,
    Plan,
    Profile,
    Stall,
)
from streamnursery.values.snapshot import StreamSnapshot
from tests.support.bridged import Hosted, aio_scene, at_rest, one_step, run, standing
from tests.support.guard import GUARD
from tests.support.scene import AT_ONCE, always

STREAMS = {"test": 3, "proof": 20, "soak": 300}
"""Of each way in each phase: 10,500 in the last tier, and 1,500 in each phase."""
NEVER = 1e9
Reader = Coroutine[Any, Any, None]


@attrs.frozen
class Phase:
    """What streams do when they are cancelled."""

    plan: Plan
    reached: Callable[[StreamSnapshot], bool]
    clock: Callable[[], MockClock] = standing
    slots: int = 1000
    profile: Profile = AT_ONCE
    held: bool = False
    """By a reader that reads no more."""


def waits_for(words: str) -> Callable[[StreamSnapshot], bool]:
    return lambda stream: words in (stream.waits_for or "")


def has_content(stream: StreamSnapshot) -> bool:
    return stream.content_events > 0 and stream.state == "streaming"


PHASES = {
    "queued": Phase(Plan(), lambda stream: stream.state == "queued", slots=0),
    "connecting": Phase(always(BlackHole()), waits_for("a connection to")),
    "sent": Phase(always(Delay(first_byte=NEVER)), waits_for("the answer of")),
    "head": Phase(always(Stall(0)), waits_for("content from")),
    "content": Phase(always(Stall(3)), has_content),
    "held back": Phase(
        Plan(),
        lambda stream: stream.state == "held back",
        profile=Profile(output_tokens=(5000, 5000)),
        held=True,
    ),
    "last read": Phase(
        always(HangAfterDone()),
        lambda stream: stream.state == "delivered",
        clock=lambda: MockClock(rate=1.0),
    ),
}


async def by_task(readers: list[Reader], reached: Awaitable[None]) -> list[object]:
    tasks = [asyncio.create_task(reader) for reader in readers]
    await reached
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def by_timeout(readers: list[Reader], reached: Awaitable[None]) -> list[object]:
    timeouts: list[asyncio.Timeout] = []

    async def bounded(reader: Reader) -> None:
        try:
            async with asyncio.timeout(None) as timeout:
                timeouts.append(timeout)
                await reader
        except TimeoutError:
            raise asyncio.CancelledError from None

    tasks = [asyncio.create_task(bounded(reader)) for reader in readers]
    await reached
    for timeout in timeouts:
        timeout.reschedule(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def bounded(reader: Reader) -> None:
    await asyncio.wait_for(reader, GUARD)


async def by_wait_for(readers: list[Reader], reached: Awaitable[None]) -> list[object]:
    return await by_task([bounded(reader) for reader in readers], reached)


async def by_group(readers: list[Reader], reached: Awaitable[None]) -> list[object]:
    ends: list[object] = []

    async def noted(reader: Reader) -> None:
        try:
            await reader
        except BaseException as error:
            ends.append(error)
            raise

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for reader in readers:
                group.create_task(noted(reader))
            await reached
            raise LookupError
    return ends


async def by_gather(readers: list[Reader], reached: Awaitable[None]) -> list[object]:
    tasks = [asyncio.ensure_future(reader) for reader in readers]
    gathered = asyncio.gather(*tasks)
    await reached
    gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered
    return await asyncio.gather(*tasks, return_exceptions=True)


WAYS = {
    "task": by_task,
    "timeout": by_timeout,
    "wait_for": by_wait_for,
    "group": by_group,
    "gather": by_gather,
}


def for_ever() -> Awaitable[object]:
    return asyncio.get_running_loop().create_future()


async def reader(eng: sn.Engine, phase: Phase) -> None:
    async with eng.stream("m", "Hi", buffer_events=16) as stream:
        if phase.held:
            await for_ever()
        async for _ in stream:
            pass
        await for_ever()  # behind the end, where the last bytes are read


async def complete(eng: sn.Engine) -> None:
    await eng.complete("m", "Hi")


async def settle(eng: sn.Engine) -> None:
    await eng.settle([sn.ChatRequest("m", "Hi")] * 3, max_in_flight=2)


async def until_all(eng: sn.Engine, phase: Phase, count: int) -> None:
    """One that reads its last bytes may be over before the last of them gets there."""
    while (await eng.statistics()).total.requests < count:
        pass
    while not all(map(phase.reached, (await eng.snapshot()).streams)):
        pass


async def nothing_left(eng: sn.Engine, hosted: Hosted) -> None:
    """The rest is checked where the scene is left: slots, buffers, connections, tasks."""
    asked = hosted.scene.asked
    await at_rest(eng)
    statistics = await eng.statistics()
    assert (statistics.active, statistics.queued, statistics.buffered_bytes) == (0, 0, 0)
    assert hosted.scene.asked == asked
    assert eng._bridge.left_behind == 0
    assert eng._bridge.thread.held == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_cancelled_task_leaves_nothing(tier: str, phase: str, way: str) -> None:
    async def main() -> None:
        where, count = PHASES[phase], STREAMS[tier]
        scene = aio_scene(
            where.plan,
            profile=where.profile,
            clock=where.clock(),
            engine={"max_streams": 2000},
        )
        async with scene as (eng, hosted):
            await eng.set_limits(model="m", max_streams=where.slots)
            readers = [reader(eng, where) for _ in range(count)]
            ends = await WAYS[way](readers, until_all(eng, where, count))
            assert Counter(map(type, ends)) == {asyncio.CancelledError: count}
            await nothing_left(eng, hosted)

    run(main)


def test_a_second_cancel_while_leaving_is_delivered_when_all_is_over(tier: str) -> None:
    async def main() -> None:
        scene = aio_scene(always(Stall(3)), profile=AT_ONCE, clock=standing())
        async with scene as (eng, hosted):
            for number in range(STREAMS[tier]):
                task = asyncio.create_task(reader(eng, PHASES["content"]))
                await until_all(eng, PHASES["content"], number + 1)
                task.cancel()
                await one_step(task)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await nothing_left(eng, hosted)

    run(main)


def test_a_cancel_after_any_number_of_steps_leaves_nothing(tier: str) -> None:
    """Also before the engine has heard of the stream."""

    async def main() -> None:
        scene = aio_scene(always(Stall(3)), profile=AT_ONCE, clock=standing())
        async with scene as (eng, hosted):
            for steps in range(10 * STREAMS[tier]):
                work: Callable[[], Reader] = (
                    lambda: complete(eng),
                    lambda: reader(eng, PHASES["content"]),
                    lambda: settle(eng),
                )[steps % 3]
                task = asyncio.create_task(work())
                for _ in range(steps // 3 % 30):
                    await one_step(task)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await nothing_left(eng, hosted)

    run(main)
