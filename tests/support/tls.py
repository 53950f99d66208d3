"""Certificates, and a TLS server over any connection."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trio
import trustme

from streamnursery.transport.network import Buffer, Connection


@cache
def authority(name: str = "the") -> trustme.CA:
    """A certificate authority; the same one for the same name."""
    return trustme.CA(organization_name=f"{name} test authority")


def ca_file(folder: Path, ca: trustme.CA | None = None) -> str:
    """The authority's certificate as a PEM file."""
    path = folder / "ca.pem"
    (ca or authority()).cert_pem.write_to_path(str(path))
    return str(path)


@cache
def server_context(
    *hosts: str,
    ca: trustme.CA | None = None,
    expired: bool = False,
    alpn: tuple[str, ...] = ("http/1.1",),
) -> ssl.SSLContext:
    now = datetime.now(UTC)
    leaf = (ca or authority()).issue_cert(
        *(hosts or ("localhost", "127.0.0.1")),
        not_before=now - timedelta(days=9),
        not_after=now + timedelta(days=-1 if expired else 9),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(list(alpn))
    leaf.configure_cert(context)
    return context


class TlsServerEnd:
    """The server's side of TLS, with its raw records within reach; itself a `Connection`."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        self.below = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self._fill()
            except ssl.SSLError:
                await self.flush()  # the alert
                raise
            else:
                await self.flush()
                return

    def records(self, *texts: bytes, close: bool = False) -> bytes:
        """Each text as a record of its own, and close_notify behind them."""
        for text in texts:
            self.tls.write(text)
        if close:
            with suppress(ssl.SSLWantReadError):
                self.tls.unwrap()
        return self._outgoing.read()

    async def flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self.below.send_all(data)

    async def _fill(self) -> None:
        while True:
            try:
                data = self.below.recv_nowait(65536)
                break
            except trio.WouldBlock:
                await self.below.wait_readable()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def recv_nowait(self, max_bytes: int) -> bytes:
        try:
            return self.tls.read(max_bytes)
        except ssl.SSLWantReadError:
            raise trio.WouldBlock from None
        except ssl.SSLError:
            return b""

    async def wait_readable(self) -> None:
        await self._fill()

    async def send_all(self, data: Buffer) -> None:
        self.tls.write(data)
        await self.flush()

    def close(self) -> None:
        self.below.close()

    def fileno(self) -> int | None:
        return self.below.fileno()
