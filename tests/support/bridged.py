"""An engine in a thread of its own on a virtual clock, for tests whose host is real.

The clock jumps whenever the engine has nothing to do, so no wait of a provider takes time. A test
waits for what it can see, bounded by `GUARD`. Leaving the block checks the engine as `scene` does.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import attrs
import trio
from trio.testing import MockClock

from streamnursery import Engine, aio, sync
from streamnursery.aio.opening import AioEngineBlock
from streamnursery.bridge.opened import EngineOpening
from streamnursery.simulator import Plan, Profile
from streamnursery.sync.opening import SyncEngineBlock
from tests.support.guard import GUARD
from tests.support.scene import PACED, Scene, scene

T = TypeVar("T")


@attrs.define
class Hosted:
    """What a test sees of the engine's side."""

    scenes: list[Scene] = attrs.field(factory=list)

    @property
    def scene(self) -> Scene:
        return self.scenes[0]

    def opening(
        self, plan: Plan | None, profile: Profile, clock: MockClock | None, options: dict[str, Any]
    ) -> EngineOpening:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Engine]:
            async with scene(plan, profile=profile, **options) as found:
                self.scenes.append(found)
                yield found.engine

        clock = clock or MockClock(autojump_threshold=0)
        return EngineOpening(opened(), (__file__, 1), clock)


@asynccontextmanager
async def aio_scene(
    plan: Plan | None = None,
    *,
    profile: Profile = PACED,
    clock: MockClock | None = None,
    **options: Any,
) -> AsyncIterator[tuple[aio.Engine, Hosted]]:
    """`scene` for asyncio. A `clock` of `standing()` does not jump: what is silent stays so."""
    hosted = Hosted()
    async with AioEngineBlock(hosted.opening(plan, profile, clock, options), ()) as engine:
        engine._bridge.seconds_to_leave = GUARD  # a slow machine is no failure
        yield engine, hosted
        await at_rest(engine)


@contextmanager
def sync_scene(
    plan: Plan | None = None,
    *,
    profile: Profile = PACED,
    clock: MockClock | None = None,
    **options: Any,
) -> Iterator[tuple[sync.Engine, Hosted]]:
    """`scene` for threads."""
    hosted = Hosted()
    with SyncEngineBlock(hosted.opening(plan, profile, clock, options)) as engine:
        engine._bridge.seconds_to_leave = GUARD
        yield engine, hosted


def standing() -> MockClock:
    """A clock on which no time passes."""
    return MockClock()


async def at_rest(engine: aio.Engine) -> None:
    """Until nothing runs in it: what was left is over a few steps later."""
    async with asyncio.timeout(GUARD):
        while (await engine.statistics()).streams:
            pass


def run(main: Callable[[], Awaitable[T]]) -> T:
    """`asyncio.run` in debug mode, which finds what was not awaited and calls from other threads;
    a test that hangs is ended."""

    async def guarded() -> T:
        async with asyncio.timeout(GUARD):
            return await main()

    return asyncio.run(guarded(), debug=True)


async def in_engine(engine: aio.Engine, seconds: float) -> None:
    """Until so many seconds have passed on the engine's clock."""

    async def sleep(_: Engine) -> None:
        await trio.sleep(seconds)

    await engine._bridge.ask_task(sleep)


async def later(passed: threading.Event) -> None:
    """For the engine's nursery: 1,000 seconds later on its clock."""
    await trio.sleep(1000)
    passed.set()


async def one_step(task: asyncio.Future[Any]) -> None:
    """Let the loop run once."""
    await asyncio.wait({task}, timeout=0)


def in_threads(*functions: Callable[[], object]) -> None:
    """Run each in a thread of its own, to the end; the first error is raised."""
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f,), daemon=True) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
