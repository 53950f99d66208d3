"""TLS on top of a server's byte stream: an SSLObject between two memory buffers.

Rule 1: `send_nowait` takes nothing until all of what it made of the data has gone below, so
        that nothing is left behind at the end of an answer. After 0 it wants the same data
        again, as OpenSSL does.
Rule 2: FIN without the TLS closing alert is what `send_eof` of the stream below makes; this
        one sends the alert first.
"""

import ssl
from contextlib import suppress

import trio

from streamnursery.serving.stream import READ, Buffer, ServerStream


class TlsStream:
    """The server's side."""

    def __init__(self, stream: ServerStream, context: ssl.SSLContext) -> None:
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unsent = memoryview(b"")
        self._taken = 0
        self._goodbye = False
        self._maybe_more = False

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on."""
        return self._tls.selected_alpn_protocol()

    async def handshake(self) -> None:
        """Raises `OSError`, `ssl.SSLError` among them, when the client does not go along."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._stream.wait_readable()
                self._pull()
            else:
                await self._flush()
                self._maybe_more = True
                return

    def feed(self, data: bytes) -> None:
        """Bytes that were read from the stream before."""
        self._incoming.write(data)

    def recv_nowait(self, max_bytes: int) -> bytes:
        while True:
            try:
                data = self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                self._maybe_more = False
                self._pull()
            except ssl.SSLZeroReturnError:
                return b""
            else:
                self._maybe_more = True
                return data

    def _pull(self) -> None:
        data = self._stream.recv_nowait(READ)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def wait_readable(self) -> None:
        if self._maybe_more:
            await trio.lowlevel.checkpoint()
        else:
            await self._stream.wait_readable()

    def send_nowait(self, data: Buffer, *, apart: bool = False) -> int:
        if not self._taken:
            self._taken = self._tls.write(data)
        self._push(apart=apart)
        if self._unsent:
            return 0
        taken, self._taken = self._taken, 0
        return taken

    async def wait_writable(self) -> None:
        await self._stream.wait_writable()

    def _push(self, *, apart: bool = False) -> None:
        if self._outgoing.pending and not self._unsent:
            self._unsent = memoryview(self._outgoing.read())
        if self._unsent:
            sent = self._stream.send_nowait(self._unsent, apart=apart)
            self._unsent = self._unsent[sent:]

    async def _flush(self) -> None:
        self._push()
        while self._unsent:
            await self._stream.wait_writable()
            self._push()

    def send_eof(self) -> None:
        if not self._goodbye:
            self._goodbye = True
            # Its error says that the client's own alert is missing, which is not needed.
            with suppress(ssl.SSLError):
                self._tls.unwrap()
        self._push()
        if self._unsent:
            raise trio.WouldBlock
        self._stream.send_eof()

    def close(self) -> None:
        self._stream.close()

    def reset(self) -> None:
        self._stream.reset()
