"""How a test waits where time is real: for an event, and never for an amount of seconds.

What a machine does in a second depends on what else it runs. So nothing here measures: `GUARD` ends
a test that hangs, `until` waits for what a test can see, and `Rounds` counts moments in rounds of
trio's scheduler, of which a slow machine needs as many as a fast one.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, AnyStr

import trio

from streamnursery import Engine
from streamnursery.testing.quiescence import remains

if TYPE_CHECKING:
    import subprocess

GUARD = 60.0
"""Seconds after which a single wait counts as a hang. Nothing that works comes near it."""


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks run until `condition` holds.

    Raises:
        trio.TooSlowError: it does not hold within `GUARD`.
    """
    with trio.fail_after(GUARD):
        while not condition():
            await trio.lowlevel.checkpoint()


async def at_rest(engine: Engine) -> None:
    """Until nothing is under way in it."""
    await until(lambda: not remains(engine))


@contextmanager
def guarded(process: "subprocess.Popen[AnyStr]") -> Iterator["subprocess.Popen[AnyStr]"]:
    """A process that ends with the block. A read of its output has no timeout of its own: a
    process that has not ended after `GUARD` is killed, so that the read meets the end."""
    timer = threading.Timer(GUARD, process.kill)
    timer.start()
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
    finally:
        timer.cancel()
        timer.join()


class Rounds:
    """Rounds of trio's scheduler, counted from the first one; a clock for random moments.

    It keeps the scheduler busy: time between two rounds is what the other tasks take.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.count = 0
        self._due: defaultdict[int, list[trio.CancelScope]] = defaultdict(list)
        nursery.start_soon(self._run)

    def cancelled_after(self, rounds: int) -> trio.CancelScope:
        """A scope that is cancelled so many rounds from now."""
        scope = trio.CancelScope()
        self._due[self.count + max(rounds, 1)].append(scope)
        return scope

    async def _run(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.count += 1
            for scope in self._due.pop(self.count, ()):
                scope.cancel()
