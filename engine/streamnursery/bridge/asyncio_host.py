"""An asyncio loop that waits for the engine's thread."""

import asyncio
import os
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from math import inf
from typing import Any

from streamnursery.bridge.asyncio_wait import ReaderWait
from streamnursery.bridge.hosting import Interruption, Spawned, nothing
from streamnursery.bridge.outbox import Border, HostOutbox, Mailbox
from streamnursery.pipeline.broadcast import LoopEvent


class AsyncioHost:
    """An asyncio loop, uvloop's included. Holds it weakly: a loop that its program has dropped
    must not stay because of us."""

    def __init__(self, loop: asyncio.AbstractEventLoop, border: Border) -> None:
        self.outbox = HostOutbox(border)
        self.gone: Callable[[], None] = nothing
        self._loop = weakref.ref(loop, self._dropped)
        self._event = _event_for(loop, self._awoken)

    def wake(self) -> None:
        event = self._event
        if event is None:
            self.call_soon(self._sweep)
            return
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._dropped(None)
        else:
            event.set()

    def close(self) -> None:
        """The engine has ended: leave nothing in the loop. From any thread."""
        event, self._event = self._event, None
        loop = self._loop()
        if event is not None and loop is not None:
            with suppress(RuntimeError):  # closed
                loop.call_soon_threadsafe(self._close_here, event)

    def _close_here(self, event: "_EventFd") -> None:
        asyncio.get_running_loop().remove_reader(event.fd)
        self._sweep()  # what the descriptor was to say

    def _awoken(self, event: "_EventFd") -> None:
        event.clear()
        self._sweep()

    def call_soon(self, function: Callable[[], None]) -> None:
        loop = self._loop()
        try:
            if loop is None:
                raise RuntimeError
            loop.call_soon_threadsafe(function)
        except RuntimeError:  # closed, which a check before the call could miss
            self._dropped(None)

    def _dropped(self, _: object) -> None:
        gone, self.gone = self.gone, nothing  # called once
        gone()

    def _sweep(self) -> None:
        boxes, more = self.outbox.sweep()
        if more:
            asyncio.get_running_loop().call_soon(self._sweep)
        self._notify(iter(boxes))

    def _notify(self, boxes: Iterator[Mailbox]) -> None:
        over = False
        try:
            for box in boxes:
                if box.notify is not None:
                    box.notify()
            over = True
        finally:
            if not over:  # a task has ended the loop, by a KeyboardInterrupt say
                asyncio.get_running_loop().call_soon(self._notify, boxes)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def caller_deadline(self) -> float:
        return inf  # `asyncio.timeout` ends a task by cancelling it, and says no date

    def task(self) -> object:
        return asyncio.current_task()

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    def event(self) -> LoopEvent:
        return asyncio.Event()

    async def wait(self, box: Mailbox, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        wait = ReaderWait(loop)
        box.notify = wait.wake
        timer = None if seconds is None else loop.call_later(seconds, wait.wake)
        try:
            await wait
        finally:
            box.notify = None
            if timer is not None:
                timer.cancel()

    async def wait_shielded(
        self, box: Mailbox, done: Callable[[], bool], seconds: float, *, for_over: bool = True
    ) -> bool:
        loop = asyncio.get_running_loop()
        cancelled: asyncio.CancelledError | None = None
        until = loop.time() + seconds
        while not done() and loop.time() < until:
            wait = ReaderWait(loop)
            box.notify = wait.wake
            timer = loop.call_at(until, wait.wake)
            try:
                if self.outbox.park(box, for_over=for_over):
                    await wait
            except asyncio.CancelledError as error:
                cancelled = error
            finally:
                timer.cancel()
                box.notify = None
        if cancelled is not None:
            raise cancelled
        return done()

    def spawn(self, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> Spawned:
        return _AsyncioTask(asyncio.get_running_loop().create_task(async_fn()))

    def interruption(self) -> Interruption:
        return _AsyncioInterruption()


class _EventFd:
    """Wakes a loop by one write and one read (eventfd(2)). `call_soon_threadsafe` of asyncio takes
    a handle, a write and two reads, of which the second fails."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        os.eventfd_read(self.fd)

    def __del__(self) -> None:
        # Not before: a thread that writes must not meet a number that was given away again.
        os.close(self.fd)


def _event_for(
    loop: asyncio.AbstractEventLoop, then: Callable[[_EventFd], None]
) -> _EventFd | None:
    """None where the loop's own way is as cheap (uvloop) or the only one."""
    if not hasattr(os, "eventfd") or not isinstance(loop, asyncio.SelectorEventLoop):
        return None
    event = _EventFd()
    loop.add_reader(event.fd, then, event)
    return event


class _AsyncioTask:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()

    async def stop(self, seconds: float) -> None:
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=seconds)

    async def wait(self, seconds: float) -> None:
        await asyncio.wait({self._task}, timeout=seconds)
        self._task.cancel()


class _AsyncioInterruption:
    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._fired = self._over = False

    def fire(self) -> None:
        if not self._over:
            self._fired = True
            self._task.cancel()

    def ended(self, error: BaseException | None) -> bool:
        self._over = True
        if not self._fired:
            return False
        # As asyncio.timeout does it: the cancel was ours if no other is left.
        others = self._task.uncancel() > self._before
        return isinstance(error, asyncio.CancelledError) and not others
