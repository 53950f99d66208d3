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
import re
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

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
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineClosedError,
    RedirectRefusedError,
    UnexpectedContentError,
)
from streamnursery.values.http import HttpHead, HttpRequest, Peer
from streamnursery.values.http2 import Http2Settings

Exchange: TypeAlias = Http1Exchange | Http2Exchange

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_LOCATION = 200


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
        refusal = _redirect_refusal(request, exchange.head)
        if refusal is not None:
            exchange.close()
            raise refusal
        return exchange

    async def exchange(self, request: HttpRequest, progress: ConnectProgress) -> Exchange:
        """As `open`, but an answer that redirects is returned like any other."""
        self._check_usable()
        check_request(request)
        check_version(request.peer)
        exchange: Exchange | None = None
        if may_speak_http2(request.peer):
            exchange = await self._over_http2(request, progress)
        if exchange is None:
            exchange = await self._over_http1(request, progress)
        _refuse_encoded(exchange)
        return exchange

    async def _over_http1(self, request: HttpRequest, progress: ConnectProgress) -> Http1Exchange:
        exchange = await self._reuse(request, progress)
        if exchange is None:
            connection, _ = await self._connect(_http1_only(request.peer), progress)
            exchange = self._begin(connection, request, progress)
            await exchange.start(request, progress)
        return exchange

    async def _over_http2(self, request: HttpRequest, progress: ConnectProgress) -> Exchange | None:
        """None if the peer speaks HTTP/1.1."""
        while True:
            connection = await self._http2.take(request.peer, progress)
            if connection is None:
                return None
            if not isinstance(connection, Http2Connection):
                first = self._begin(connection, request, progress)
                await first.start(request, progress)
                return first
            exchange = connection.begin(request, progress)
            if exchange is None:
                continue
            try:
                await exchange.start(progress)
            except ConnectionLostError as error:
                if not exchange.unprocessed or self._closed:
                    raise
                await progress.resends(error)
                if connection.needs_http1 and request.peer.http == "auto":
                    self._http2.call_plain(request.peer)
            else:
                return exchange

    async def _reuse(self, request: HttpRequest, progress: ConnectProgress) -> Http1Exchange | None:
        """The exchange on an idle connection; None if there is none, or it turned out dead."""
        connection = self._pool.checkout(request.peer)
        if connection is None:
            return None
        exchange = self._begin(connection, request, progress)
        try:
            await exchange.start(request, progress)
        except ConnectionLostError as error:
            if not exchange.unanswered or self._closed:
                raise
            await progress.resends(error)
            return None
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
        self, connection: Connection, request: HttpRequest, progress: ConnectProgress
    ) -> Http1Exchange:
        exchange = Http1Exchange(
            connection,
            request,
            self._nursery,
            self._readers,
            self._when_released,
            self._when_unfit,
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


def _redirect_refusal(request: HttpRequest, head: HttpHead) -> RedirectRefusedError | None:
    """The error to raise; made here, so that no traceback holds the whole Location."""
    location = head.get("location")
    if location is None or head.status not in _REDIRECTS:
        return None
    origin = str(request.peer.origin)
    return RedirectRefusedError(
        f"{origin} redirects ({head.status}) to {_shown(origin, request.target, location)}; keys "
        "and prompts do not follow. If you trust the target, set the endpoint's url to it",
        status=head.status,
    )


def _refuse_encoded(exchange: Exchange) -> None:
    """Nothing is decoded, so nothing can blow up. An error keeps its status and loses its body."""
    head = exchange.head
    if head.get("content-encoding") is None:
        return
    codings = [v.lower() for k, v in head.headers if k == "content-encoding"]
    if codings == ["identity"]:
        return
    if not 200 <= head.status < 300:
        exchange.skip_body()
        return
    exchange.close()
    msg = (
        f"{exchange.peer.origin} sent content-encoding {', '.join(codings)!r:.60} though "
        "'identity' was asked for; check for a proxy that compresses on its own"
    )
    raise UnexpectedContentError(msg, status=head.status)


def _shown(origin: str, target: str, location: str) -> str:
    """Origin and path of a Location; its query may hold secrets."""
    try:
        parts = urlsplit(urljoin(origin + target.partition("?")[0], location))
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "a location that cannot be read"
    text = f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    return re.sub(r"[^\x21-\x7e]", "?", text)[:_MAX_LOCATION]
