"""A server of HTTP/2 for tests of the transport: what it says is the test's business."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import h2.connection
import h2.events
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.client import Exchange, HttpTransport
from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.origin import Origin
from tests.support.http2 import OK, new_server
from tests.support.transport import MemoryNetwork, Phases, ServerEnd, http_request

IP = "127.0.0.1"
H2C = Peer(Origin("http", IP, 80), http="h2c")


class Http2End:
    """The server's side of one connection. Reads as it goes; answers are sent by the test."""

    def __init__(self, end: ServerEnd, max_streams: int | None = None) -> None:
        self.end = end
        self.h2: h2.connection.H2Connection = new_server()
        if max_streams is not None:
            self.h2.update_settings({3: max_streams})
        self.seen: list[h2.events.Event] = []
        self.opened: list[int] = []
        """Streams, in the order in which they were opened."""
        self.resets: list[int] = []
        self.gone = False
        """The client has closed the connection."""
        self.deaf = False
        """Read nothing and say nothing."""
        self._changed = trio.Event()
        self._write = trio.Lock()

    async def run(self) -> None:
        with suppress(OSError, trio.ClosedResourceError):
            await self._read_on()
        self.gone = True
        self._tell()

    async def _read_on(self) -> None:
        await self.flush()
        while data := await self.end.receive():
            if self.deaf:
                continue
            for event in self.h2.receive_data(data):
                self._note(event)
            await self.flush()
            self._tell()

    def _note(self, event: h2.events.Event) -> None:
        self.seen.append(event)
        if isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None
            self.opened.append(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            assert event.stream_id is not None
            self.resets.append(event.stream_id)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until_opened(self, count: int) -> None:
        while len(self.opened) < count and not self.gone:
            await self._changed.wait()

    async def until_reset(self, count: int = 1) -> None:
        while len(self.resets) < count and not self.gone:
            await self._changed.wait()

    async def until_gone(self) -> None:
        while not self.gone:
            await self._changed.wait()

    async def flush(self, more: bytes = b"") -> None:
        async with self._write:
            data = self.h2.data_to_send() + more
            if data:
                await self.end.send(data)

    async def head(self, stream_id: int, *, end: bool = False) -> None:
        self.h2.send_headers(stream_id, OK, end_stream=end)
        await self.flush()

    async def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """As the windows allow; waits for them."""
        while True:
            room = min(self.h2.local_flow_control_window(stream_id), 16_384, len(data))
            if room or not data:
                self.h2.send_data(stream_id, data[:room], end_stream=end and room == len(data))
                await self.flush()
                data = data[room:]
            if not data:
                return
            if not room:
                await self._changed.wait()

    async def answer(self, stream_id: int, data: bytes = b"hello") -> None:
        await self.head(stream_id)
        await self.data(stream_id, data, end=True)


class Rig:
    """A transport, a network, and servers that a test speaks for."""

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Http2Settings | None = None,
        *,
        max_streams: int | None = None,
        echo: bool = False,
    ) -> None:
        """`echo`: every request is answered with "hello" at once."""
        self.nursery = nursery
        self.network = MemoryNetwork(nursery, Link(latency=0.01))
        self.transport = HttpTransport(nursery, self.network, http2=settings)
        self.servers: list[Http2End] = []
        self.results: list[object] = []
        """What became of the requests of `start`: bodies or errors, as they ended."""
        self.max_streams = max_streams
        self._echo = echo
        self.network.serve(IP, self._serve)

    async def _serve(self, end: ServerEnd) -> None:
        server = Http2End(end, self.max_streams)
        self.servers.append(server)
        async with trio.open_nursery() as nursery:
            if self._echo:
                nursery.start_soon(self._answer_all, server)
            await server.run()
            nursery.cancel_scope.cancel()

    async def _answer_all(self, server: Http2End) -> None:
        answered = 0
        while True:
            await server.until_opened(answered + 1)
            if server.gone:
                return
            stream_id = server.opened[answered]
            answered += 1
            if stream_id not in server.resets:
                await server.answer(stream_id)

    def request(self, body: bytes = b"{}") -> HttpRequest:
        return http_request(peer=H2C, body=body)

    async def open(self, body: bytes = b"{}", phases: Phases | None = None) -> Exchange:
        return await self.transport.open(self.request(body), phases or Phases())

    async def fetch(self, body: bytes = b"{}") -> bytes:
        response = await self.open(body)
        parts = []
        try:
            while data := await response.receive_some():
                parts.append(data)
        finally:
            response.close()
        return b"".join(parts)

    async def ask(self, count: int = 1) -> Http2End:
        """The one server, once it has that many requests, which wait for their answers."""
        self.start(count)
        await trio.sleep(0.2)
        (server,) = self.servers
        return server

    def start(self, count: int) -> None:
        """That many requests at once."""

        async def one() -> None:
            try:
                self.results.append(await self.fetch())
            except Exception as error:  # noqa: BLE001 - a test looks at it
                self.results.append(error)

        for _ in range(count):
            self.nursery.start_soon(one)


@asynccontextmanager
async def rigged(
    settings: Http2Settings | None = None, *, max_streams: int | None = None, echo: bool = False
) -> AsyncIterator[Rig]:
    """A rig; afterwards nothing is left of its connections, tasks and streams."""
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, settings, max_streams=max_streams, echo=echo)
        yield rig
        statistics = rig.transport.statistics()
        assert (statistics.busy, statistics.http2_streams) == (0, 0), statistics
        assert rig.network.open_connections == statistics.idle
        rig.transport.close()
        assert rig.network.open_connections == 0
        for server in rig.servers:
            server.end.connection.close()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
