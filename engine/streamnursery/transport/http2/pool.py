"""Which HTTP/2 connection a request goes to, and when another one is opened.

Rule 1: a request goes to the connection with the fewest streams among those with room.
Rule 2: where none has room another one is opened, up to `max_connections` per peer. Only beyond
        that do requests wait: in turn, in CONNECTING, and cancelled without a trace.
Rule 3: what a peer speaks is found out once. While the first connection to it is on its way the
        others wait for what it brings, and go on at once if that is HTTP/1.1.
Rule 4: the request that opens a connection does so in its own task and has its first place; when
        that fails the next one in turn tries for itself.
Rule 5: where a connection was closed with streams that the server had not looked at, the next
        ones get no more unanswered streams than it had looked at: a server that closes after each
        is not sent a hundred. As they answer, more.
Rule 6: where a peer has closed a connection and asked for calm after we had pinged it (gRPC:
        too_many_pings), pings on the next ones are half as frequent, each time (gRPC A8).
Rule 7: a place is promised in the step in which it is given away, and goes back if it is not
        used.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TypeAlias

import attrs
import trio

from streamnursery.transport.http2.connection import Http2Connection
from streamnursery.transport.network import Connection
from streamnursery.transport.ports import ConnectProgress, Phase
from streamnursery.transport.pump import Readers
from streamnursery.values.http import Peer
from streamnursery.values.http2 import Http2Settings

Connect: TypeAlias = Callable[[Peer, ConnectProgress], Awaitable[tuple[Connection, bool]]]
"""Makes a connection; True if HTTP/2 is spoken on it."""

_EXPECTED = 100
"""Streams that a connection is likely to take, before one has said so."""
_MAX_PLAIN = 1024
_RAREST_PINGS = 3600.0


class _Grant(Enum):
    """What a waiting request gets, unless it is a place on a connection."""

    OPEN = auto()
    """Open a connection."""
    PLAIN = auto()
    """The peer speaks HTTP/1.1."""


@attrs.define(eq=False)
class _StreamWaiter:
    granted: trio.Event = attrs.field(factory=trio.Event)
    what: Http2Connection | _Grant | None = None


@attrs.define(eq=False)
class _PeerConnections:
    """One peer."""

    connections: list[Http2Connection] = attrs.field(factory=list)
    """Connections that take new streams."""
    old: list[Http2Connection] = attrs.field(factory=list)
    """Those whose last streams run on."""
    opening: int = 0
    known: bool = False
    """The peer has spoken HTTP/2."""
    expected: int = _EXPECTED
    cautious: int | None = None
    """Unanswered streams that a connection may have; None: as many as it takes (rule 5)."""
    waiting: OrderedDict[_StreamWaiter, None] = attrs.field(factory=OrderedDict)

    @property
    def unused(self) -> bool:
        return not (self.connections or self.old or self.opening or self.waiting)

    def free_connection(self) -> Http2Connection | None:
        most = self.cautious
        with_room = (
            connection
            for connection in self.connections
            if connection.room > 0 and (most is None or connection.unanswered < most)
        )
        return min(with_room, key=lambda connection: connection.load, default=None)

    def may_open(self, most: int) -> bool:
        """Whether a further connection would be of use, for one more request."""
        if len(self.connections) + self.opening >= most:
            return False
        coming = self.opening + sum(not connection.settled for connection in self.connections)
        each = self.expected if self.cautious is None else min(self.expected, self.cautious)
        full = self.cautious is not None and not self.opening and self.free_connection() is None
        return not coming or full or (self.known and len(self.waiting) >= coming * each)

    def learn(self, connection: Http2Connection) -> None:
        """How careful to be, from what became of a connection."""
        if connection.taken is not None:
            self.cautious = max(1, connection.taken)
        elif self.cautious is not None and connection.served >= self.cautious:
            self.cautious *= 2
            if self.cautious > _EXPECTED:
                self.cautious = None


class Http2Pool:
    """The HTTP/2 connections of a transport."""

    def __init__(
        self,
        connect: Connect,
        nursery: trio.Nursery,
        readers: Readers,
        settings: Http2Settings,
        *,
        max_idle: int,
    ) -> None:
        self._connect = connect
        self._nursery = nursery
        self._readers = readers
        self._settings = settings
        self._max_idle = max_idle
        self._peers: dict[Peer, _PeerConnections] = {}
        self._plain: OrderedDict[Peer, None] = OrderedDict()
        """Peers that were found to speak HTTP/1.1, of late."""
        self._calmer: OrderedDict[Peer, float] = OrderedDict()
        """Peers that want fewer pings, of late, with the seconds of silence before one."""

    @property
    def connections(self) -> list[Http2Connection]:
        return [connection for s in self._peers.values() for connection in (*s.connections, *s.old)]

    async def take(
        self, peer: Peer, progress: ConnectProgress
    ) -> Http2Connection | Connection | None:
        """A connection with a place promised; or a fresh one of HTTP/1.1, which the peer turned
        out to speak; or None if that is known of it.

        Raises:
            NetworkError: as `Connector.connect`.
        """
        if peer in self._plain:
            self._plain.move_to_end(peer)
            return None
        pooled = self._peers.setdefault(peer, _PeerConnections())
        turn: Http2Connection | _Grant | None = None
        if not pooled.waiting:
            turn = self._next_turn(pooled)
        if turn is None:
            turn = await self._wait(peer, pooled, progress)
        if turn is _Grant.PLAIN:
            return None
        if turn is _Grant.OPEN:
            return await self._open(peer, pooled, progress)
        return turn

    def _next_turn(self, pooled: _PeerConnections) -> Http2Connection | _Grant | None:
        """What the next request gets now; None if it has to wait."""
        connection = pooled.free_connection()
        if connection is not None:
            connection.reserved += 1
            return connection
        if pooled.may_open(self._settings.max_connections):
            pooled.opening += 1
            return _Grant.OPEN
        return None

    def _deal(self, peer: Peer, pooled: _PeerConnections) -> None:
        """Give out what there is, in turn."""
        while pooled.waiting:
            turn = _Grant.PLAIN if peer in self._plain else self._next_turn(pooled)
            if turn is None:
                return
            waiter = pooled.waiting.popitem(last=False)[0]
            waiter.what = turn
            waiter.granted.set()
        if pooled.unused and self._peers.get(peer) is pooled:
            del self._peers[peer]

    async def _wait(
        self, peer: Peer, pooled: _PeerConnections, progress: ConnectProgress
    ) -> Http2Connection | _Grant:
        progress.enter(Phase.CONNECTING)
        waiter = _StreamWaiter()
        pooled.waiting[waiter] = None
        # One more waits: that may be what makes a further connection worth while.
        self._deal(peer, pooled)
        try:
            while not waiter.granted.is_set():
                with trio.CancelScope(deadline=progress.deadline):
                    await waiter.granted.wait()
                if not waiter.granted.is_set():
                    progress.strike()
        except BaseException:
            pooled.waiting.pop(waiter, None)
            self._put_back(pooled, waiter.what)
            self._deal(peer, pooled)
            raise
        assert waiter.what is not None
        return waiter.what

    def _put_back(self, pooled: _PeerConnections, turn: Http2Connection | _Grant | None) -> None:
        """Granted and cancelled in the same instant."""
        if turn is _Grant.OPEN:
            pooled.opening -= 1
        elif isinstance(turn, Http2Connection):
            turn.reserved -= 1

    async def _open(
        self, peer: Peer, pooled: _PeerConnections, progress: ConnectProgress
    ) -> Http2Connection | Connection:
        try:
            plain, speaks_http2 = await self._connect(peer, progress)
        except BaseException:
            pooled.opening -= 1
            self._deal(peer, pooled)
            raise
        pooled.opening -= 1
        if not speaks_http2:
            self.call_plain(peer)
            return plain
        settings = self._settings
        if peer in self._calmer:
            settings = attrs.evolve(settings, ping_after=self._calmer[peer])
        connection = Http2Connection(plain, peer, settings, self._changed)
        connection.reserved = 1
        pooled.known = True
        self._peers.setdefault(peer, pooled).connections.append(connection)
        connection.start(self._nursery, self._readers)
        self._deal(peer, pooled)
        return connection

    def call_plain(self, peer: Peer) -> None:
        """The peer wants HTTP/1.1."""
        self._plain[peer] = None
        if len(self._plain) > _MAX_PLAIN:
            self._plain.popitem(last=False)
        pooled = self._peers.get(peer)
        if pooled is not None:
            self._deal(peer, pooled)

    def _changed(self, connection: Http2Connection) -> None:
        """A connection has more room, or less, or is closed."""
        pooled = self._peers.get(connection.peer)
        if pooled is None:
            return
        if connection in pooled.connections:
            pooled.learn(connection)
            if connection.pinged_too_often:
                self._ping_less(connection.peer)
        if connection.draining and connection in pooled.connections:
            pooled.connections.remove(connection)
            pooled.old.append(connection)
        if connection.closed:
            pooled.old.remove(connection)
        elif connection.settled:
            pooled.expected = max(1, connection.room + connection.load)
        self._deal(connection.peer, pooled)
        if connection.idle and not connection.draining:
            self._limit_idle()

    def _ping_less(self, peer: Peer) -> None:
        before = self._calmer.pop(peer, self._settings.ping_after)
        self._calmer[peer] = min(2 * before, max(_RAREST_PINGS, self._settings.ping_after))
        if len(self._calmer) > _MAX_PLAIN:
            self._calmer.popitem(last=False)

    def _limit_idle(self) -> None:
        idle = [
            connection
            for connection in self.connections
            if connection.idle and not connection.draining
        ]
        for connection in idle[: max(0, len(idle) - self._max_idle)]:
            connection.close()

    def close_idle(self) -> None:
        """Close the idle connections."""
        for connection in self.connections:
            if connection.idle:
                connection.close()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
