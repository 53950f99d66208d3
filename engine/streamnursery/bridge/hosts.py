"""Those who wait for the engine's thread: an event loop, or one plain thread.

Each has an outbox, a way to be woken from the engine's thread, and a way to wait for news of a
mailbox. Which one an `async` call waits in is decided per wait, by sniffio.
"""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

import sniffio
import trio

from streamnursery.bridge.asyncio_host import AsyncioHost
from streamnursery.bridge.hosting import AsyncHost
from streamnursery.bridge.outbox import Border, HostOutbox, Mailbox
from streamnursery.bridge.trio_host import TrioHost
from streamnursery.values.errors import RequestError


class SyncHost:
    """One thread that waits, with its own outbox, which it sweeps itself."""

    def __init__(self, border: Border) -> None:
        self.outbox = HostOutbox(border)
        self._signal: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        self._signal.put(None)

    def now(self) -> float:
        return time.monotonic()

    def task(self) -> object:
        """The thread that calls."""
        return threading.current_thread()

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


class AsyncHosts:
    """The event loops that use one engine."""

    def __init__(self, border: Border, gone: Callable[[AsyncHost], None]) -> None:
        """`gone` is called from the engine's thread, for a loop that was closed."""
        self._border = border
        self._gone = gone
        self._lock = threading.Lock()
        self._closed = False
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

    def close(self) -> None:
        """The engine has ended. In its thread."""
        with self._lock:
            self._closed = True
            hosts = list(self._asyncio.values())
        for host in hosts:
            host.close()

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> AsyncHost:
        host = self._asyncio.get(loop)
        if host is None:
            host = AsyncioHost(loop, self._border)
            found: AsyncHost = host
            host.gone = lambda: self._gone(found)
            with self._lock:
                self._asyncio[loop] = host
                closed = self._closed
            if closed:
                host.close()
        return host

    def _of_run(self, token: trio.lowlevel.TrioToken) -> AsyncHost:
        host = self._trio.get(token)
        if host is None:
            host = self._trio[token] = TrioHost(token, self._border)
            found: AsyncHost = host
            host.gone = lambda: self._gone(found)
        return host
