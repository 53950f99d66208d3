"""Small raw servers on real loopback sockets."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from streamnursery.transport.client import HttpTransport
from streamnursery.transport.network import Buffer, Connection, SocketConnection
from streamnursery.values.http import Header, HttpRequest, Peer
from streamnursery.values.origin import Origin
from tests.support.tls import TlsServerEnd
from tests.support.transport import Handler, Phases, ServerEnd, http_request

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Counted:
    """A connection that counts the bytes it brings."""

    def __init__(self, below: Connection, server: "RawServer") -> None:
        self._below = below
        self._server = server

    def recv_nowait(self, max_bytes: int) -> bytes:
        data = self._below.recv_nowait(max_bytes)
        self._server.bytes_received += len(data)
        return data

    async def wait_readable(self) -> None:
        await self._below.wait_readable()

    async def send_all(self, data: Buffer) -> None:
        await self._below.send_all(data)

    def close(self) -> None:
        self._below.close()

    def fileno(self) -> int | None:
        return self._below.fileno()


class RawServer:
    """Listens on 127.0.0.1; `handler` gets each connection, inside TLS if there is a context."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2000)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.bytes_received = 0
        """Of the application, so without handshakes."""
        self.ends: list[ServerEnd] = []

    @property
    def requests(self) -> list[bytes]:
        return [request for end in self.ends for request in end.requests]

    def peer(self, *, ca_file: str = "", proxy: str = "", insecure: bool = False) -> Peer:
        origin = Origin("https" if self._context else "http", "127.0.0.1", self.port)
        return Peer(origin, ca_file=ca_file, proxy=proxy, insecure=insecure)

    def request(self, *, headers: tuple[Header, ...] = (), body: bytes = b"{}") -> HttpRequest:
        return http_request(peer=self.peer(), headers=headers, body=body)

    async def run(self) -> None:
        with self._listener:
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        sock, _ = self._listener.accept()
                    except BlockingIOError:
                        await trio.lowlevel.wait_readable(self._listener)
                    else:
                        sock.setblocking(False)
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        self.connections += 1
                        nursery.start_soon(self._serve, sock)

    async def _serve(self, sock: socket.socket) -> None:
        connection = SocketConnection(sock)

        def reset() -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.close()

        try:
            inner: Connection = connection
            if self._context is not None:
                tls = TlsServerEnd(connection, self._context)
                await tls.handshake()
                inner = tls
            end = ServerEnd(_Counted(inner, self), reset)
            self.ends.append(end)
            await self._handler(end)
        except (OSError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            connection.close()


@asynccontextmanager
async def serving(
    handler: Handler, context: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """A server for the length of the block."""
    server = RawServer(handler, context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def transporting(*, trust_env: bool = False) -> AsyncIterator[HttpTransport]:
    """A transport on real sockets for the length of the block."""
    async with trio.open_nursery() as nursery:
        transport = HttpTransport(nursery, trust_env=trust_env)
        yield transport
        transport.close()
        nursery.cancel_scope.cancel()


async def fetch(transport: HttpTransport, request: HttpRequest) -> tuple[int, bytes]:
    """Status and body of an answer, pulled to its end."""
    response = await transport.open(request, Phases())
    parts = []
    try:
        while data := await response.receive_some():
            parts.append(data)
    finally:
        response.close()
    return response.head.status, b"".join(parts)
