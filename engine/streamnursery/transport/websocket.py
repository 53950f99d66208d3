"""WebSockets over any `Connection`: the protocol is trio-websocket's, the bytes are ours.

Rule 1: the reader never waits for a writer. What is sent goes into a buffer, and one task
        hands it to the network; so a peer that does not read cannot keep its pong from being read.
Rule 2: every byte handed over is counted. Half a message is none: what was not handed over to its
        last byte has not been sent.
Rule 3: whatever goes wrong inside the protocol ends this connection and nothing else.
Rule 4: keys go to the origin of their endpoint. A handshake that redirects is refused.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from streamnursery.transport.http2.windows import FloodGuard
from streamnursery.transport.network import Connection
from streamnursery.transport.websocket_frames import FrameCount
from streamnursery.values.errors import (
    ConfigError,
    ConnectError,
    ConnectionLostError,
    EngineError,
    RedirectRefusedError,
    TooLargeError,
)
from streamnursery.values.http import Header, HttpHead
from streamnursery.values.origin import Origin
from streamnursery.values.secret import Secret
from streamnursery.wire.error_answers import error_from_answer

WRITE = 64 * 1024
READ = 4 * 1024
"""Bytes that the parser gets between two checkpoints. 64 KiB of empty frames take 0.4 s."""
BACKLOG = 64 * 1024
"""Bytes that may wait for the network before the next message is begun."""
MAX_CONTROL = 256 * 1024
"""Bytes of pings and pongs that may wait for a peer that asks and does not read."""
_CONTROL_FRAME = 131
"""Bytes of the longest one (RFC 6455 5.5), with the client's mask."""
NO_CLOSE = 1006
"""The code that stands for a connection that ended without one (RFC 6455 7.4.1)."""
TOO_BIG = 1009


@attrs.frozen
class WebSocketEnd:
    """How a connection ended."""

    code: int
    reason: str
    """The peer's own words; at most 123 bytes."""
    flooded: bool = False
    """We ended it: the peer sent frames that carry nothing without end."""


def require_websockets() -> None:
    """Raise `ConfigError` where the library is not installed."""
    try:
        import trio_websocket  # noqa: F401
    except ImportError:
        msg = "sessions need trio-websocket: pip install 'trio-websocket>=0.12'"
        raise ConfigError(msg) from None


class WebSocketStream(trio.abc.Stream):
    """What the protocol reads from and writes to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._out = bytearray()
        self._room = trio.Event()
        self._work = trio.Event()
        self._closed = False
        self._control = 0
        """Bytes of short frames since everything was handed over."""
        self.queued = 0
        """Bytes that were sent, as far as the protocol knows."""
        self.flushed = 0
        """Bytes that the network may have taken, and not one fewer."""
        self.reads = 0
        self._frames = FrameCount()
        self.flooded = False
        """The peer sent more frames that carry nothing than anybody needs."""
        self.parked = False
        """Everything that has arrived was read."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            while True:
                try:
                    data = self._connection.recv_nowait(max_bytes or READ)
                except trio.WouldBlock:
                    self.parked = True
                    await self._connection.wait_readable()
                    self.parked = False
                    continue
                self.reads += 1
                await trio.lowlevel.checkpoint()
                if self._frames.floods(data, trio.current_time()):
                    self.flooded = True
                    self.close()
                    raise trio.BrokenResourceError
                return data
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        if len(data) <= _CONTROL_FRAME:
            self._control += len(data)
            if self._control > MAX_CONTROL:
                self.close()
                raise trio.BrokenResourceError
        self._out += data
        self.queued += len(data)
        self._work.set()

    async def wait_send_all_might_not_block(self) -> None:
        await self.wait_room()

    @property
    def backlog(self) -> int:
        return len(self._out)

    async def wait_room(self) -> None:
        """Until the next message may be begun."""
        await trio.lowlevel.checkpoint()
        while len(self._out) >= BACKLOG and not self._closed:
            self._room = trio.Event()
            await self._room.wait()

    async def flush_forever(self) -> None:
        """Hand over what is sent, until the connection ends."""
        try:
            while not self._closed:
                if not self._out:
                    self._control = 0
                    self._work = trio.Event()
                    await self._work.wait()
                    continue
                piece = bytes(self._out[:WRITE])
                self.flushed += len(piece)
                await self._connection.send_all(piece)
                del self._out[: len(piece)]
                if len(self._out) < BACKLOG:
                    self._room.set()
        except (OSError, trio.ClosedResourceError):
            self.close()

    def close(self) -> None:
        """Close the connection; wakes the tasks that wait here."""
        self._closed = True
        self._connection.close()
        self._work.set()
        self._room.set()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


