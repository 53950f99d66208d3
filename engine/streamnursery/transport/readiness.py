"""Says which of many connections can be read now.

Rule 1: what is ready is reported as watches, not as descriptors. A descriptor that is closed in a
        round may be another connection's before the round is over; the watch on the old one is
        stopped by then, and the new one was not asked about.
Rule 2: level-triggered: what a round leaves unread is ready again in the next.
Rule 3: bytes can wait above a descriptor, decrypted or broken: a connection whose `readable_at`
        has come is ready, whatever the descriptor says.
Rule 4: stopping takes the watch out at once, so a paused stream costs nothing.
"""

import select
import sys
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Protocol, cast

import trio

from streamnursery.transport.reader import Readable

if TYPE_CHECKING:
    from streamnursery.transport.network import Announcing

MAX_READY = 64
"""Connections that one round reads at most, so that consumers have their turn between rounds."""
_STOPPED = -inf


class WatchedResponse:
    """A response that is watched; implements `Reading`."""

    __slots__ = ("active", "announces", "at", "connection", "fd", "response", "source")

    def __init__(self, source: "Readiness", response: Readable, fd: int = -1) -> None:
        self.source = source
        self.response = response
        self.connection = response.connection
        self.announces = hasattr(response.connection, "readable_at")
        self.fd = fd
        self.at = inf
        """When it is ready, where that is known."""
        self.active = True

    def stop(self) -> None:
        if self.active:
            self.active = False
            self.source.remove(self)

    async def catch_up(self) -> bool:
        """As `Reading`. Read here: a pump that has much to do may come to it late."""
        found = self.active and self.response.poll()
        if self.active and self.announces:
            self.source.again(self)
        await trio.lowlevel.checkpoint()
        return found


class Readiness(Protocol):
    """A source of news about connections; one task waits on it."""

    def add(self, response: Readable) -> WatchedResponse:
        """Watch `response` until the watch is stopped."""

    def remove(self, watch: WatchedResponse) -> None:
        """What `WatchedResponse.stop` calls."""

    def again(self, watch: WatchedResponse) -> None:
        """It was read once and wants to be read on; asked for only if it `announces`."""

    async def wait(self) -> None:
        """Return when `take` may have something; a checkpoint in any case."""

    def take(self) -> list[WatchedResponse]:
        """What is ready, each once. A watch may be stopped before its turn comes."""

    def watches(self) -> list[WatchedResponse]:
        """All that are active."""

    def close(self) -> None:
        """Give the descriptor back, if there is one. Idempotent."""


class EpollReadiness:
    """Sockets: one descriptor for all of them, which trio waits for."""

    def __init__(self) -> None:
        assert sys.platform == "linux"
        self._epoll = select.epoll()
        self._fd = self._epoll.fileno()
        self._watches: dict[int, WatchedResponse] = {}
        self._kept: dict[WatchedResponse, None] = {}
        """Those with bytes above their descriptor."""

    def add(self, response: Readable) -> WatchedResponse:
        fd = response.connection.fileno()
        assert fd is not None, "closed connections are not watched"
        watch = WatchedResponse(self, response, fd)
        self._epoll.register(fd, select.EPOLLIN)
        self._watches[fd] = watch
        if watch.announces:
            self.again(watch)
        if self._kept:
            # Every waiter waits for the descriptor.
            trio.lowlevel.notify_closing(self._fd)
        return watch

    def remove(self, watch: WatchedResponse) -> None:
        self._kept.pop(watch, None)
        if self._watches.get(watch.fd) is watch:
            del self._watches[watch.fd]
            try:
                self._epoll.unregister(watch.fd)
            except (OSError, ValueError):
                return  # closed elsewhere; all of us closed

    def again(self, watch: WatchedResponse) -> None:
        if watch.active and cast("Announcing", watch.connection).readable_at < inf:
            self._kept[watch] = None

    async def wait(self) -> None:
        if self._kept:
            await trio.lowlevel.checkpoint()
        else:
            try:
                await trio.lowlevel.wait_readable(self._fd)
            except trio.ClosedResourceError:
                return  # woken by `add`, or closed

    def take(self) -> list[WatchedResponse]:
        ready = []
        for fd, _ in self._epoll.poll(0, MAX_READY):
            watch = self._watches.get(fd)
            if watch is not None:
                ready.append(watch)
        if self._kept:
            ready += [watch for watch in self._kept if watch not in ready]
            self._kept.clear()
        return ready

    def watches(self) -> list[WatchedResponse]:
        return list(self._watches.values())

    def close(self) -> None:
        if not self._epoll.closed:
            trio.lowlevel.notify_closing(self._fd)
            self._epoll.close()


class MemoryReadiness:
    """Connections that announce themselves, in the order in which they become readable."""

    def __init__(self) -> None:
        self._watches: dict[WatchedResponse, None] = {}
        self._due: list[tuple[float, int, WatchedResponse]] = []
        """A heap. An entry whose watch has another `at` by now is void."""
        self._numbers = count()
        self._task: trio.lowlevel.Task | None = None

    def add(self, response: Readable) -> WatchedResponse:
        watch = WatchedResponse(self, response)
        self._watches[watch] = None
        cast("Announcing", watch.connection).on_readable = partial(self.again, watch)
        self.again(watch)
        return watch

    def remove(self, watch: WatchedResponse) -> None:
        watch.at = _STOPPED
        self._watches.pop(watch, None)
        cast("Announcing", watch.connection).on_readable = None

    def again(self, watch: WatchedResponse) -> None:
        at = cast("Announcing", watch.connection).readable_at
        if at < watch.at:
            watch.at = at
            heappush(self._due, (at, next(self._numbers), watch))
            self._wake()

    async def wait(self) -> None:
        if self._next() <= trio.current_time():
            await trio.lowlevel.checkpoint()
        while (at := self._next()) > trio.current_time():
            if at == inf:
                await self._park()
            else:
                with trio.CancelScope(deadline=at):
                    await self._park()

    def take(self) -> list[WatchedResponse]:
        now = trio.current_time()
        ready: list[WatchedResponse] = []
        while self._next() <= now and len(ready) < MAX_READY:
            watch = heappop(self._due)[2]
            watch.at = inf
            ready.append(watch)
        return ready

    def watches(self) -> list[WatchedResponse]:
        return list(self._watches)

    def close(self) -> None:
        """Nothing is held."""

    def _next(self) -> float:
        due = self._due
        while due and due[0][0] != due[0][2].at:
            heappop(due)
        return due[0][0] if due else inf

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def _park(self) -> None:
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
