"""Idle connections, to be used again.

Rule 1: the pool never makes anybody wait. It has a fitting connection or it has none; how many
        requests run at once is the scheduler's business.
Rule 2: every method is synchronous, and no connection is in here and in use at the same time.
Rule 3: a connection is looked at before it is handed out: one on which anything has arrived,
        FIN or unexpected bytes, is closed instead.
Rule 4: newest first, so that those beyond the need grow old together and expire.
"""

import re
from collections import OrderedDict

import attrs
import trio

from streamnursery.transport.network import Connection
from streamnursery.values.http import HttpHead, Peer

IDLE_SECONDS = 4.0
"""How long a connection stays idle. Common servers hang up after 5 s (Node, uvicorn)."""
_KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_MARGIN = 0.8
"""Of the time a server promises: the rest is for the way and for its clock."""


def idle_seconds(head: HttpHead) -> float:
    """How long the connection that brought `head` may stay idle; 0 means not at all.

    `Keep-Alive: timeout=N` shortens the default and never lengthens it.
    """
    promised = _KEEP_ALIVE_TIMEOUT.search(head.get("keep-alive") or "")
    return IDLE_SECONDS if promised is None else min(IDLE_SECONDS, int(promised[1]) * _MARGIN)


@attrs.define(eq=False)
class _Idle:
    peer: Peer
    connection: Connection
    expires_at: float


class Pool:
    """Idle connections, per peer."""

    def __init__(self, *, max_idle_per_peer: int, max_idle: int) -> None:
        self._max_idle_per_peer = max_idle_per_peer
        self.max_idle = max_idle
        self._now = trio.lowlevel.current_clock().current_time
        # Ordered sets, oldest first.
        self._all: OrderedDict[_Idle, None] = OrderedDict()
        self._by_peer: dict[Peer, OrderedDict[_Idle, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def checkout(self, peer: Peer) -> Connection | None:
        """The newest connection to `peer` that is fit for use; the unfit ones are closed."""
        stack = self._by_peer.get(peer)
        while stack:
            idle = next(reversed(stack))
            del self._all[idle], stack[idle]
            if not stack:
                del self._by_peer[peer]
            if idle.expires_at > self._now() and _is_quiet(idle.connection):
                return idle.connection
            idle.connection.close()
        return None

    def checkin(self, peer: Peer, connection: Connection, seconds: float) -> None:
        """Keep `connection` for at most `seconds`; the oldest makes room for it."""
        if seconds <= 0 or not self._max_idle_per_peer or not self.max_idle:
            connection.close()
            return
        idle = _Idle(peer, connection, self._now() + seconds)
        stack = self._by_peer.setdefault(peer, OrderedDict())
        stack[idle] = self._all[idle] = None
        if len(stack) > self._max_idle_per_peer:
            self._drop(next(iter(stack)))
        elif len(self._all) > self.max_idle:
            self._drop(next(iter(self._all)))

    def drop(self, peer: Peer, connection: Connection) -> None:
        """Close `connection` if it is in here."""
        for idle in reversed(self._by_peer.get(peer, ())):
            if idle.connection is connection:
                self._drop(idle)
                return

    def expire(self) -> float | None:
        """Close what is too old; return when to look again, None if nothing is idle."""
        now = self._now()
        for idle in [idle for idle in self._all if idle.expires_at <= now]:
            self._drop(idle)
        return min((idle.expires_at for idle in self._all), default=None)

    def close(self) -> None:
        """Close every idle connection."""
        while self._all:
            self._drop(next(iter(self._all)))

    def _drop(self, idle: _Idle) -> None:
        self._remove(idle)
        idle.connection.close()

    def _remove(self, idle: _Idle) -> None:
        del self._all[idle]
        stack = self._by_peer[idle.peer]
        del stack[idle]
        if not stack:
            del self._by_peer[idle.peer]


def _is_quiet(connection: Connection) -> bool:
    """Whether nothing has arrived: no FIN, no RST, no bytes."""
    try:
        connection.recv_nowait(1)
    except trio.WouldBlock:
        return True
    except (OSError, trio.ClosedResourceError):
        return False
    return False