class WebSocket:
    """An open WebSocket; its tasks run in the nursery that it was opened in."""

    def __init__(self, nursery: trio.Nursery, connection: Connection) -> None:
        self.stream = WebSocketStream(connection)
        self._nursery = nursery
        self._socket: Any = None
        self._failure: Exception | None = None
        self._over = trio.CancelScope()

    async def shake_hands(
        self,
        origin: Origin,
        target: str,
        headers: Sequence[Header],
        *,
        max_message_bytes: int,
        now: Callable[[], float],
    ) -> None:
        """Become usable. `now` gives Unix time, for dates in a refusal's headers.

        Raises:
            EngineError: the server refuses, or speaks another protocol.
        """
        import trio_websocket

        self._nursery.start_soon(self.stream.flush_forever)
        with self._over:
            self._socket = await trio_websocket.wrap_client_stream(
                _Guarded(self),  # type: ignore[arg-type]
                self.stream,  # type: ignore[arg-type]
                origin.authority,
                target,
                extra_headers=[(name.encode(), _bytes(value)) for name, value in headers],
                message_queue_size=1,
                max_message_size=max_message_bytes,
                receive_buffer_size=READ,
            )
        if self._socket is None:
            raise self._refusal(origin, now())

    def _refusal(self, origin: Origin, now: float) -> EngineError:
        import trio_websocket

        failure = self._failure
        if not isinstance(failure, trio_websocket.ConnectionRejected):
            msg = f"{origin} closed the connection during the WebSocket handshake; try again"
            return ConnectError(msg)
        pairs = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in failure.headers or ())
        head = HttpHead(failure.status_code, pairs)
        if 300 <= head.status < 400:
            msg = (
                f"{origin} redirects the WebSocket handshake ({head.status}); keys do not follow. "
                "If you trust the target, set the endpoint's url to it"
            )
            return RedirectRefusedError(msg, status=head.status)
        return error_from_answer(head, bytes(failure.body or b""), now=now)

    async def receive(self) -> str | bytes | None:
        """The next message; None at the end, which `ending` explains."""
        import trio_websocket

        try:
            message: str | bytes = await self._socket.get_message()
        except trio_websocket.ConnectionClosed:
            return None
        return message

    async def send(self, text: str) -> bool:
        """Queue a message; False: the connection has ended."""
        return await self._do(self._socket.send_message, text)

    async def ping(self, payload: bytes) -> bool:
        """Ask, and wait for the answer; False: the connection has ended."""
        return await self._do(self._socket.ping, payload)

    async def goodbye(self, code: int = 1000) -> None:
        """Close in order; the caller bounds how long that may take."""
        try:
            await self._socket.aclose(code)
        except Exception as error:  # noqa: BLE001 - it was closing already, in its own way
            self._failure = self._failure or error

    async def _do(self, act: Callable[[Any], Awaitable[None]], argument: str | bytes) -> bool:
        import trio_websocket

        try:
            await act(argument)
        except trio_websocket.ConnectionClosed:
            return False
        except Exception as error:  # noqa: BLE001 - the protocol's own state was against it
            self._failure = self._failure or error
            return False
        return True

    def ending(self) -> WebSocketEnd:
        """How it ended, once it has."""
        reason = self._socket.closed if self._socket is not None else None
        if reason is None:
            return WebSocketEnd(NO_CLOSE, "", self.stream.flooded)
        return WebSocketEnd(int(reason.code), str(reason.reason or ""), self.stream.flooded)

    def close(self) -> None:
        """At once, without a goodbye."""
        self.stream.close()

    async def run_guarded(self, async_fn: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run the protocol's reader; its failure is this connection's."""
        try:
            await async_fn(*args)
        except Exception as error:  # noqa: BLE001 - rule 3
            self._failure = error
        finally:
            self.stream.close()
            if self._socket is None:
                self._over.cancel()


class _Guarded:
    """Stands for a nursery where the protocol starts its reader."""

    def __init__(self, owner: WebSocket) -> None:
        self._owner = owner

    def start_soon(self, async_fn: Callable[..., Awaitable[None]], *args: object) -> None:
        self._owner._nursery.start_soon(self._owner.run_guarded, async_fn, *args)


def ending_error(ending: WebSocketEnd, origin: Origin) -> EngineError:
    """The error of the user of the connection."""
    if ending.code == TOO_BIG:
        msg = f"{origin} sent a longer message than sessions.max_message_bytes allows; raise it"
        return TooLargeError(msg)
    if ending.flooded:
        msg = f"{origin} flooded the WebSocket: over {FloodGuard.MOST} frames that carry nothing"
        return ConnectionLostError(msg)
    if ending.code == NO_CLOSE:
        return ConnectionLostError(f"{origin} ended the WebSocket without closing it")
    error = ConnectionLostError(
        f"{origin} closed the WebSocket with code {ending.code}; .body has its reason",
        body=ending.reason or None,
        code=str(ending.code),
    )
    return error


def _bytes(value: str | Secret) -> bytes:
    return (value.reveal() if isinstance(value, Secret) else value).encode("latin-1")
