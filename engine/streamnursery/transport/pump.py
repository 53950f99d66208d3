"""Reads all responses of a transport in rounds: one wake-up for everything that is ready.

Rule 1: a round gives each ready response one `on_readable`, a read of at most 64 KiB, and ends
        with a checkpoint: who was fed runs before anybody is read again.
Rule 2: an exception in a round ends that response, never the pump. Only if nobody is left to be
        to report it to, it ends the engine as a bug.
Rule 3: a response that is paused is not watched: its socket fills, and its peer has to wait.
Rule 4: where latency was granted for it, a busy pump rests between rounds, so that more is ready
        at each wake-up (`core/measure/moderation.py`).
Rule 5: one task for each kind of readiness, from the first response to the transport's end; no
        task, timer or lock belongs to a response, a read or an event.
"""

import errno
import select

import trio

from streamnursery.core.measure.moderation import Moderation
from streamnursery.transport.network import Connection
from streamnursery.transport.reader import Readable, Reading, TaskReading
from streamnursery.transport.readiness import (
    MAX_READY,
    EpollReadiness,
    MemoryReadiness,
    Readiness,
    WatchedResponse,
)

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})
"""The system has no descriptor or memory left for one more watch."""


class Pump:
    """Makes the rounds over one readiness source."""

    def __init__(
        self, nursery: trio.Nursery, readiness: Readiness, max_added_latency: float = 0.0
    ) -> None:
        self._readiness = readiness
        self._moderation = (
            Moderation(max_added_latency, trio.current_time()) if max_added_latency else None
        )
        self._scope = trio.CancelScope()
        self.closed = False
        nursery.start_soon(self._run, name="pump")

    def start(self, response: Readable) -> WatchedResponse:
        return self._readiness.add(response)

    def close(self) -> None:
        """Stop for good. Who is still being read is abandoned."""
        self.closed = True
        self._scope.cancel()
        self._let_go()

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        try:
            with self._scope:
                while not self.closed:
                    await self._readiness.wait()
                    if self.closed:
                        return  # after it was woken: a wait that is over is not cancelled any more
                    ready = self._readiness.take()
                    for watch in ready:
                        if watch.active:  # not stopped by one before it in this round
                            self._read(watch)
                    if self._moderation is not None:
                        await self._rest(self._moderation, len(ready))
        finally:
            self.close()

    async def _rest(self, moderation: Moderation, reads: int) -> None:
        """Let reads come together; while a round leaves something to be read there is no rest."""
        seconds = moderation.rest(reads, trio.current_time())
        if seconds and reads < MAX_READY:
            await trio.sleep(seconds)

    def _read(self, watch: WatchedResponse) -> None:
        try:
            more = watch.response.on_readable()
            if not more:
                if watch.active:
                    watch.stop()
            elif watch.announces:
                self._readiness.again(watch)
        except Exception as bug:
            watch.stop()
            if not watch.response.abandon("its reader failed", bug):
                raise

    def _let_go(self) -> None:
        for watch in self._readiness.watches():
            watch.stop()
            watch.response.abandon("the transport was closed")
        self._readiness.close()


class Readers:
    """Has responses read, each by a pump or by its own task.

    A pump that is busy may rest between rounds, `max_added_latency` seconds at most; 0: never.
    """

    def __init__(
        self, nursery: trio.Nursery, *, pump: bool = True, max_added_latency: float = 0.0
    ) -> None:
        self._nursery = nursery
        self._pump = pump
        self._max_added_latency = max_added_latency
        self._pumps: dict[type[EpollReadiness | MemoryReadiness], Pump] = {}

    def start(self, response: Readable) -> Reading:
        """Make rounds on `response` until it wants no more or is stopped."""
        kind = self._readiness_for(response.connection) if self._pump else None
        if kind is None:
            return TaskReading(self._nursery, response)
        try:
            return self._pump_of(kind).start(response)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            return TaskReading(self._nursery, response)  # needs none of it

    def _pump_of(self, kind: type[EpollReadiness | MemoryReadiness]) -> Pump:
        pump = self._pumps.get(kind)
        if pump is None or pump.closed:
            pump = self._pumps[kind] = Pump(self._nursery, kind(), self._max_added_latency)
        return pump

    def close(self) -> None:
        """End the pumps. Who is still being read is abandoned."""
        for pump in self._pumps.values():
            pump.close()

    def _readiness_for(
        self, connection: Connection
    ) -> type[EpollReadiness | MemoryReadiness] | None:
        if connection.fileno() is not None:
            return EpollReadiness if hasattr(select, "epoll") else None
        return MemoryReadiness if hasattr(connection, "on_readable") else None
