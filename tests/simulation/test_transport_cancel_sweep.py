"""A cancel before every task step of a request: no connection, task or pool entry is left."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import h2.exceptions
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.http2 import frames
from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.origin import Origin
from tests.support.http2_server import Http2End
from tests.support.tls import TlsServerEnd, ca_file, server_context
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    Collector,
    MemoryNetwork,
    Phases,
    ServerEnd,
    chunk,
    http_request,
)

Run: TypeAlias = Callable[[trio.CancelScope], Awaitable[None]]
Scenario: TypeAlias = Callable[[HttpTransport, HttpRequest], Awaitable[None]]

PLAIN = Peer(Origin("http", "api.test", 80))
H2C = Peer(Origin("http", "api.test", 8080), http="h2c")


class CancelBeforeStep(trio.abc.Instrument):
    """Cancels its scope just before task step number `point` of a run."""

    def __init__(self, point: int | None) -> None:
        self.scope = trio.CancelScope()
        self.steps = 0
        self._point = point

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self._point:
            self.scope.cancel()


def cancel_at_every_step(run: Run) -> int:
    """Run undisturbed, then once per task step with a cancel before it; the number of steps."""

    def once(point: int | None) -> int:
        instrument = CancelBeforeStep(point)
        trio.run(
            run, instrument.scope, clock=MockClock(autojump_threshold=0), instruments=[instrument]
        )
        return instrument.steps

    steps = once(None)
    for point in range(1, steps + 1):
        try:
            once(point)
        except BaseException as error:
            error.add_note(f"cancelled before task step {point} of {steps}")
            raise
    return steps


async def serve(end: ServerEnd) -> None:
    """Two answers per connection, in pieces; then the connection dies."""
    for _ in range(2):
        if await end.read_request() is None:
            return
        await end.send(CHUNKED_HEAD + chunk(b"one"))
        await trio.sleep(0.01)
        await end.send(chunk(b"data: [DONE]\n\n"))
        await trio.sleep(0.01)
        await end.send(LAST_CHUNK)
    await end.read_head()


async def serve_tls(end: ServerEnd) -> None:
    inner = TlsServerEnd(end.connection, server_context("api.test"))
    await inner.handshake()
    await serve(ServerEnd(inner, end.reset))


async def answer_http2(server: Http2End, stream_id: int, goodbye: bool) -> None:
    with suppress(h2.exceptions.ProtocolError, OSError, trio.ClosedResourceError):
        await server.head(stream_id)
        await server.data(stream_id, b"one")
        if goodbye:
            await server.flush(frames.goaway(stream_id, 0))
        await trio.sleep(0.01)
        await server.data(stream_id, b"data: [DONE]\n\n", end=True)


async def serve_http2(end: ServerEnd) -> None:
    """Answers in pieces, and every second stream is followed by a GOAWAY."""
    server = Http2End(end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        for count in range(1, 100):
            await server.until_opened(count)
            if server.gone:
                break
            nursery.start_soon(answer_http2, server, server.opened[count - 1], count % 2 == 0)
        nursery.cancel_scope.cancel()


async def serve_http2_tls(end: ServerEnd) -> None:
    inner = TlsServerEnd(end.connection, server_context("api.test", alpn=("h2",)))
    await inner.handshake()
    await serve_http2(ServerEnd(inner, end.reset))


async def serve_proxy(end: ServerEnd) -> None:
    await end.read_head()
    await end.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await serve(end)


async def pull(transport: HttpTransport, request: HttpRequest) -> None:
    response = await transport.open(request, Phases())
    try:
        while await response.receive_some():
            pass
    finally:
        response.close()


async def push(transport: HttpTransport, request: HttpRequest) -> None:
    response = await transport.open(request, Phases())
    try:
        sink = Collector(room=16)
        response.attach(sink)
        await trio.sleep(0.012)
        response.resume()
        await response.drain()
    finally:
        response.close()


async def three_pushes(transport: HttpTransport, request: HttpRequest) -> None:
    """The third one meets the dead connection and is sent again."""
    for _ in range(3):
        await push(transport, request)


async def two_at_once(transport: HttpTransport, request: HttpRequest) -> None:
    """The second one waits for the connection that the first one makes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pull, transport, request)
        nursery.start_soon(pull, transport, request)


async def check(peer: Peer, body: bytes, scenario: Scenario, scope: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, Link(latency=0.001))
        # Two addresses, the first one late: both attempts are under way when one wins.
        network.names |= {"api.test": ["::1", "127.0.0.1"], "proxy.test": ["::9", "127.0.0.9"]}
        network.connect_after = {"::1": 0.26, "127.0.0.1": 0.01, "::9": 0.26, "127.0.0.9": 0.01}
        network.resolve_after = 0.01
        for ip in ("::1", "127.0.0.1"):
            network.serve(ip, serve)
            network.serve(ip, serve_tls, 443)
            network.serve(ip, serve_http2, 8080)
            network.serve(ip, serve_http2_tls, 8443)
        network.serve("::9", serve_proxy, 3128)
        network.serve("127.0.0.9", serve_proxy, 3128)
        transport = HttpTransport(nursery, network)
        request = http_request(peer=peer, body=body)
        with scope:
            await scenario(transport, request)
        statistics = transport.statistics()
        assert statistics.busy == 0
        assert network.open_connections == statistics.idle
        with trio.fail_after(60):
            await pull(transport, request)
        transport.close()
        assert network.open_connections == 0
        for end in network.servers:
            end.connection.close()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


@pytest.mark.parametrize("scenario", [pull, push, three_pushes])
def test_x2_a_cancelled_request_leaves_nothing(scenario: Scenario) -> None:
    steps = cancel_at_every_step(lambda scope: check(PLAIN, b"{}", scenario, scope))
    assert steps > 20


def test_x2_a_cancelled_upload_leaves_nothing() -> None:
    cancel_at_every_step(lambda scope: check(PLAIN, b"x" * 300_000, pull, scope))


def test_x2_a_cancelled_handshake_leaves_nothing(tmp_path: Path) -> None:
    peer = Peer(Origin("https", "api.test", 443), ca_file=ca_file(tmp_path))
    cancel_at_every_step(lambda scope: check(peer, b"{}", push, scope))


def test_x2_a_cancelled_tunnel_leaves_nothing() -> None:
    peer = Peer(PLAIN.origin, proxy="http://proxy.test:3128")
    cancel_at_every_step(lambda scope: check(peer, b"{}", push, scope))


@pytest.mark.parametrize("scenario", [pull, push, two_at_once])
def test_x2_a_cancelled_stream_of_http2_leaves_nothing(scenario: Scenario) -> None:
    steps = cancel_at_every_step(lambda scope: check(H2C, b"{}", scenario, scope))
    assert steps > 20


def test_x2_r4_a_cancelled_upload_over_http2_leaves_nothing() -> None:
    cancel_at_every_step(lambda scope: check(H2C, b"x" * 300_000, pull, scope))


def test_x2_a_cancelled_choice_of_http2_leaves_nothing(tmp_path: Path, tier: str) -> None:
    peer = Peer(Origin("https", "api.test", 8443), ca_file=ca_file(tmp_path))
    scenario = pull if tier == "test" else three_pushes
    cancel_at_every_step(lambda scope: check(peer, b"{}", scenario, scope))
