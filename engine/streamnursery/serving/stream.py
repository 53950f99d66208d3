"""The server's end of a connection, as every part of a server sees it."""

from typing import Protocol, TypeAlias

import trio

Buffer: TypeAlias = bytes | bytearray | memoryview
READ = 64 * 1024
"""Bytes of one read, at most."""


class ServerStream(Protocol):
    """The server's end of a connection."""

    def recv_nowait(self, max_bytes: int) -> bytes:
        """b"" after the client's end; `trio.WouldBlock` while there is nothing."""

    async def wait_readable(self) -> None: ...

    def send_nowait(self, data: Buffer, *, apart: bool = False) -> int:
        """Bytes taken; 0 when there is no room. `OSError` when the client has gone."""

    async def wait_writable(self) -> None: ...

    def send_eof(self) -> None:
        """Send FIN; `trio.WouldBlock` while what belongs before it has no room."""

    def close(self) -> None: ...

    def reset(self) -> None:
        """Close with RST."""


async def receive(stream: ServerStream, most: int = READ) -> bytes:
    """What the client sends next; b"" after its end."""
    while True:
        await stream.wait_readable()
        try:
            return stream.recv_nowait(most)
        except trio.WouldBlock:
            continue
