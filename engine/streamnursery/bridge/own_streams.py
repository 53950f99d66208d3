"""The iterator of a host's own stream, as the engine pulls it.

Rule 1: the host is at most `MOST_AHEAD` items ahead of what the engine has taken.
Rule 2: the engine's iterator is closed when the host's is: what holds slots for it waits for that.
"""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import trio

from streamnursery.bridge.thread import EngineThread
from streamnursery.scheduler.run.own_streams import OwnItem

MOST_AHEAD: Final = 64


class Puller(Protocol):
    """Who iterates for the host. Called in the engine's thread, and must not wait."""

    @property
    def host(self) -> object: ...

    def begin(self, items: "HostItems") -> None:
        """Iterate; pass each item to `put`, the end to `end`."""

    def taken(self) -> None:
        """One item was taken."""

    def stop(self) -> None:
        """No more is wanted: end, and say so with `end`."""


class HostItems(AsyncIterator[OwnItem]):
    """In the engine's thread."""

    def __init__(self, thread: EngineThread, puller: Puller) -> None:
        self._thread = thread
        self._puller = puller
        self._items: deque[Any] = deque()
        self._error: Exception | None = None
        self._begun = self._over = False
        self._news: trio.Event | None = None

    @property
    def host(self) -> object:
        return self._puller.host

    def abandon(self) -> None:
        """The host has gone, or the engine closes."""
        self.end(None)

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._tell()

    def end(self, error: Exception | None) -> None:
        """The host's iterator is closed."""
        if not self._over:
            self._over, self._error = True, error
            self._thread.held.pop(self, None)
            self._thread.closers.pop(self.abandon, None)
            self._tell()

    def __aiter__(self) -> "HostItems":
        return self

    async def __anext__(self) -> OwnItem:
        if not self._begun:
            self._begun = True
            self._thread.held[self] = None
            self._thread.closers[self.abandon] = None
            self._puller.begin(self)
        while not self._items:
            if self._over:
                await trio.lowlevel.checkpoint()
                raise self._error or StopAsyncIteration
            await self._wait()
        item: OwnItem = self._items.popleft()
        self._puller.taken()
        return item

    async def aclose(self) -> None:
        if self._begun and not self._over:
            self._puller.stop()
            with trio.CancelScope(shield=True):
                while not self._over:
                    await self._wait()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _wait(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
