"""Connections used again, on real sockets."""

import pytest
import trio

from streamnursery.values.errors import ConnectionLostError
from tests.support.servers import fetch, serving, transporting
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    OK_HELLO,
    Collector,
    Phases,
    ServerEnd,
    answer_hello,
    chunk,
    http_request,
)


async def test_fifty_requests_one_after_another_are_one_connection() -> None:
    async with serving(answer_hello) as server, transporting() as transport:
        for _ in range(50):
            assert await fetch(transport, server.request()) == (200, b"hello")
        assert server.connections == 1
        assert transport.statistics().idle == 1


async def test_e1_fifty_streams_left_at_their_end_mark_are_one_connection() -> None:
    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"))
            await trio.lowlevel.checkpoint()
            await end.send(LAST_CHUNK)

    async with serving(serve) as server, transporting() as transport:
        for _ in range(50):
            response = await transport.open(server.request(), Phases())
            sink = Collector(room=1)
            response.attach(sink)
            while not sink.data:
                await trio.lowlevel.checkpoint()
            await response.drain()
        assert server.connections == 1


async def test_c8_three_hundred_keep_alive_races_are_seen_by_nobody() -> None:
    """The server closes while the next request is on its way: at this step or one of the next,
    with FIN or RST."""
    about_to_send = trio.Event()
    races = 0

    async def serve(end: ServerEnd) -> None:
        nonlocal races
        while await end.read_request():
            await end.send(OK_HELLO)
            await about_to_send.wait()
            if len(end.requests) % 2:
                for _ in range(races % 5):
                    await trio.lowlevel.checkpoint()
                races += 1
                if races % 2:
                    end.reset()
                return

    async with serving(serve) as server, transporting() as transport:
        for _ in range(300):
            about_to_send = trio.Event()
            assert await fetch(transport, server.request()) == (200, b"hello")
            about_to_send.set()
            assert await fetch(transport, server.request()) == (200, b"hello")
        assert races >= 300
        assert server.connections > 300
        assert transport.statistics().busy == 0


async def test_a_server_that_closed_an_idle_connection_is_connected_to_anew() -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(OK_HELLO)

    async with serving(serve) as server, transporting() as transport:
        for _ in range(5):
            assert await fetch(transport, server.request()) == (200, b"hello")
            await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 5


@pytest.mark.parametrize("apart", [False, True])
async def test_an_answer_nobody_asked_for_is_never_taken_for_the_next_one(apart: bool) -> None:
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"

    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            if apart:
                await end.send(OK_HELLO)
                await end.send(poison)
            else:
                await end.send(OK_HELLO + poison)

    async with serving(serve) as server, transporting() as transport:
        for _ in range(5):
            assert await fetch(transport, server.request()) == (200, b"hello")
            await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 5


async def test_many_at_once_never_wait_for_each_other() -> None:
    everybody = trio.Event()
    arrived = 0

    async def serve(end: ServerEnd) -> None:
        nonlocal arrived
        while await end.read_request():
            arrived += 1
            if arrived == 300:
                everybody.set()
            await everybody.wait()
            await end.send(OK_HELLO)

    async with serving(serve) as server, transporting() as transport:
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(fetch, transport, server.request())
        assert server.connections == 300
        statistics = transport.statistics()
        assert (statistics.idle, statistics.busy) == (100, 0)


async def test_a_refused_port_is_a_typed_error() -> None:
    async with serving(answer_hello) as server:
        port = server.port
    async with transporting() as transport:
        with pytest.raises(Exception, match="Connection refused") as caught:
            await transport.open(http_request("127.0.0.1", port), Phases())
    assert not isinstance(caught.value, ConnectionLostError)
    assert f"127.0.0.1 port {port}" in str(caught.value)
