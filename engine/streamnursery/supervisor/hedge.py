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
from streamnursery.supervisor.booking import Booking
from streamnursery.supervisor.ports import AttemptLease
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.errors import EngineError


@attrs.define(eq=False)
class Runner:
    """An attempt with its books and its lease."""

    attempt: Attempt
    booking: Booking
    lease: AttemptLease
    _scope: trio.CancelScope | None = attrs.field(default=None, init=False)
    """Of one that may lose."""
    _booked: bool = attrs.field(default=False, init=False)

    async def run(self) -> None:
        """To the attempt's end, whichever; what ended it stands in `attempt.error`."""
        if self.booking.recorder.listening:
            self.booking.started(self.attempt)
        try:
            if self._scope is None:
                await self.attempt.run()
            else:
                with self._scope:
                    await self.attempt.run()
        except EngineError:
            pass
        finally:
            self._book()
            self.lease.release()

    def race(self, may_claim: Callable[[], bool]) -> None:
        """Before it runs: there may be another one."""
        self._scope = trio.CancelScope()
        self.attempt.may_claim = may_claim

    def lose(self) -> None:
        """Another attempt owns the stream."""
        assert self._scope is not None, "who has not raced cannot lose"
        self._book()
        self.attempt.give_up()
        self._scope.cancel()

    def _book(self) -> None:
        if not self._booked:
            self._booked = True
            self.booking.over(self.attempt)


@attrs.define(eq=False)
class Race:
    """One attempt, and after `delay` seconds without content a second one beside it."""

    delay: float
    second: Callable[[Callable[[], bool]], Awaitable[Runner | None]]
    """Makes the second attempt, if everything for it is free now and it is still wanted when the
    money for it has been written down."""
    owner: Runner | None = attrs.field(default=None, init=False)
    _runners: list[Runner] = attrs.field(factory=list, init=False)
    _decided: trio.Event = attrs.field(factory=trio.Event, init=False)
    """The stream is owned, or the first attempt is over."""

    async def run(self, first: Runner) -> Attempt:
        """The attempt that counts: the owner of the stream, or else the first one."""
        self._enter(first)
        with bare_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, first)
                with trio.move_on_after(self.delay):
                    await self._decided.wait()
                if self._wanted():
                    hedge = await self.second(self._wanted)
                    if hedge is not None:
                        self._enter(hedge)
                        nursery.start_soon(self._run, hedge)
        return (self.owner or first).attempt

    def _wanted(self) -> bool:
        return not self._decided.is_set()

    def _enter(self, runner: Runner) -> None:
        self._runners.append(runner)
        runner.race(lambda: self._claim(runner))

    async def _run(self, runner: Runner) -> None:
        try:
            await runner.run()
        finally:
            self._decided.set()

    def _claim(self, runner: Runner) -> bool:
        if self.owner is None:
            self.owner = runner
            self._decided.set()
            for other in self._runners:
                if other is not runner:
                    other.lose()
        return self.owner is runner
