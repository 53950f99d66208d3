"""One HTTP/2 stream at a server: a request that comes in, and the stream its answer goes to.

Rule 1: to the player of an answer it is a `ByteStream`: it takes HTTP/1.1 bytes, turns their head
        into HEADERS and the rest into DATA, as far as the client's windows go.
Rule 2: a stream that the client has reset breaks like a connection that it has closed.
Rule 3: the window of a body is given back as its handler takes it.
"""

from contextlib import suppress
from typing import Protocol

import h2.connection
import h2.exceptions
import trio

from streamnursery.serving.head import ClientGoneError, RefusedError
from streamnursery.serving.stream import Buffer

MAX_HEAD = 1024 * 1024
"""Bytes of a head that never ends; it cannot be said in HTTP/2."""
_OF_CONNECTIONS = frozenset({"connection", "keep-alive", "transfer-encoding"})


class ReplyConnection(Protocol):
    """The connection, as its streams know it."""

    h2: h2.connection.H2Connection

    @property
    def room(self) -> int:
        """Bytes that can be taken on top of what is unsent."""

    def flush(self) -> None:
        """Send what there is to send."""

    def say_goodbye(self, last_id: int, code: int) -> None:
        """Send GOAWAY; streams beyond `last_id` are not looked at any more."""

    def mute(self) -> None:
        """Say nothing more, not even to a PING."""


class Http2Reply:
    """One request and where its answer goes."""

    def __init__(self, connection: ReplyConnection, stream_id: int) -> None:
        self.id = stream_id
        self.connection = connection
        self.body_ended = False
        self.held_up = False
        """The window of the request's body is not given back."""
        self.code = 2
        """With which the stream is reset when its answer breaks off: INTERNAL_ERROR."""
        self.gone = False
        """The stream is over: the client has reset it, or the answer is whole."""
        self._body = bytearray()
        """What came and was not taken."""
        self._owed = 0
        """Bytes of the windows that were not given back."""
        self._complete = False
        """The client has sent the whole body."""
        self._head = bytearray()
        self._in_body = False
        self._changed = trio.Event()

    # The request. -----------------------------------------------------------------------------

    @property
    def out(self) -> "Http2Reply":
        return self

    def on_data(self, data: bytes, size: int) -> None:
        self._body += data
        self._owed += size
        self.on_room()

    def on_end(self) -> None:
        self._complete = True
        self.body_ended = not self._body
        self.on_room()

    async def receive_body(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._body or self._complete or self.gone):
            await self._changed.wait()
        if self.gone:
            raise ClientGoneError
        data = bytes(self._body)
        self._body.clear()
        self.body_ended = self._complete
        if self._owed and not self.held_up:
            self.connection.h2.acknowledge_received_data(self._owed, self.id)
            self._owed = 0
            self.connection.flush()
        return data

    def settle(self) -> None:
        """The call is over: the connection gets back what is left of its window."""
        owed, self._owed = self._owed, 0
        if owed:
            self.connection.h2.increment_flow_control_window(owed)
            self.connection.flush()

    async def watch(self) -> None:
        while not self.gone:
            await self._changed.wait()

    def upgrade(self) -> bytes:
        raise RefusedError(501, "WebSockets are served over HTTP/1.1 only.")

    # As a `ByteStream`. ----------------------------------------------------------------------

    def recv_nowait(self, max_bytes: int) -> bytes:
        del max_bytes  # the connection reads: see `watch`
        raise trio.WouldBlock

    async def wait_readable(self) -> None:
        await trio.sleep_forever()

    def send_nowait(self, data: Buffer, *, apart: bool = False) -> int:
        del apart
        if self.gone:
            raise BrokenPipeError("the client has reset the stream")
        try:
            return self._send(memoryview(data))
        except h2.exceptions.ProtocolError:
            raise BrokenPipeError("the client has ended the connection") from None

    def _send(self, view: memoryview) -> int:
        taken = 0
        while not self._in_body and taken < len(view) and self.connection.room > 0:
            taken += self._take_head(view[taken:])
            self.connection.flush()
        if self._in_body:
            taken += self._send_body(view[taken:])
        return taken

    def _take_head(self, view: memoryview) -> int:
        """Bytes of one head, or of the beginning of one."""
        before = len(self._head)
        self._head += view
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEAD:
                raise BrokenPipeError("a head without end cannot be said in HTTP/2")
            return len(view)
        lines = bytes(self._head[:end]).decode("latin-1").split("\r\n")
        self._head.clear()
        status = lines[0].split(" ")[1]
        parted = (line.partition(": ") for line in lines[1:])
        fields = [(name.lower(), value) for name, _, value in parted]
        fields = [field for field in fields if field[0] not in _OF_CONNECTIONS]
        self.connection.h2.send_headers(self.id, [(":status", status), *fields])
        self._in_body = not status.startswith("1")
        return end + 4 - before

    def _send_body(self, view: memoryview) -> int:
        conn, sent = self.connection.h2, 0
        while sent < len(view):
            room = min(self.connection.room, conn.local_flow_control_window(self.id))
            size = min(room, conn.max_outbound_frame_size, len(view) - sent)
            if size <= 0:
                break
            conn.send_data(self.id, bytes(view[sent : sent + size]))
            sent += size
            self.connection.flush()
        return sent

    async def wait_writable(self) -> None:
        """Return when something has changed that may have made room."""
        await self._changed.wait()

    def on_room(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def send_eof(self) -> None:
        """The body ends with the connection in HTTP/1.1, and here with the stream."""
        self.finish()

    def close(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Break the answer off."""
        if not self.gone:
            self.gone = True
            with suppress(h2.exceptions.ProtocolError):
                self.connection.h2.reset_stream(self.id, self.code)
                self.connection.flush()

    # The end. --------------------------------------------------------------------------------

    def finish(self) -> None:
        """The answer is whole; one that had no head in HTTP cannot be."""
        if not self._in_body:
            self.reset()
            return
        self.gone = True
        conn = self.connection.h2
        with suppress(h2.exceptions.ProtocolError):
            conn.end_stream(self.id)
            if not self._complete:
                conn.reset_stream(self.id, 0)
            self.connection.flush()

    def leave(self) -> None:
        """The client has reset the stream."""
        self.gone = True
        self.on_room()
