"""Messages on a connection that was upgraded to a WebSocket (RFC 6455), with wsproto.

Rule 1: one task runs `write`, and one receives. Any may send: a message goes out whole, and a
        sender that is cancelled while it waits for room has sent its message.
Rule 2: pings and the client's close are answered by `receive`.
"""

from collections import deque

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import ProtocolError

from streamnursery.serving.stream import ServerStream, receive

MAX_MESSAGE = 32 * 1024 * 1024
"""Bytes of a message from the client; beyond it the connection is closed with 1009."""
MAX_WAITING = 64 * 1024
"""Bytes that wait to be sent; beyond it senders wait."""


class ServerSocket:
    """The server's side. Made by `ServerCall.websocket`."""

    def __init__(self, stream: ServerStream, early: bytes = b"") -> None:
        self.pongs = True
        """Pings are answered."""
        self.muted = False
        """What comes is ignored, and nothing is sent."""
        self._stream = stream
        self._socket = Connection(ConnectionType.SERVER, trailing_data=early)
        self._events: deque[Event] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._out = bytearray()
        self._gone = False
        self._work = trio.Event()
        self._progress = trio.Event()

    async def receive(self) -> bytes | None:
        """The next message, text as UTF-8; None when the client has left or closed."""
        while True:
            self._events.extend(self._socket.events())
            while self._events:
                event = self._events.popleft()
                if isinstance(event, TextMessage | BytesMessage):
                    whole = self._joined(event)
                    if self._size > MAX_MESSAGE:
                        await self.close(1009, "The message is too large.")
                        return None
                    if whole is not None:
                        return whole
                elif isinstance(event, CloseConnection):
                    self._put(event.response())
                    await self.flush()
                    return None
                elif isinstance(event, Ping) and self.pongs:
                    self._put(event.response())
            if not await self._read():
                return None

    def _joined(self, event: TextMessage | BytesMessage) -> bytes | None:
        """The message that `event` completes."""
        data = event.data
        self._parts.append(data.encode() if isinstance(data, str) else bytes(data))
        self._size += len(self._parts[-1])
        if self._size > MAX_MESSAGE or not event.message_finished:
            return None
        whole, self._size = b"".join(self._parts), 0
        self._parts.clear()
        return whole

    async def _read(self) -> bool:
        try:
            data = await receive(self._stream)
            if data and not self.muted:
                self._socket.receive_data(data)
        except (OSError, ProtocolError):
            return False
        return bool(data)

    async def send(self, message: str | bytes) -> None:
        """Send a message; returns when there is room for more."""
        if isinstance(message, str):
            self._put(TextMessage(data=message))
        else:
            self._put(BytesMessage(data=message))
        await trio.lowlevel.checkpoint()
        while len(self._out) > MAX_WAITING and not (self.muted or self._gone):
            await self._progress.wait()

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Say goodbye, behind all that was sent."""
        self._put(CloseConnection(code, reason))
        await self.flush()

    async def flush(self) -> None:
        """Return when everything is sent, or never will be."""
        while self._out and not (self.muted or self._gone):
            await self._progress.wait()

    async def write(self) -> None:
        """Send what there is to send, until the client has gone or this is cancelled."""
        try:
            while True:
                if not self._out or self.muted:
                    self._work = trio.Event()
                    self._tell()
                    await self._work.wait()
                    continue
                sent = self._stream.send_nowait(self._out)
                del self._out[:sent]
                if sent:
                    self._tell()
                else:
                    await self._stream.wait_writable()
        except OSError:
            self._gone = True
            self._tell()

    def _put(self, event: Event) -> None:
        try:
            self._out += self._socket.send(event)
        except ProtocolError:
            return  # it is closing already
        self._work.set()

    def _tell(self) -> None:
        self._progress.set()
        self._progress = trio.Event()
