"""The connections of a simulated provider, whatever network they come from.

Rule 1: a connection is one task; it and its stream end together.
Rule 2: `stop` lets answers that are being given end, within its grace; idle connections end at
        once. `close` ends all, at once and synchronously.
"""

import ssl
from math import inf

import attrs
import trio

from streamnursery.simulator.conversation import READ, Conversation
from streamnursery.simulator.fault import NetworkFault
from streamnursery.simulator.http2 import PREFACE, Http2Conversation
from streamnursery.simulator.player import Pacer, ServerStream
from streamnursery.simulator.provider import Provider
from streamnursery.simulator.script import BlackHole, CloseIdle, RefuseConnect, SlowTls
from streamnursery.simulator.tls import TlsStream


@attrs.frozen
class ServiceStatistics:
    """A snapshot of a server."""

    current_connections: int
    current_requests: int
    """Connections on which a request is being received or answered."""
    accepted: int
    """Connections since the start."""
    refused: int
    """Connections that ended at once, by a fault or because there were too many."""
    paced_answers: int
    """Answers that wait for their time."""


@attrs.define(eq=False)
class _OpenConnection:
    scope: trio.CancelScope
    conversation: Conversation | Http2Conversation | None = None

    @property
    def busy(self) -> bool:
        return self.conversation is not None and self.conversation.busy


class Service:
    """Serves streams in tasks of a nursery that is given."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        tick: float = 0.0,
        idle: float = inf,
        max_connections: int = 20_000,
        http2: bool = True,
    ) -> None:
        """`tick`: seconds by which paced sends may be late, so that they go out together.
        `idle`: seconds after which a connection that says nothing is closed. `http2`: speak it
        to who begins with it."""
        self._nursery = nursery
        self._pacer = Pacer(nursery, tick)
        self._idle = idle
        self._max_connections = max_connections
        self._http2 = http2
        self._guests: dict[_OpenConnection, None] = {}
        self._accepted = 0
        self._refused = 0
        self._stopping = False
        self._empty = trio.Event()

    def accept(
        self,
        stream: ServerStream,
        provider: Provider,
        faults: tuple[NetworkFault, ...],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve `stream` from now on; it is closed in the end."""
        refused = any(isinstance(fault, RefuseConnect) for fault in faults)
        if refused or self._stopping or len(self._guests) >= self._max_connections:
            self._refused += 1
            stream.reset()
            return
        self._accepted += 1
        guest = _OpenConnection(trio.CancelScope())
        self._guests[guest] = None
        self._nursery.start_soon(self._serve, guest, stream, provider, faults, tls)

    async def _serve(
        self,
        guest: _OpenConnection,
        stream: ServerStream,
        provider: Provider,
        faults: tuple[NetworkFault, ...],
        tls: ssl.SSLContext | None,
    ) -> None:
        try:
            with guest.scope:
                await self._entertain(guest, stream, provider, faults, tls)
        except OSError:
            return
        finally:
            stream.close()
            del self._guests[guest]
            if self._stopping and not self._guests:
                self._empty.set()

    async def _entertain(
        self,
        guest: _OpenConnection,
        stream: ServerStream,
        provider: Provider,
        faults: tuple[NetworkFault, ...],
        tls: ssl.SSLContext | None,
    ) -> None:
        early = await _held_up(stream, _seconds_of(faults))
        if early is None:
            return
        if tls is not None:
            secured = TlsStream(stream, tls)
            secured.feed(early)
            await secured.handshake()
            stream, early = secured, b""
        if self._http2:
            early = early or await _first_read(stream, self._idle)
            if not early:
                return
        kind = Http2Conversation if _speaks_http2(stream, early) else Conversation
        guest.conversation = kind(
            stream,
            provider,
            self._pacer,
            idle=self._idle,
            close_idle=min((f.after for f in faults if isinstance(f, CloseIdle)), default=inf),
            early=early,
        )
        await guest.conversation.run()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more connections, and return when all have ended.

        Answers that are being given may go on for `grace` seconds. Cancelled, it ends them at once.
        """
        self._stopping = True
        for guest in list(self._guests):
            if guest.conversation is not None:
                guest.conversation.stop()
            if not guest.busy:
                guest.scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
            if self._guests:
                with trio.move_on_after(grace):
                    await self._empty.wait()
        finally:
            self.close()
        while self._guests:
            with trio.CancelScope(shield=True):
                await self._empty.wait()

    def close(self) -> None:
        """End everything; tasks are gone after a few steps."""
        self._stopping = True
        for guest in self._guests:
            guest.scope.cancel()

    def statistics(self) -> ServiceStatistics:
        return ServiceStatistics(
            current_connections=len(self._guests),
            current_requests=sum(guest.busy for guest in self._guests),
            accepted=self._accepted,
            refused=self._refused,
            paced_answers=self._pacer.waiting,
        )


def _seconds_of(faults: tuple[NetworkFault, ...]) -> float:
    """How long the connection is held up before anything is said on it."""
    seconds = 0.0
    for fault in faults:
        if isinstance(fault, BlackHole):
            return inf
        if isinstance(fault, SlowTls):
            seconds += inf if fault.seconds is None else fault.seconds
    return seconds


async def _first_read(stream: ServerStream, patience: float) -> bytes:
    """What the client says first; b"" if it says nothing in time, or leaves."""
    with trio.move_on_after(patience):
        while True:
            await stream.wait_readable()
            try:
                return stream.recv_nowait(READ)
            except trio.WouldBlock:
                continue
    return b""


def _speaks_http2(stream: ServerStream, early: bytes) -> bool:
    """Whether it was agreed on with TLS, or begins without (RFC 9113 3.3)."""
    agreed = isinstance(stream, TlsStream) and stream.alpn == "h2"
    return agreed or early[: len(PREFACE)] == PREFACE


async def _held_up(stream: ServerStream, seconds: float) -> bytes | None:
    """Say nothing for so long; what the client sent meanwhile, or None if it left."""
    early = b""
    if seconds:
        with trio.move_on_after(seconds):
            while len(early) < READ:
                await stream.wait_readable()
                try:
                    data = stream.recv_nowait(READ)
                except trio.WouldBlock:
                    continue
                if not data:
                    return None
                early += data
            await trio.sleep_forever()
    return early
