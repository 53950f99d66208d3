"""What is to be sent on an HTTP/2 connection, in which order, and how much of it may be.

Rule 1: control frames first, in the order in which they were made. Bodies come after them, a
        frame of each in turn.
Rule 2: a body waits here, not in a buffer: bytes become frames when both windows and the writer
        have room for them, so that a cancelled request takes its unsent body with it.
"""

from streamnursery.transport.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_STREAM,
    FRAME_HEAD,
    MAX_FRAME,
    MAX_WINDOW,
)
from streamnursery.transport.http2.stream import Http2Stream

TURN = 64 * 1024
"""Bytes that one write takes, about."""


class SendQueue:
    """Frames to send, and bodies that become frames."""

    def __init__(self) -> None:
        self.control = bytearray()
        self.window = DEFAULT_WINDOW
        """What the peer takes over all streams."""
        self._senders: dict[Http2Stream, None] = {}
        """Streams whose body may go on as far as their own window goes, in turn."""

    @property
    def pending(self) -> bool:
        """There is something that can be sent."""
        return bool(self.control) or (bool(self._senders) and self.window > 0)

    def send_body(self, stream: Http2Stream) -> None:
        """Send on what is unsent of this stream's body."""
        if stream.unsent and stream.send_window > 0:
            self._senders[stream] = None

    def drop(self, stream: Http2Stream) -> None:
        self._senders.pop(stream, None)

    def widen(self, increment: int) -> bool:
        """The peer takes more over all streams; whether that is a lawful window."""
        self.window += increment
        return self.window <= MAX_WINDOW

    def pack(self) -> bytes:
        """The next bytes to send; b"" if nothing can be sent."""
        parts: list[bytes | memoryview] = []
        size = len(self.control)
        if size:
            parts.append(bytes(self.control))
            self.control.clear()
        while self._senders and self.window > 0 and size < TURN:
            size += self._pack_one(next(iter(self._senders)), parts)
        return b"".join(parts)

    def _pack_one(self, stream: Http2Stream, parts: list[bytes | memoryview]) -> int:
        size = min(MAX_FRAME, self.window, stream.send_window, len(stream.unsent))
        del self._senders[stream]
        piece, stream.unsent = stream.unsent[:size], stream.unsent[size:]
        flags = 0 if stream.unsent else END_STREAM
        parts += (FRAME_HEAD.pack(size >> 8, size & 0xFF, DATA, flags, stream.id), piece)
        self.window -= size
        stream.send_window -= size
        self.send_body(stream)
        return size
