"""State machines of Hypothesis whose rules run in a simulated world.

    class Traffic(WorldMachine):
        @rule(prompt=st.text(min_size=1))
        @in_world
        async def ask(self, prompt):
            await self.engine.complete("fast", prompt, timeout=60)

    TestTraffic = Traffic.TestCase

Rule 1: virtual time passes only while a rule runs. What a rule starts in `self.nursery` goes on
        during the rules after it.
Rule 2: the world runs as a guest of the test: trio does a step when a rule waits for one, and
        there is no thread. A crash in the background is raised by the rule that comes upon it.
Rule 3: the teardown leaves the world, and so checks it, unless a rule has failed already.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from trio.testing import MockClock

from streamnursery.facade import Engine
from streamnursery.simulator import Plan
from streamnursery.testing.scheduling import pinned, reseed
from streamnursery.testing.world import World
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.settings import EngineConfig

if TYPE_CHECKING:
    from outcome import Outcome

M = TypeVar("M", bound="WorldMachine")
P = ParamSpec("P")
T = TypeVar("T")


class WorldMachine(RuleBasedStateMachine):
    """A machine with its own world, engine and nursery."""

    plan = Plan()
    """What goes wrong at the provider; override it."""
    config = EngineConfig()
    """Of the engine; without endpoints it gets the world's provider."""

    def __init__(self) -> None:
        super().__init__()
        self._guest = _SteppedRun(World(0, plan=self.plan), self.config)

    @property
    def world(self) -> World:
        return self._guest.world

    @property
    def engine(self) -> Engine:
        """Open from the first rule that is `in_world` to the teardown."""
        return self._guest.engine

    @property
    def nursery(self) -> trio.Nursery:
        """For what is to go on while other rules run; it is cancelled in the end."""
        return self._guest.nursery

    @initialize(seed=st.integers(0, 2**16))
    def schedule(self, seed: int) -> None:
        """Draws the order in which trio runs its tasks."""
        self._guest.begin()
        reseed(seed)

    def teardown(self) -> None:
        self._guest.end()


def in_world(
    async_fn: Callable[Concatenate[M, P], Awaitable[T]],
) -> Callable[Concatenate[M, P], T]:
    """Below `@rule`, `@invariant` or `@initialize`: run the async method in the machine's world."""

    @wraps(async_fn)
    def step(machine: M, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = machine._guest.call(partial(async_fn, machine, *args, **kwargs))
        return result

    return step


class _SteppedRun:
    """A trio run that makes its steps when it is called."""

    def __init__(self, world: World, config: EngineConfig) -> None:
        self.world = world
        self.engine: Engine
        self.nursery: trio.Nursery
        self._config = config
        self._steps: deque[Callable[[], object]] = deque()
        self._ended: Outcome[None] | None = None
        self._begun = False
        self._failed = False
        self._wishes, self._granted = trio.open_memory_channel[Callable[[], Awaitable[object]]](1)
        self._stack = ExitStack()

    def begin(self) -> None:
        """Open world and engine, if they are not."""
        if self._begun:
            return
        self._begun = True
        self._stack.enter_context(pinned(self.world.seed))
        trio.lowlevel.start_guest_run(
            self._live,
            run_sync_soon_threadsafe=self._steps.append,
            done_callback=self._end_with,
            clock=MockClock(autojump_threshold=0),
        )
        self._make_steps(lambda: hasattr(self, "nursery"))

    def call(self, wish: Callable[[], Awaitable[Any]]) -> Any:
        """What `await wish()` returns or raises."""
        self.begin()
        results: list[Any] = []

        async def fulfil() -> None:
            results.append(await wish())

        self._wishes.send_nowait(fulfil)
        self._make_steps(lambda: bool(results))
        return results[0]

    def end(self) -> None:
        """Close everything, and check it unless something has failed."""
        if not self._begun:
            return
        try:
            if self._ended is None:
                self._wishes.close()
                self._make_steps(lambda: self._ended is not None)
            if self._ended is not None and not self._failed:
                self._ended.unwrap()
        finally:
            self._stack.close()

    def _end_with(self, outcome: "Outcome[None]") -> None:
        self._ended = outcome

    def _make_steps(self, until: Callable[[], bool]) -> None:
        while not until():
            if self._ended is not None:
                self._failed = True
                self._ended.unwrap()
            self._steps.popleft()()

    async def _live(self) -> None:
        async with self.world.opened():
            async with self.world.open_engine(self._config) as self.engine:
                with bare_errors():
                    async with trio.open_nursery() as self.nursery:
                        async for wish in self._granted:
                            await wish()
                        self.nursery.cancel_scope.cancel()
