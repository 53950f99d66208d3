"""Requests over pooled connections: the transport that the engine uses.

Rule 1: over HTTP/1.1 a request takes an idle connection or makes a new one, and never waits for
        another request; over HTTP/2 it takes a stream where the pool finds room.
Rule 2: a reused connection that dies before the first byte of an answer is the keep-alive race,
        and costs a second try, on a fresh connection. What a server says it has not looked at is
        sent again likewise. Each time the caller is asked first (`ConnectProgress.resends`),
        as before each connection; everything later is the supervisor's business.
Rule 3: keys and prompts follow no redirect, and no answer is decoded that we asked to be plain.
Rule 4: tasks run in the nursery that was passed in; its owner calls `close` before it ends.
"""

import os
from typing import TypeAlias

import attrs
import trio

from streamnursery.transport.connect import Connector, check_version, may_speak_http2, speaks_http2
from streamnursery.transport.http1 import Http1Exchange
from streamnursery.transport.http1_message import check_request
from streamnursery.transport.http2.connection import Http2Connection
from streamnursery.transport.http2.exchange import Http2Exchange
from streamnursery.transport.http2.pool import Http2Pool
from streamnursery.transport.network import Connection, Network, TrioNetwork
from streamnursery.transport.pool import Pool, idle_seconds
from streamnursery.transport.ports import ConnectProgress, Phase
from streamnursery.transport.pump import Readers
from streamnursery.transport.refused_heads import encoding_refusal, redirect_refusal
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineClosedError,
)
from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.http2 import Http2Settings

Exchange: TypeAlias = Http1Exchange | Http2Exchange


@attrs.frozen
class TransportStatistics:
    """A snapshot."""

    idle: int
    """Idle connections."""
    busy: int
    """Connections on which a request or its answer is under way."""
    opened: int
    """Connections made since the start."""
    max_idle: int
    """Connections that are kept at most."""
    http2_streams: int = 0
    """HTTP/2 streams that are not over."""


