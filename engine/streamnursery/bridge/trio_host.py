"""A trio run, other than the engine's, that waits for the engine's thread."""

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from math import inf
from typing import Any

import trio

from streamnursery.bridge.hosting import Interruption, Spawned, nothing
from streamnursery.bridge.outbox import Border, HostOutbox, Mailbox
from streamnursery.pipeline.broadcast import LoopEvent


class TrioHost:
    """A trio run other than the engine's."""

    def __init__(self, token: trio.lowlevel.TrioToken, border: Border) -> None:
        self.outbox = HostOutbox(border)
        self.gone: Callable[[], None] = nothing
        self._token = token

    def wake(self) -> None:
        self.call_soon(self._sweep)

    def call_soon(self, function: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            gone, self.gone = self.gone, nothing  # called once
            gone()

    def _sweep(self) -> None:
        boxes, more = self.outbox.sweep()
        for box in boxes:
            if box.notify is not None:
                box.notify()
        if more:
            self._token.run_sync_soon(self._sweep)

    def now(self) -> float:
        return trio.current_time()

    def caller_deadline(self) -> float:
        return trio.current_effective_deadline()

    def task(self) -> object:
        return trio.lowlevel.current_task()

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    def event(self) -> LoopEvent:
        return trio.Event()

    async def wait(self, box: Mailbox, seconds: float | None = None) -> None:
        with trio.move_on_after(inf if seconds is None else seconds):
            await self._wait(box)

    async def _wait(self, box: Mailbox) -> None:
        task = trio.lowlevel.current_task()

        def wake() -> None:
            box.notify = None
            trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            box.notify = None
            return trio.lowlevel.Abort.SUCCEEDED

        box.notify = wake
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def wait_shielded(
        self, box: Mailbox, done: Callable[[], bool], seconds: float, *, for_over: bool = True
    ) -> bool:
        with trio.move_on_after(seconds, shield=True):
            while not done():
                if self.outbox.park(box, for_over=for_over):
                    await self._wait(box)
        return done()

    def spawn(self, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> Spawned:
        return _TrioTask(async_fn)

    def interruption(self) -> Interruption:
        return _TrioInterruption()


class _TrioTask:
    def __init__(self, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._async_fn = async_fn
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        trio.lowlevel.spawn_system_task(self._run, context=copy_context())

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._async_fn()
        finally:
            self._over.set()

    def cancel(self) -> None:
        self._scope.cancel()

    async def stop(self, seconds: float) -> None:
        self._scope.cancel()
        await self.wait(seconds)

    async def wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds, shield=True):
            await self._over.wait()
        self._scope.cancel()


class _TrioInterruption:
    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._scope.__enter__()

    def fire(self) -> None:
        self._scope.cancel()

    def ended(self, error: BaseException | None) -> bool:
        kind = None if error is None else type(error)
        trace = None if error is None else error.__traceback__
        return bool(self._scope.__exit__(kind, error, trace))
