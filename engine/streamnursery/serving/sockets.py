"""The server's end of a real connection."""

import socket
import struct

import trio

from streamnursery.serving.stream import Buffer


class SocketStream:
    """An accepted socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._closed = False

    def recv_nowait(self, max_bytes: int) -> bytes:
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._sock)

    def send_nowait(self, data: Buffer, *, apart: bool = False) -> int:
        del apart  # TCP draws no borders; without Nagle each send mostly goes out by itself.
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._sock)

    def send_eof(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST."""
        if not self._closed:
            # Lingering on for zero seconds is how the socket API spells it.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
