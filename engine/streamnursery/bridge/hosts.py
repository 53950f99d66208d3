"""Those who wait for the engine's thread: an asyncio loop, a trio run, or one plain thread.

Each has an outbox, a way to be woken from the engine's thread, and a way to wait for news of a
mailbox. Which one an `async` call waits in is decided per wait, by sniffio.
"""

import asyncio
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import sniffio
import trio

from streamnursery.bridge.outbox import Border, HostOutbox, Mailbox
from streamnursery.pipeline.broadcast import LoopEvent
from streamnursery.values.errors import RequestError


class AsyncHost(Protocol):
    """Where coroutines wait."""

    outbox: HostOutbox
    gone: Callable[[], None]
    """Called from the engine's thread when this host can be woken no more."""

    def wake(self) -> None: ...

    def now(self) -> float:
        """On the clock that `deadline=` goes by here."""

    def caller_deadline(self) -> float:
        """Of the scopes around the caller, on the same clock."""

    async def checkpoint(self) -> None: ...

    def event(self) -> "LoopEvent":
        """A new one, for tasks of this host."""

    async def wait(self, box: Mailbox, seconds: float | None = None) -> None:
        """Until a sweep names `box`, which is parked, or for so long. A cancel ends it."""

    async def wait_shielded(
        self, box: Mailbox, done: Callable[[], bool], seconds: float, *, for_over: bool = True
    ) -> bool:
        """Until `done`, looked at with each sweep that names `box`, or for so long; whether it is.
        With `for_over` what is unread is no news. A cancel meanwhile is delivered afterwards."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` here, from any thread; not at all when this host has gone."""

    def spawn(self, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> "Spawned":
        """Run a task here, which must not raise; from this host's own thread."""

    def interruption(self) -> "Interruption":
        """A way to interrupt the caller's own task."""


class Spawned(Protocol):
    """A task of a host."""

    async def stop(self, seconds: float) -> None:
        """Cancel it, and wait for its end, but no longer."""

    async def wait(self, seconds: float) -> None:
        """Wait for its end, and no longer: then it is cancelled."""


class Interruption(Protocol):
    """Ends a block by a cancel of the task that runs it, and tells that cancel from others."""

    def fire(self) -> None:
        """In the task's own thread. Does nothing once the block has ended."""

    def ended(self, error: BaseException | None) -> bool:
        """The block has ended, with `error`; whether that is what `fire` has done."""


class AsyncioHost:
    """An asyncio loop, uvloop's included. Holds it weakly: a loop that its program has dropped
    must not stay because of us."""

    def __init__(self, loop: asyncio.AbstractEventLoop, border: Border) -> None:
        self.outbox = HostOutbox(border)
        self.gone: Callable[[], None] = _nothing
        self._loop = weakref.ref(loop, self._dropped)

    def wake(self) -> None:
        self.call_soon(self._sweep)

    def call_soon(self, function: Callable[[], None]) -> None:
        loop = self._loop()
        try:
            if loop is None:
                raise RuntimeError
            loop.call_soon_threadsafe(function)
        except RuntimeError:  # closed, which a check before the call could miss
            self.gone()

    def _dropped(self, _: object) -> None:
        self.gone()

    def _sweep(self) -> None:
        boxes, more = self.outbox.sweep()
        for box in boxes:
            if box.notify is not None:
                box.notify()
        if more:
            asyncio.get_running_loop().call_soon(self._sweep)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def caller_deadline(self) -> float:
        return inf  # `asyncio.timeout` ends a task by cancelling it, and says no date

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    def event(self) -> LoopEvent:
        return asyncio.Event()

    async def wait(self, box: Mailbox, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        box.notify = partial(_wake, future)
        timer = None if seconds is None else loop.call_later(seconds, box.notify)
        try:
            await future
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
            future = loop.create_future()
            box.notify = partial(_wake, future)
            timer = loop.call_at(until, box.notify)
            try:
                if self.outbox.park(box, for_over=for_over):
                    await future
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


class _AsyncioTask:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

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
        # As asyncio.timeout does it: the cancel was ours if nobody else's is left.
        others = self._task.uncancel() > self._before
        return isinstance(error, asyncio.CancelledError) and not others


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class TrioHost:
    """A trio run other than the engine's."""

    def __init__(self, token: trio.lowlevel.TrioToken, border: Border) -> None:
        self.outbox = HostOutbox(border)
        self.gone: Callable[[], None] = _nothing
        self._token = token

    def wake(self) -> None:
        self.call_soon(self._sweep)

    def call_soon(self, function: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            self.gone()

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


class SyncHost:
    """One thread that waits, with an outbox of its own: nobody sweeps for it."""

    def __init__(self, border: Border) -> None:
        self.outbox = HostOutbox(border)
        self._signal: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        self._signal.put(None)

    def now(self) -> float:
        return time.monotonic()

    def wait(self, box: Mailbox, *, for_over: bool = False, seconds: float | None = None) -> None:
        """Until there is news of `box`, or for so long; it may come back without. Ctrl-C ends it
        in the main thread."""
        self.outbox.sweep()  # also what a wait before has left that Ctrl-C ended
        if self.outbox.park(box, for_over=for_over):
            self._wait(seconds)

    def wait_to_read(self, box: Mailbox, report: Callable[[Mailbox], None]) -> None:
        """The same for a reader that is done with what it took before. `report` is called if the
        engine wants to hear of that."""
        self.outbox.sweep()
        parked, due = self.outbox.ask(box)
        if due:
            report(box)
        if parked:
            self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        with suppress(Empty):
            self._signal.get(timeout=seconds)


def _nothing() -> None:
    pass


class AsyncHosts:
    """The event loops that use one engine."""

    def __init__(self, border: Border, gone: Callable[[AsyncHost], None]) -> None:
        """`gone` is called from the engine's thread, for a loop that was closed."""
        self._border = border
        self._gone = gone
        self._asyncio: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncioHost] = (
            weakref.WeakKeyDictionary()
        )
        self._trio: weakref.WeakKeyDictionary[trio.lowlevel.TrioToken, TrioHost] = (
            weakref.WeakKeyDictionary()
        )

    def current(self) -> AsyncHost:
        """The one that runs the caller.

        Raises:
            RequestError: it is run by neither asyncio nor trio.
        """
        try:
            library = sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            library = "none"
        if library == "asyncio":
            return self._of_loop(asyncio.get_running_loop())
        if library == "trio":
            return self._of_run(trio.lowlevel.current_trio_token())
        msg = (
            "streamnursery.aio is awaited under asyncio or trio; without an event loop use "
            "streamnursery.sync"
        )
        raise RequestError(msg)

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> AsyncHost:
        host = self._asyncio.get(loop)
        if host is None:
            host = self._asyncio[loop] = AsyncioHost(loop, self._border)
            found: AsyncHost = host
            host.gone = lambda: self._gone(found)
        return host

    def _of_run(self, token: trio.lowlevel.TrioToken) -> AsyncHost:
        host = self._trio.get(token)
        if host is None:
            host = self._trio[token] = TrioHost(token, self._border)
            found: AsyncHost = host
            host.gone = lambda: self._gone(found)
        return host
