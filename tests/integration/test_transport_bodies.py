"""Bodies that are cut, slow, early or endless, on real sockets."""

import pytest
import trio

from streamnursery.values.errors import ConnectionLostError, EngineError, TooLargeError
from tests.support.servers import fetch, serving, transporting
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    Collector,
    Handler,
    Phases,
    ServerEnd,
    answer_hello,
    chunk,
)

CUTS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    "chunk": CHUNKED_HEAD + b"64\r\nhalf",
    "between chunks": CHUNKED_HEAD + chunk(b"half"),
    "last chunk": CHUNKED_HEAD + chunk(b"half") + b"0\r\n",
}


def says(data: bytes, *, reset: bool = False) -> Handler:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(data)
        if reset:
            await trio.testing.wait_all_tasks_blocked()
            end.reset()

    return serve


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("cut", CUTS)
async def test_b5_a_cut_body_is_never_taken_for_a_whole_one(cut: str, reset: bool) -> None:
    async with serving(says(CUTS[cut], reset=reset)) as server, transporting() as transport:
        response = await transport.open(server.request(), Phases())
        sink = Collector()
        response.attach(sink)
        await sink.ended.wait()
        assert sink.data == b"half"
        assert isinstance(sink.failure, ConnectionLostError)
        statistics = transport.statistics()
        assert (statistics.idle, statistics.busy) == (0, 0)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_body_that_ends_with_the_connection_ends_well_by_fin_alone(reset: bool) -> None:
    whole = b"HTTP/1.1 200 OK\r\n\r\nall"
    async with serving(says(whole, reset=reset)) as server, transporting() as transport:
        response = await transport.open(server.request(), Phases())
        sink = Collector()
        response.attach(sink)
        await sink.ended.wait()
        assert sink.data == b"all"
        assert (sink.failure is None) is not reset


async def test_b7_a_body_of_single_bytes_arrives_whole() -> None:
    stream = CHUNKED_HEAD + chunk(b"slow" * 20) + LAST_CHUNK

    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        for byte in stream:
            await end.send(bytes([byte]))
            await trio.lowlevel.checkpoint()

    async with serving(serve) as server, transporting() as transport:
        assert await fetch(transport, server.request()) == (200, b"slow" * 20)


@pytest.mark.parametrize("status", [401, 413])
async def test_r2_an_answer_before_the_body_and_a_closed_door_is_returned(status: int) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_head()
        await end.send(f"HTTP/1.1 {status} No\r\ncontent-length: 5\r\n\r\nwrong".encode())
        # Leaving closes with unread bytes: the client's send meets RST.

    async with serving(serve) as server, transporting() as transport:
        for _ in range(20):
            request = server.request(body=b"x" * 10_000_000)
            assert await fetch(transport, request) == (status, b"wrong")
        statistics = transport.statistics()
        assert (statistics.idle, statistics.busy) == (0, 0)


async def test_a_slow_sink_holds_the_server_back() -> None:
    total, sent = 50_000_000, 0

    async def serve(end: ServerEnd) -> None:
        nonlocal sent
        await end.read_request()
        await end.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // 100_000):
            await end.send(b"x" * 100_000)
            sent += 100_000

    async with (
        serving(serve) as server,
        serving(answer_hello) as other,
        transporting() as transport,
    ):
        response = await transport.open(server.request(), Phases())
        sink = Collector(room=1000)
        response.attach(sink)
        before = -1
        while sent > before:  # until nothing goes while others are answered
            before = sent
            for _ in range(20):
                assert await fetch(transport, other.request()) == (200, b"hello")
        assert 0 < len(sink.data) <= 64 * 1024
        assert sent < total / 2
        sink.room = 1 << 62
        response.resume()
        await sink.ended.wait()
        assert len(sink.data) == total and sink.failure is None


async def flood(transport_error: type[EngineError], first: bytes, again: bytes) -> int:
    """What a server gets rid of that repeats itself for ever; the client must give up."""
    sent = 0

    async def serve(end: ServerEnd) -> None:
        nonlocal sent
        await end.read_request()
        await end.send(first)
        while sent < 100_000_000:
            await end.send(again)
            sent += len(again)

    async with serving(serve) as server, transporting() as transport:
        with pytest.raises(transport_error):
            await fetch(transport, server.request())
        assert transport.statistics().busy == 0
    return sent


STATUS = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        pytest.param(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 100, id="R3 informational"),
        pytest.param(STATUS + b"x: ", b"a" * 10_000, id="H8 line"),
        pytest.param(STATUS, b"x: y\r\n" * 1000, id="H8 headers"),
        pytest.param(STATUS, b"x: " + b"a" * 5000 + b"\r\n", id="H8 block"),
        pytest.param(b"HTTP/1.1 200 ", b"a" * 10_000, id="reason"),
        pytest.param(CHUNKED_HEAD + b"5;x=", b"a" * 10_000, id="chunk extension"),
        pytest.param(CHUNKED_HEAD + b"0\r\nx: ", b"a" * 10_000, id="trailer"),
        pytest.param(CHUNKED_HEAD + b"0\r\n", b"x: y\r\n" * 1000, id="trailers"),
    ],
)
async def test_t10_what_never_ends_is_left_at_its_bound(first: bytes, again: bytes) -> None:
    sent = await flood(TooLargeError, first, again)
    assert sent < 10_000_000


async def test_h8_a_head_that_never_ends_is_left_when_the_caller_leaves() -> None:
    said = trio.Event()

    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(b"HTTP/1.1 200 OK\r\nx: y\r\n")
        said.set()
        await trio.sleep_forever()

    async with serving(serve) as server, transporting() as transport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, transport, server.request())
            await said.wait()
            nursery.cancel_scope.cancel()
        assert transport.statistics().busy == 0


async def test_a_thousand_chunks_in_one_read_are_one_feed() -> None:
    async with (
        serving(says(CHUNKED_HEAD + chunk(b"tok") * 1000 + LAST_CHUNK)) as server,
        transporting() as transport,
    ):
        response = await transport.open(server.request(), Phases())
        await trio.testing.wait_all_tasks_blocked()
        sink = Collector()
        response.attach(sink)
        await sink.ended.wait()
        assert sink.data == b"tok" * 1000
        assert len(sink.feeds) <= 2
