"""Attempts of one request that are open at once: the first one with content owns the stream.

Rule 1: the first attempt to claim the stream has it for good. In that instant, before its
        first batch can be read, every other attempt has lost: its record is put down, as of
        unknown cost, its sink takes nothing more, and its task is being cancelled.
Rule 2: a second attempt is made only if everything it needs is free now. It never queues, is paid
        for by the retry budget of its endpoint, and has its own idempotency key.
Rule 3: an attempt that fails while another one is open is not an outcome. When all have failed, the
        failure of the first decides what comes next.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio

from streamnursery.supervisor.attempt import Attempt
from streamnursery.transport.single_errors import bare_errors


@attrs.define(eq=False)
class Racer:
    """An attempt that may lose."""

    attempt: Attempt
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def run(self) -> None:
        """As `Attempt.run`."""
        with self._scope:
            await self.attempt.run()

    def lose(self) -> None:
        """Another attempt owns the stream."""
        self.attempt.book()
        self.attempt.give_up()
        self._scope.cancel()


@attrs.define(eq=False)
class Race:
    """One attempt, and after `delay` seconds without content a second one beside it."""

    delay: float
    second: Callable[[Callable[[], bool]], Awaitable[Attempt | None]]
    """Makes the second attempt, if everything for it is free now and it is still wanted when the
    money for it has been written down."""
    owner: Racer | None = attrs.field(default=None, init=False)
    _racers: list[Racer] = attrs.field(factory=list, init=False)
    _decided: trio.Event = attrs.field(factory=trio.Event, init=False)
    """The stream is owned, or the first attempt is over."""

    async def run(self, first: Attempt) -> Attempt:
        """The attempt that counts: the owner of the stream, or else the first one."""
        with bare_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, self._enter(first))
                with trio.move_on_after(self.delay):
                    await self._decided.wait()
                if self._wanted():
                    hedge = await self.second(self._wanted)
                    if hedge is not None:
                        nursery.start_soon(self._run, self._enter(hedge))
        return first if self.owner is None else self.owner.attempt

    def _wanted(self) -> bool:
        return not self._decided.is_set()

    def _enter(self, attempt: Attempt) -> Racer:
        racer = Racer(attempt)
        self._racers.append(racer)
        attempt.may_claim = lambda: self._claim(racer)
        return racer

    async def _run(self, racer: Racer) -> None:
        try:
            await racer.run()
        finally:
            self._decided.set()

    def _claim(self, racer: Racer) -> bool:
        if self.owner is None:
            self.owner = racer
            self._decided.set()
            for other in self._racers:
                if other is not racer:
                    other.lose()
        return self.owner is racer