class HttpTransport:
    """Sends requests; implements the supervisor's `Transport`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        network: Network | None = None,
        *,
        max_idle_per_peer: int = 100,
        max_idle: int = 1000,
        trust_env: bool = False,
        readers: Readers | None = None,
        http2: Http2Settings | None = None,
    ) -> None:
        self._nursery = nursery
        self._readers = readers or Readers(nursery)
        self._connector = Connector(network or TrioNetwork(), trust_env=trust_env)
        self._pool = Pool(max_idle_per_peer=max_idle_per_peer, max_idle=max_idle)
        self._http2 = Http2Pool(
            self._connect,
            nursery,
            self._readers,
            http2 or Http2Settings(),
            max_idle=max_idle_per_peer,
        )
        self._busy: set[Http1Exchange] = set()
        self._when_released = self._released
        self._when_unfit = self._unfit
        """Kept, so that not every exchange has bound methods of its own."""
        self._opened = 0
        self._reaper: trio.CancelScope | None = None
        self._closed = False
        self._process = os.getpid()

    async def open(self, request: HttpRequest, progress: ConnectProgress) -> Exchange:
        """Send `request`, return when the final response head is there.

        Raises:
            RequestError, EngineClosedError, ConfigError: nothing was sent.
            NetworkError, ProtocolError: nothing is left behind. Cancellation likewise.
        """
        exchange = await self.exchange(request, progress)
        refusal = redirect_refusal(exchange, request.target)
        if refusal is not None:
            exchange.close()
            raise refusal
        return exchange

    async def exchange(self, request: HttpRequest, progress: ConnectProgress) -> Exchange:
        """As `open`, but an answer that redirects is returned like any other."""
        exchange: Exchange | None = None
        while True:
            exchange = await self.begin(request, progress, exchange)
            try:
                await exchange.start(request, progress)
            except ConnectionLostError as error:
                if not exchange.unseen or self._closed:
                    raise
                await progress.resends(error)
            else:
                break
        refusal = encoding_refusal(exchange)
        if refusal is not None:
            exchange.close()
            raise refusal
        return exchange

    async def begin(
        self, request: HttpRequest, progress: ConnectProgress, after: Exchange | None = None
    ) -> Exchange:
        """As `supervisor.ports.Transport`."""
        self._check_usable()
        check_request(request)
        peer = request.peer
        if not peer.http1_only:
            check_version(peer)
            exchange = await self._over_http2(request, progress, after)
            if exchange is not None:
                return exchange
        if not isinstance(after, Http1Exchange):  # which was on an idle connection that had died
            idle = self._pool.checkout(peer)
            if idle is not None:
                return self._begin(idle, request, progress, reused=True)
        connection, _ = await self._connect(_http1_only(peer), progress)
        return self._begin(connection, request, progress)

    async def _over_http2(
        self, request: HttpRequest, progress: ConnectProgress, after: Exchange | None
    ) -> Exchange | None:
        """None if the peer speaks HTTP/1.1."""
        if after is not None and after.needs_http1 and request.peer.http == "auto":
            self._http2.call_plain(request.peer)
        while True:
            connection = await self._http2.take(request.peer, progress)
            if connection is None:
                return None
            if not isinstance(connection, Http2Connection):
                return self._begin(connection, request, progress)
            exchange = connection.begin(request, progress)
            if exchange is not None:
                return exchange

    async def _connect(self, peer: Peer, progress: ConnectProgress) -> tuple[Connection, bool]:
        """A fresh connection, and whether HTTP/2 is spoken on it."""
        progress.enter(Phase.CONNECTING)
        connection: Connection | None = None
        while connection is None:
            progress.connects()
            with trio.CancelScope(deadline=progress.deadline):
                connection = await self._connector.connect(peer, progress.connects)
            if connection is None:
                progress.strike()
        self._opened += 1
        if self._closed:
            connection.close()
            self._check_usable()
        return connection, speaks_http2(peer, connection)

    def _begin(
        self,
        connection: Connection,
        request: HttpRequest,
        progress: ConnectProgress,
        *,
        reused: bool = False,
    ) -> Http1Exchange:
        exchange = Http1Exchange(
            connection,
            request,
            self._nursery,
            self._readers,
            self._when_released,
            self._when_unfit,
            reused=reused,
        )
        self._busy.add(exchange)
        progress.enter(Phase.CONNECTED)
        progress.enter(Phase.SENDING)
        return exchange

    def _unfit(self, exchange: Http1Exchange) -> None:
        """Close the connection of an exchange that is over, unless another exchange has it by
        now."""
        self._pool.drop(exchange.peer, exchange.connection)

    def _released(self, exchange: Http1Exchange) -> None:
        """Take back the connection of an exchange that is over."""
        self._busy.discard(exchange)
        if exchange.reusable and not self._closed:
            seconds = idle_seconds(exchange.head)
            self._pool.checkin(exchange.peer, exchange.connection, seconds)
            self._have_reaped()
        else:
            exchange.connection.close()

    def _have_reaped(self) -> None:
        if len(self._pool) and self._reaper is None:
            self._reaper = trio.CancelScope()
            self._nursery.start_soon(self._reap, self._reaper)

    @trio.lowlevel.enable_ki_protection
    async def _reap(self, scope: trio.CancelScope) -> None:
        """Close idle connections when their time is over; ends when none is left."""
        try:
            with scope:
                while True:
                    expires_at = self._pool.expire()
                    if expires_at is None:
                        return
                    await trio.sleep_until(expires_at)
        finally:
            if self._reaper is scope:
                self._reaper = None

    @property
    def connector(self) -> Connector:
        """What makes its connections, for those that are not for requests."""
        return self._connector

    def statistics(self) -> TransportStatistics:
        shared = self._http2.connections
        idle = sum(c.idle for c in shared)
        return TransportStatistics(
            idle=len(self._pool) + idle,
            busy=len(self._busy) + len(shared) - idle,
            opened=self._opened,
            max_idle=self._pool.max_idle,
            http2_streams=sum(c.streams for c in shared),
        )

    def close_idle(self) -> None:
        """Close the idle connections."""
        self._pool.close()
        self._http2.close_idle()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    def close(self) -> None:
        """Close every connection; answers under way end with ConnectionLostError."""
        self._closed = True
        for exchange in list(self._busy):
            exchange.abandon("the transport was closed")
        self._http2.close()
        self._readers.close()
        self.close_idle()

    def _check_usable(self) -> None:
        if self._process != os.getpid():
            raise EngineClosedError(
                "this transport belongs to the process that opened it; after fork() open a new "
                "one, in a new trio.run()"
            )
        if self._closed:
            raise EngineClosedError("the transport is closed; open a new one")

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {state} {self.statistics()}>"


def _http1_only(peer: Peer) -> Peer:
    """Where the peer chose HTTP/1.1 once, it is not asked again: it might choose otherwise."""
    return attrs.evolve(peer, http="1.1") if may_speak_http2(peer) else peer
