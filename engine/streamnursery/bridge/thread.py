"""The engine's thread: its own trio run, which other threads give calls to.

Rule 1: a call never waits in the engine's thread, and what it raises is its own failure: out of
        `run_sync_soon` an exception would end the run and every stream with it.
Rule 2: one wake-up for a burst of calls. They run in the order in which they were given.
Rule 3: every call is run or failed, once: also those that come when the run is ending.
Rule 4: the process always ends. The thread is a daemon; at exit its engine is closed, and waited
        for, one second at most. A forked child has no such thread, and every call in it says so.
"""

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Protocol

import trio

from streamnursery.bridge.channel import Crossings
from streamnursery.facade import Engine
from streamnursery.values.errors import EngineClosedError

SECONDS_AT_EXIT: Final = 1.0


class Crossing(Protocol):
    """A call on its way into the engine's thread."""

    def run(self, thread: "EngineThread") -> None:
        """In the engine's thread; must not wait."""

    def fail(self, error: BaseException) -> None:
        """It will not be run, or has raised; from any thread."""


class Held(Protocol):
    """What a host holds in the engine."""

    @property
    def host(self) -> object: ...

    def abandon(self) -> None:
        """End it, without a word to the host."""


class EngineThread:
    """Runs one engine. `start`, then `post` from any thread, then `stop`."""

    def __init__(
        self,
        opening: Callable[[], AbstractAsyncContextManager[Engine]],
        *,
        clock: trio.abc.Clock | None = None,
    ) -> None:
        """`clock` replaces trio's own."""
        self.crossings = Crossings()
        self.failure: BaseException | None = None
        """What ended the run, if it was an error."""
        self.on_end: list[Callable[[], None]] = []
        """Called in the engine's thread when its run is over; must not raise."""
        self.closers: dict[Callable[[], None], None] = {}
        """Called in the engine's thread when it begins to close; must not raise."""
        self.held: dict[Held, None] = {}
        """What runs for hosts."""
        self._opening = opening
        self._clock = clock
        self._lock = threading.RLock()  # a finalizer may post in the middle of a post
        self._calls: deque[Crossing] = deque()
        self._armed = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._engine: Engine | None = None
        self._nursery: trio.Nursery | None = None
        self._stop: trio.Event | None = None
        self._stopping = False
        self._closed = False
        self._forked = False
        self._thread = threading.Thread(target=self._main, name="streamnursery", daemon=True)

    @property
    def engine(self) -> Engine:
        """In the engine's thread alone."""
        assert self._engine is not None
        return self._engine

    @property
    def ended(self) -> bool:
        """No call can be given any more."""
        return self._closed or self._forked

    def start(self) -> None:
        """Begin the run. Calls may be given at once; they run when the engine is open."""
        _live.add(self)
        self._thread.start()

    def post(self, call: Crossing) -> None:
        """Have `call` run soon.

        Raises:
            EngineClosedError: the engine is closed, or was opened in another process.
        """
        self._check_process()
        with self._lock:
            if self._closed:
                raise self._why_closed()
            self._calls.append(call)
            if self._armed or self._token is None:
                return
            self._armed = True
            # A run that is over takes no call any more, and `_main` has not come to the lock yet:
            # it fails what it finds in the queue.
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._run_calls)

    def abandon(self, host: object) -> None:
        """End what `host` holds; in the engine's thread."""
        for held in tuple(self.held):
            if held.host is host:
                held.abandon()

    def spawn(self, async_fn: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a task beside the engine, which it ends with; in the engine's thread. It must not
        raise."""
        assert self._nursery is not None
        self._nursery.start_soon(async_fn, name=name)

    def stop(self) -> None:
        """Have the engine close; returns at once. Idempotent."""
        if self._forked:
            return
        with self._lock:
            self._stopping = True
            if self._token is not None and not self._closed:
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._stop_now, idempotent=True)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is over; whether it is."""
        if not self._forked:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def closed_error(self) -> EngineClosedError:
        error = EngineClosedError("the engine was closed")
        error.__cause__ = self.failure
        return error

    def _why_closed(self) -> BaseException:
        """Of an engine that was never opened the callers hear why."""
        if self._engine is None and self.failure is not None:
            return self.failure
        return self.closed_error()

    def forked(self) -> None:
        """This is the child of a fork: no thread came along, and locks are as they were."""
        self._forked = True

    def _check_process(self) -> None:
        if self._forked:
            msg = (
                "this engine was opened in another process, and its thread stayed there: open one "
                f"in this process ({os.getpid()}), after the fork"
            )
            raise EngineClosedError(msg)

    # In the engine's thread. -------------------------------------------------------------------

    def _main(self) -> None:
        try:
            trio.run(self._run, clock=self._clock)
        except BaseException as error:  # noqa: BLE001 - raised to the opener
            self.failure = error
        with self._lock:
            self._closed = True
            left = list(self._calls)
            self._calls.clear()
        for call in left:
            _failed(call, self._why_closed())
        _live.discard(self)
        for tell in self.on_end:
            tell()

    async def _run(self) -> None:
        self._stop = trio.Event()
        async with self._opening() as engine:
            async with trio.open_nursery() as nursery:
                self._engine = engine
                engine._buffers.refresh = self.crossings.collect
                self._nursery = nursery
                with self._lock:
                    self._token = trio.lowlevel.current_trio_token()
                    stopping = self._stopping
                self._run_calls()
                if not stopping:
                    await self._stop.wait()
                nursery.cancel_scope.cancel()

    def _stop_now(self) -> None:
        assert self._stop is not None
        self._stop.set()
        for close in tuple(self.closers):
            close()

    def _run_calls(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, deque()
            self._armed = False
        for call in calls:
            try:
                call.run(self)
            except BaseException as error:  # noqa: BLE001 - it belongs to the call
                _failed(call, error)


def _failed(call: Crossing, error: BaseException) -> None:
    try:
        call.fail(error)
    except Exception:  # noqa: BLE001 - the other calls are to hear of it all the same
        hook: Any = threading.excepthook
        hook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


_live: "weakref.WeakSet[EngineThread]" = weakref.WeakSet()


def _after_fork() -> None:
    for thread in list(_live):
        thread.forked()
    _live.clear()


def _at_exit() -> None:
    # No thread can be started any more, and none has to: the engine's own does all of it.
    threads = list(_live)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(SECONDS_AT_EXIT / len(threads))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
