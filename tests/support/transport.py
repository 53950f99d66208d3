"""Requests, sinks and a small network in memory for tests of the transport."""

import errno
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.network import Address, Connection
from streamnursery.transport.ports import Phase, Unhurried
from streamnursery.values.errors import EngineError
from streamnursery.values.http import Header, HttpRequest, Peer
from streamnursery.values.origin import Origin

Handler: TypeAlias = "Callable[[ServerEnd], Awaitable[None]]"

OK_HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"


def http_request(
    host: str = "127.0.0.1",
    port: int = 80,
    *,
    scheme: str = "http",
    method: str = "POST",
    target: str = "/v1/chat/completions",
    headers: tuple[Header, ...] = (),
    body: bytes = b"{}",
    peer: Peer | None = None,
) -> HttpRequest:
    peer = peer or Peer(Origin(scheme, host, port))
    return HttpRequest(peer, method, target, headers, body)


def shown(error: BaseException) -> str:
    """The traceback, with every local variable, of `error` and of all that led to it."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(lines.format(chain=True))


class Phases(Unhurried):
    """A `Progress` that remembers, with times."""

    def __init__(self) -> None:
        self.seen: list[tuple[Phase, float]] = []

    def enter(self, phase: Phase) -> None:
        self.seen.append((phase, trio.current_time()))

    @property
    def names(self) -> list[str]:
        return [phase.name for phase, _ in self.seen]


class Collector:
    """A `ByteSink` that keeps what it is fed; full after `room` bytes."""

    def __init__(self, room: int = 1 << 62) -> None:
        self.room = room
        self.feeds: list[bytes] = []
        self.ended = trio.Event()
        self.failure: EngineError | None = None
        self.ends = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.feeds)

    def feed(self, data: bytes) -> bool:
        self.feeds.append(data)
        self.room -= len(data)
        return self.room > 0

    def end(self, error: EngineError | None) -> None:
        self.ends += 1
        self.failure = error
        self.ended.set()


class ServerEnd:
    """A server's side of one connection: reads requests, sends raw bytes."""

    def __init__(self, connection: Connection, reset: Callable[[], None]) -> None:
        self.connection = connection
        self.reset = reset
        """Close with RST."""
        self._buffer = bytearray()
        self.requests: list[bytes] = []

    async def _more(self) -> bool:
        while True:
            try:
                data = self.connection.recv_nowait(65536)
            except trio.WouldBlock:
                await self.connection.wait_readable()
                continue
            self._buffer += data
            return bool(data)

    async def read_head(self) -> bytes | None:
        """The next header block; None at the end of the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                return None
        end = self._buffer.index(b"\r\n\r\n") + 4
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    async def read_request(self) -> bytes | None:
        """The next request, head and body."""
        head = await self.read_head()
        if head is None:
            return None
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(self._buffer) < length:
            if not await self._more():
                return None
        request = head + bytes(self._buffer[:length])
        del self._buffer[:length]
        self.requests.append(request)
        return request

    async def receive(self) -> bytes:
        """Whatever comes next; b"" at the end of the connection."""
        if not self._buffer:
            await self._more()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def send(self, data: bytes) -> None:
        await self.connection.send_all(data)


async def answer_hello(end: ServerEnd) -> None:
    """Answers every request with a small body and keeps the connection open."""
    while await end.read_request() is not None:
        await end.send(OK_HELLO)


class MemoryNetwork:
    """Names, addresses and what lives there. No socket, no thread.

    An address nobody serves refuses; one that is in `black_holes` never answers.
    """

    def __init__(self, nursery: trio.Nursery, link: Link | None = None) -> None:
        self._nursery = nursery
        self._link = link
        self._handlers: dict[Address, Handler] = {}
        self.names: dict[str, list[str]] = {}
        self.names_later: dict[str, list[str]] = {}
        """What the names lead to once they have been asked for."""
        self.black_holes: set[str] = set()
        self.resolve_after = 0.0
        self.connect_after: dict[str, float] = {}
        self.gate: trio.Event | None = None
        """Connects wait for it, and go on in one and the same step."""
        self.resolved: list[str] = []
        self.dialled: list[tuple[str, float]] = []
        self.clients: list[PipeConnection] = []
        self.servers: list[ServerEnd] = []

    def serve(self, ip: str, handler: Handler, port: int = 80) -> None:
        self._handlers[ip, port] = handler

    @property
    def open_connections(self) -> int:
        return sum(not connection.closed for connection in self.clients)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.resolved.append(host)
        await trio.sleep(self.resolve_after)
        if host in self.names:
            found = [(ip, port) for ip in self.names[host]]
            self.names |= self.names_later
            return found
        if host.replace(".", "").isdigit() or ":" in host:
            return [(host, port)]
        raise OSError(errno.ENOENT, "Name or service not known")

    async def connect(self, address: Address) -> Connection:
        self.dialled.append((address[0], trio.current_time()))
        if address[0] in self.black_holes:
            await trio.sleep_forever()
        await trio.sleep(self.connect_after.get(address[0], 0))
        if self.gate is not None:
            await self.gate.wait()
        handler = self._handlers.get(address)
        if handler is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        client, server = pipe(self._link)
        self.clients.append(client)
        end = ServerEnd(server, server.reset)
        self.servers.append(end)
        self._nursery.start_soon(self._serve, handler, end)
        return client

    async def _serve(self, handler: Handler, end: ServerEnd) -> None:
        try:
            await handler(end)
        except (OSError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            end.connection.close()
