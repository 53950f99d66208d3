"""A transport and one server that a test speaks for, in memory: HTTP/1.1."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.http1 import Http1Exchange
from streamnursery.transport.pump import Readers
from streamnursery.values.http import Header
from tests.support.transport import (
    Collector,
    Handler,
    MemoryNetwork,
    Phases,
    ServerEnd,
    http_request,
)

IP = "127.0.0.1"


class Http1Rig:
    """`pump`: one task reads all responses; without it each connection has one."""

    def __init__(
        self, nursery: trio.Nursery, *, pump: bool = True, link: Link | None = None
    ) -> None:
        self.network = MemoryNetwork(nursery, link)
        readers = Readers(nursery, pump=pump)
        self.transport = HttpTransport(nursery, self.network, readers=readers)
        self.phases = Phases()
        """Of the latest request."""

    def serve(self, handler: Handler) -> None:
        self.network.serve(IP, handler)

    async def open(self, body: bytes = b"{}", headers: tuple[Header, ...] = ()) -> Http1Exchange:
        self.phases = Phases()
        exchange = await self.transport.open(http_request(body=body, headers=headers), self.phases)
        assert isinstance(exchange, Http1Exchange)
        return exchange

    async def attach(self, sink: Collector | None = None) -> tuple[Http1Exchange, Collector]:
        """An answer that is pushed into a sink."""
        response, sink = await self.open(), sink or Collector()
        response.attach(sink)
        return response, sink

    async def pushed(self, handler: Handler) -> Collector:
        """The sink of a request to `handler`, after its end."""
        self.serve(handler)
        _, sink = await self.attach()
        await sink.ended.wait()
        return sink

    async def pull(self, response: Http1Exchange) -> bytes:
        parts = []
        while data := await response.receive_some():
            parts.append(data)
        return b"".join(parts)

    @property
    def idle(self) -> int:
        return self.transport.statistics().idle

    @property
    def busy(self) -> int:
        return self.transport.statistics().busy


@asynccontextmanager
async def http1_rig(*, pump: bool = True, link: Link | None = None) -> AsyncIterator[Http1Rig]:
    """A rig for the length of the block."""
    async with trio.open_nursery() as nursery:
        rig = Http1Rig(nursery, pump=pump, link=link)
        yield rig
        rig.transport.close()
        nursery.cancel_scope.cancel()


def replies(*parts: bytes, apart: float = 1, keep: bool = False) -> Handler:
    """A server that sends `parts`, each as a read of its own, so many seconds apart; then it closes
    the connection, unless it is to `keep` it for more."""

    async def serve(end: ServerEnd) -> None:
        while await end.read_request() is not None:
            for count, part in enumerate(parts):
                if count:
                    await trio.sleep(apart)
                await end.send(part)
            if not keep:
                await trio.sleep(apart)
                return

    return serve
