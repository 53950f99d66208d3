"""One connection of a session, from its first byte to its last.

Rule 1: it is read all the time: what is received is handed on at once and without waiting.
Rule 2: one task writes: what answers need first, then messages in their order. A message is taken
        from the outbox only when the network has room for it.
Rule 3: however it ends, its socket is closed, and `error` says why, unless its owner ended it.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs
import trio

from streamnursery.core.sessions.heartbeat import Beat, WallWatch
from streamnursery.core.sessions.outbox import Outbox
from streamnursery.sessions.heartbeat import PASSES, Pulse
from streamnursery.transport.connect import Connector
from streamnursery.transport.single_errors import bare_errors
from streamnursery.transport.websocket import WebSocket, WebSocketEnd, ending_error
from streamnursery.values.errors import ConnectTimeoutError, EngineError
from streamnursery.values.http import Header, Peer
from streamnursery.values.origin import BaseUrl
from streamnursery.values.secret import secret_texts
from streamnursery.values.session import SessionSettings
from streamnursery.wire.error_answers import scrub_error
from streamnursery.wire.wrong_path import wrong_handshake_path


class LinkOwner(Protocol):
    """What a link needs of its session."""

    hook: Callable[[], Awaitable[object]] | None
    """Called with each beat."""

    def received(self, link: "SessionLink", message: str | bytes) -> None:
        """Synchronous: the reader must go on reading."""

    def confirmed(self) -> None:
        """Messages were confirmed: there may be room for others."""

    def link_ended(self, link: "SessionLink") -> None:
        """It is over; its socket is closed."""


@attrs.frozen
class Destination:
    """Where a session's connections lead, with the key that belongs there."""

    endpoint: str
    peer: Peer
    url: BaseUrl
    """Of the endpoint."""
    target: str = attrs.field(repr=False)
    headers: Sequence[Header] = attrs.field(repr=False)
    read_headers: Callable[[], Sequence[Header]] = attrs.field(repr=False)
    """As `headers`, with key files read again."""


@attrs.frozen
class LinkDeps:
    """What links are made with."""

    connector: Connector
    wall: Callable[[], float]
    dice: Callable[[], float]


class SessionLink:
    """Made, run once in its own task, and thrown away."""

    def __init__(
        self,
        owner: LinkOwner,
        destination: Destination,
        settings: SessionSettings,
        means: LinkDeps,
        outbox: Outbox,
    ) -> None:
        self.opened = trio.Event()
        """Set when it is usable, or never will be."""
        self.ended = trio.Event()
        self.error: EngineError | None = None
        self.ending: WebSocketEnd | None = None
        """How the other side closed it."""
        self.usable = False
        self.opened_at = 0.0
        self.takes = False
        """Messages and answers may begin on it."""
        self.carries = False
        """What the outbox has written and not seen confirmed was written here."""
        self.outbox = outbox
        self.settings = settings
        self.hook = owner.hook
        self._owner = owner
        self._destination = destination
        self._means = means
        self._posts: deque[str] = deque()
        self._work = trio.Event()
        self._scope = trio.CancelScope()
        self._socket: WebSocket | None = None
        self._farewell: trio.Event | None = None
        self.pulse: Pulse | None = None
        self._messages = 0
        self.worn_out = False
        """The server has said that the connection has reached its limit."""
        self.bad_lanes = 0
        """Lanes whose cancelled answer never ended."""

    @property
    def socket(self) -> WebSocket:
        assert self._socket is not None
        return self._socket

    def adopt(self) -> None:
        """From now on it is the session's connection."""
        self.takes = self.carries = True
        self.look()

    def post(self, text: str) -> None:
        """Send `text` before the messages of the outbox; lost if the link ends first."""
        self._posts.append(text)
        self.look()

    def confirmed(self) -> None:
        self._owner.confirmed()

    def look(self) -> None:
        """There is something to write."""
        self._work.set()

    async def catch_up(self) -> bool:
        """Return once the reader has had its turn for what had arrived; False: no message had."""
        messages = self._messages
        for _ in range(PASSES):
            await trio.lowlevel.checkpoint()
        return self._messages != messages

    def fail(self, error: EngineError) -> None:
        """End it at once."""
        if self.error is None:
            self.error = error
        self._scope.cancel()

    def stop(self) -> None:
        """End it at once, for no reason that anybody needs to know."""
        self._scope.cancel()

    async def goodbye(self) -> None:
        """Close it in order, within `close_timeout`."""
        if self.usable:
            self.takes = False
            self._farewell = trio.Event()
            with trio.move_on_after(self.settings.close_timeout):
                await self.socket.goodbye()
            self._farewell.set()
        self.stop()

    async def run(self) -> None:
        """Connect, and serve until it ends."""
        try:
            with self._scope:
                await self._run()
        except EngineError as refused:
            where = self._destination
            error = wrong_handshake_path(refused, url=where.url, endpoint=where.endpoint)
            scrub_error(error, secret_texts(self._destination.headers))
            self.error = self.error or error
        finally:
            self.usable = False
            self.takes = False
            if self.pulse is not None:
                self.pulse.end()
            if self._socket is not None:
                self._socket.close()
                if self.carries:
                    self.carries = False
                    self.outbox.on_connection_lost(self._socket.stream.flushed)
            self.opened.set()
            self.ended.set()
            self._owner.link_ended(self)

    async def _run(self) -> None:
        patience = trio.CancelScope(deadline=trio.current_time() + self.settings.connect_timeout)
        with patience:
            connection = await self._means.connector.connect(self._destination.peer)
        if patience.cancelled_caught:
            raise self._too_slow()
        try:
            with bare_errors():
                async with trio.open_nursery() as nursery:
                    self._socket = WebSocket(nursery, connection)
                    await self._shake_hands(patience.deadline)
                    await self._serve(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            connection.close()

    async def _shake_hands(self, deadline: float) -> None:
        with trio.CancelScope(deadline=deadline) as patience:
            await self.socket.shake_hands(
                self._destination.peer.origin,
                self._destination.target,
                self._destination.headers,
                max_message_bytes=self.settings.max_message_bytes,
                now=self._means.wall,
            )
        if patience.cancelled_caught:
            raise self._too_slow()

    def _too_slow(self) -> EngineError:
        origin, limit = self._destination.peer.origin, self.settings.connect_timeout
        return ConnectTimeoutError(
            f"no WebSocket to {origin} within sessions.connect_timeout = {limit:g} s"
        )

    async def _serve(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        beat = Beat(self.settings.heartbeat, now, self._means.dice())
        watch = WallWatch(self._means.wall() - now)
        self.pulse = Pulse(self, beat, watch, self._means.wall)
        self.opened_at = now
        self.usable = True
        self.opened.set()
        nursery.start_soon(self._write)
        nursery.start_soon(self.pulse.beat_forever, nursery)
        while (message := await self.socket.receive()) is not None:
            self._messages += 1
            self._owner.received(self, message)
        self.usable = False
        if self._farewell is not None:
            await self._farewell.wait()  # the other side's goodbye is still to be read
        self.ending = self.socket.ending()
        self.error = self.error or ending_error(self.ending, self._destination.peer.origin)

    async def _write(self) -> None:
        stream = self.socket.stream
        while True:
            await stream.wait_room()
            if self._posts:
                if not await self.socket.send(self._posts.popleft()):
                    return
                continue
            entry = self.outbox.take() if self.takes else None
            if entry is None:
                self._work = trio.Event()
                await self._work.wait()
                continue
            if not await self.socket.send(entry.data.decode()):
                return
            entry.end = stream.queued
            assert self.pulse is not None
            self.pulse.confirm()
