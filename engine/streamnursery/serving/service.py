"""The connections of a server, whatever network they come from.

Rule 1: a connection is one task; it and its stream end together.
Rule 2: `stop` lets answers that are being given end, within its grace; idle connections end at
        once. `close` ends all, at once and synchronously.
"""

import ssl
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeAlias

import attrs
import trio

from streamnursery.serving.bounds import BodyBudget, Bounds
from streamnursery.serving.call import Handler, Shared
from streamnursery.serving.conversation import Conversation
from streamnursery.serving.http2 import PREFACE, Http2Conversation
from streamnursery.serving.player import Pacer
from streamnursery.serving.stream import ServerStream, receive
from streamnursery.serving.tls import TlsStream

Opening: TypeAlias = Callable[[ServerStream], Awaitable[bytes | None]]
"""Runs before anything is said on a connection: what was read meanwhile, or None to end it."""


@attrs.frozen
class ServiceStatistics:
    """A snapshot of a server."""

    current_connections: int
    current_requests: int
    """Connections on which a request is being received or answered."""
    current_body_bytes: int
    """Of all request bodies that are held."""
    accepted: int
    """Connections since the start."""
    refused: int
    """Connections that were reset at once: see `refuse`."""
    paced_answers: int
    """Answers that wait for their time."""


@attrs.define(eq=False)
class _OpenConnection:
    scope: trio.CancelScope
    conversation: Conversation | Http2Conversation | None = None

    @property
    def busy(self) -> bool:
        return self.conversation is not None and self.conversation.busy


@attrs.frozen
class _Guest:
    """How to serve one connection."""

    handler: Handler
    tls: ssl.SSLContext | None
    opening: Opening | None
    close_idle: float


class Service:
    """Serves streams in tasks of a nursery that is given."""

    def __init__(
        self,
        nursery: trio.Nursery,
        bounds: Bounds | None = None,
        *,
        tick: float = 0.0,
        http2: bool = True,
    ) -> None:
        """`tick`: seconds by which paced sends may be late, so that they go out together.
        `http2`: speak it to who begins with it."""
        self._nursery = nursery
        bounds = bounds or Bounds()
        self._shared = Shared(nursery, Pacer(nursery, tick), bounds, BodyBudget(bounds.bodies))
        self._http2 = http2
        self._open: dict[_OpenConnection, None] = {}
        self._accepted = 0
        self._refused = 0
        self._stopping = False
        self._empty = trio.Event()

    def accept(
        self,
        stream: ServerStream,
        handler: Handler,
        tls: ssl.SSLContext | None = None,
        *,
        opening: Opening | None = None,
        close_idle: float = inf,
    ) -> None:
        """Serve `stream` from now on; it is closed in the end. `close_idle`: seconds of silence
        between two requests after which this connection is closed."""
        if self._stopping or len(self._open) >= self._shared.bounds.connections:
            self.refuse(stream)
            return
        self._accepted += 1
        connection = _OpenConnection(trio.CancelScope())
        self._open[connection] = None
        guest = _Guest(handler, tls, opening, close_idle)
        self._nursery.start_soon(self._serve, connection, stream, guest)

    def refuse(self, stream: ServerStream) -> None:
        """Reset a connection in place of serving it."""
        self._refused += 1
        stream.reset()

    async def _serve(
        self, connection: _OpenConnection, stream: ServerStream, guest: _Guest
    ) -> None:
        try:
            with connection.scope:
                await self._converse(connection, stream, guest)
        except OSError:
            return
        finally:
            stream.close()
            del self._open[connection]
            if self._stopping and not self._open:
                self._empty.set()

    async def _converse(
        self, connection: _OpenConnection, stream: ServerStream, guest: _Guest
    ) -> None:
        early = b"" if guest.opening is None else await guest.opening(stream)
        if early is None:
            return
        if guest.tls is not None:
            secured = TlsStream(stream, guest.tls)
            secured.feed(early)
            with trio.move_on_after(self._shared.bounds.idle) as patience:
                await secured.handshake()
            if patience.cancelled_caught:
                return
            stream, early = secured, b""
        if self._http2 and not early:
            with trio.move_on_after(self._shared.bounds.idle):
                early = await receive(stream)
            if not early:
                return
        kind = Http2Conversation if _speaks_http2(stream, early) else Conversation
        connection.conversation = kind(
            stream, guest.handler, self._shared, close_idle=guest.close_idle, early=early
        )
        await connection.conversation.run()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more connections, and return when all have ended.

        Answers that are being given may go on for `grace` seconds. Cancelled, it ends them at once.
        """
        self._stopping = True
        for connection in list(self._open):
            if connection.conversation is not None:
                connection.conversation.stop()
            if not connection.busy:
                connection.scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
            if self._open:
                with trio.move_on_after(grace):
                    await self._empty.wait()
        finally:
            self.close()
        while self._open:
            with trio.CancelScope(shield=True):
                await self._empty.wait()

    def close(self) -> None:
        """End everything; tasks are gone after a few steps."""
        self._stopping = True
        for connection in self._open:
            connection.scope.cancel()

    def statistics(self) -> ServiceStatistics:
        return ServiceStatistics(
            current_connections=len(self._open),
            current_requests=sum(connection.busy for connection in self._open),
            accepted=self._accepted,
            refused=self._refused,
            current_body_bytes=self._shared.bodies.held,
            paced_answers=self._shared.pacer.waiting,
        )


def _speaks_http2(stream: ServerStream, early: bytes) -> bool:
    """Whether it was agreed on with TLS, or begins without (RFC 9113 3.3)."""
    agreed = isinstance(stream, TlsStream) and stream.alpn == "h2"
    return agreed or early[: len(PREFACE)] == PREFACE
