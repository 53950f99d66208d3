"""The server half by itself: bounds, refusals, pieces, clients that leave, and the switch to a
WebSocket. What it answers is these tests' business."""

import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import h2.connection
import h2.events
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from streamnursery.serving.bounds import Bounds
from streamnursery.serving.call import ServerCall, Unlogged
from streamnursery.serving.head import ClientGoneError
from streamnursery.serving.service import Service
from streamnursery.simulator.pipe import PipeConnection, pipe
from tests.support.simulator import Answer, http, parse, read_to_end, read_until, talk
from tests.support.tls import server_context

PLAIN = [("content-type", "text/plain")]
KIB = 1024
Serve = Callable[[ServerCall], Awaitable[None]]


class Answers(Unlogged):
    """Answers by a function, and notes how that ended."""

    def __init__(self, serve: Serve, endings: list[str]) -> None:
        self._serve = serve
        self._endings = endings

    async def serve(self, call: ServerCall) -> None:
        await self._serve(call)

    def ended(self, note: str, now: float) -> None:
        self._endings.append(note)


class Site:
    """A server in memory; its handler is a function."""

    def __init__(self, nursery: trio.Nursery, serve: Serve, bounds: Bounds | None) -> None:
        self.service = Service(nursery, bounds)
        self.endings: list[str] = []
        self._serve = serve

    def begin(self, call: ServerCall) -> Answers:
        return Answers(self._serve, self.endings)

    def connect(self) -> PipeConnection:
        ours, theirs = pipe()
        self.service.accept(theirs, self)
        return ours

    async def ask(self, request: bytes) -> Answer:
        return await talk(self.connect(), request)


@asynccontextmanager
async def serving(serve: Serve, bounds: Bounds | None = None) -> AsyncIterator[Site]:
    """Leaves no connection, answer or body behind."""
    async with trio.open_nursery() as nursery:
        site = Site(nursery, serve, bounds)
        yield site
        await site.service.stop()
        left = site.service.statistics()
        assert (left.current_connections, left.current_body_bytes, left.paced_answers) == (0, 0, 0)


async def echo(call: ServerCall) -> None:
    await call.reply(200, PLAIN, await call.body())


def chunked(*pieces: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


# Bounds. -------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_bytes", [http(bytes(65 * KIB)), chunked(*[bytes(KIB)] * 65)])
async def test_a_body_beyond_its_bound_is_refused(
    autojump_clock: MockClock, request_bytes: bytes
) -> None:
    async with serving(echo, Bounds(body=64 * KIB)) as site:
        answer = await site.ask(request_bytes)
        assert (answer.status, answer.ending) == (413, "fin")
        assert answer.headers["connection"] == "close"
        assert (await site.ask(http(bytes(64 * KIB)))).body == bytes(64 * KIB)


async def test_an_announced_length_is_refused_before_the_body_is_sent(
    autojump_clock: MockClock,
) -> None:
    async with serving(echo, Bounds(body=10)) as site:
        line = site.connect()
        await line.send_all(http(bytes(11))[:-11])
        answer = parse(await read_to_end(line))
        assert answer.status == 413
        line.close()


async def test_the_bodies_of_all_connections_are_bounded_in_sum(autojump_clock: MockClock) -> None:
    async with serving(echo, Bounds(body=40 * KIB, bodies=100 * KIB)) as site:
        lines = [site.connect() for _ in range(40)]
        request = http(bytes(40 * KIB))
        for line in lines:
            await line.send_all(request[:-1])
        await trio.sleep(1)
        assert site.service.statistics().current_body_bytes <= 100 * KIB
        for line in lines:
            line.reset()
        await trio.sleep(1)
        assert (await site.ask(request)).status == 200  # there is room again


async def test_a_request_without_room_for_its_body_gets_a_503(autojump_clock: MockClock) -> None:
    async with serving(echo, Bounds(body=40 * KIB, bodies=40 * KIB)) as site:
        holding = site.connect()
        await holding.send_all(http(bytes(30 * KIB))[:-1])
        await trio.lowlevel.checkpoint()
        await trio.sleep(0.1)
        answer = await site.ask(http(bytes(30 * KIB)))
        assert (answer.status, answer.ending) == (503, "fin")
        assert (await site.ask(http(bytes(5 * KIB)))).status == 200
        holding.close()


async def test_a_body_in_pieces_of_a_byte_takes_no_more_than_is_counted(
    autojump_clock: MockClock,
) -> None:
    async def count(call: ServerCall) -> None:
        tracemalloc.start()
        try:
            await call.body()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await call.reply(200, PLAIN, str(peak).encode())

    async with serving(count) as site:
        less, more = [
            int((await site.ask(chunked(*[b"x"] * size * KIB))).body) for size in (16, 48)
        ]
        assert more - less < 512 * KIB  # with a list of pieces 1.3 MiB


async def test_a_body_is_held_until_its_answer_is_over(autojump_clock: MockClock) -> None:
    async def slow(call: ServerCall) -> None:
        await call.body()
        await trio.sleep(5)
        await call.reply(200, PLAIN, b"ok")

    async with serving(slow) as site:
        line = site.connect()
        await line.send_all(http(bytes(100)))
        await trio.sleep(1)
        assert site.service.statistics().current_body_bytes == 100
        await read_to_end(line)
        assert site.service.statistics().current_body_bytes == 0
        line.close()


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nx: " + b"y" * 500, http(b"z" * 500)])
async def test_a_request_that_comes_byte_by_byte_has_an_end(
    autojump_clock: MockClock, head: bytes
) -> None:
    async with serving(echo, Bounds(idle=10, request=60)) as site:
        line = site.connect()
        answer = Answer()
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                for byte in head:
                    await line.send_all(bytes([byte]))
                    await trio.sleep(1)

            nursery.start_soon(drip)
            answer = parse(await read_to_end(line))
            nursery.cancel_scope.cancel()
        assert answer.status == 408
        assert 59 < trio.current_time() < 62
        line.close()


async def test_the_clock_of_a_request_starts_with_its_first_byte(
    autojump_clock: MockClock,
) -> None:
    async with serving(echo, Bounds(idle=100, request=10)) as site:
        line = site.connect()
        for _ in range(3):
            await trio.sleep(50)
            await line.send_all(http(b"hello", close=False))
            assert b"hello" in await read_until(line, b"hello")
        line.close()


async def test_a_slow_answer_is_not_a_slow_request(autojump_clock: MockClock) -> None:
    async def slow(call: ServerCall) -> None:
        await call.body()
        await trio.sleep(1000)
        await call.reply(200, PLAIN, b"ok")

    async with serving(slow, Bounds(idle=10, request=10)) as site:
        assert (await site.ask(http(b"x"))).body == b"ok"


async def test_a_handshake_that_does_not_come_has_an_end(autojump_clock: MockClock) -> None:
    async with serving(echo, Bounds(idle=10)) as site:
        ours, theirs = pipe()
        site.service.accept(theirs, site, server_context("sim.test"))
        for byte in b"\x16\x03\x01\x40":
            await ours.send_all(bytes([byte]))
            await trio.sleep(6)
            if not site.service.statistics().current_connections:
                break
        assert trio.current_time() == 12
        ours.close()


def test_bounds_are_greater_than_zero() -> None:
    with pytest.raises(ValueError, match=r"Bounds\.body must be > 0, not 0"):
        Bounds(body=0)


# Requests that two parsers would read differently. ---------------------------------------------

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"


def post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"POST / HTTP/" + version, b"host: a", *headers, b"", body])


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"content-length: 5", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
        post(b"transfer-encoding: chunked", b"content-length: 5", body=b"0\r\n\r\n"),
        post(b"content-length: 5", b"transfer-encoding:\tchunked", body=b"0\r\n\r\n"),
        post(b"transfer-encoding: chunked", body=b"0\r\n\r\n", version=b"1.0"),
        post(b"content-length: 5", b"content-length: 6", body=b"hello"),
        post(b"content-length: 5, 6", body=b"hello"),
        post(b"content-length: +5", body=b"hello"),
        post(b"content-length: 0x5", body=b"hello"),
        post(b"content-length : 5", body=b"hello"),
        post(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
        post(b"transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
        post(b"transfer-encoding: chunked", b"transfer-encoding: chunked", body=b"0\r\n\r\n"),
        post(b"transfer-encoding:", b" chunked", body=b"0\r\n\r\n"),
        post(b"x: a", b"\tcontent-length: 5", body=b"hello"),
        b"POST / HTTP/1.1\r\nhost: a\ncontent-length: 0\r\n\r\n",
        b"POST / HTTP/1.1\nhost: a\ncontent-length: 0\n\n",
        b"POST / HTTP/1.1\r\nhost: a\r\nx: y\rcontent-length: 0\r\n\r\n",
        post(b"transfer-encoding: chunked", body=b"0x5\r\nhello\r\n0\r\n\r\n"),
        post(b"transfer-encoding: chunked", body=b"+5\r\nhello\r\n0\r\n\r\n"),
        post(b"transfer-encoding: chunked", body=b"5\r\nhelloXX0\r\n\r\n"),
        post(b"transfer-encoding: chunked", body=b"-1\r\nhello\r\n0\r\n\r\n"),
    ],
)
async def test_an_ambiguous_request_is_refused_and_what_follows_it_is_not_served(
    autojump_clock: MockClock, request_bytes: bytes
) -> None:
    served: list[str] = []

    async def note(call: ServerCall) -> None:
        await call.body()
        served.append(call.head.target)
        await call.reply(200, PLAIN, b"ok")

    async with serving(note) as site:
        answer = await site.ask(request_bytes + SMUGGLED)
        assert answer.status in (400, 501)
        assert (answer.ending, answer.raw.count(b"HTTP/1.1")) == ("fin", 1)
        assert served == []


# Pieces. --------------------------------------------------------------------------------------


async def test_a_body_comes_in_pieces_and_goes_back_in_pieces(autojump_clock: MockClock) -> None:
    async def upper(call: ServerCall) -> None:
        taken = []
        while piece := await call.receive_some():
            taken.append(piece.upper())

        async def pieces() -> AsyncIterator[bytes]:
            for piece in taken:
                yield piece

        await call.reply(200, PLAIN, pieces())

    async with serving(upper) as site:
        answer = await site.ask(chunked(b"one ", b"two ", b"three"))
        assert (answer.status, answer.body, answer.whole) == (200, b"ONE TWO THREE", True)
        old = await site.ask(http(b"four", version="1.0"))
        assert (old.body, old.ending) == (b"FOUR", "fin")
        assert site.endings[0] == "complete"


async def test_a_client_that_does_not_read_holds_its_pieces_back(autojump_clock: MockClock) -> None:
    made = 0

    async def endless(call: ServerCall) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield bytes(KIB)

        await call.body()
        await call.reply(200, PLAIN, pieces())

    async with serving(endless) as site:
        line = site.connect()
        await line.send_all(http(b"x"))
        await trio.sleep(10)
        assert made <= 65
        line.close()


async def test_a_handler_that_waits_learns_that_its_client_has_left(
    autojump_clock: MockClock,
) -> None:
    gone: list[float] = []

    async def waiting(call: ServerCall) -> None:
        await call.body()
        try:
            async with call.watching():
                await trio.sleep(1000)
        except ClientGoneError:
            gone.append(trio.current_time())
            raise

    async with serving(waiting) as site:
        line = site.connect()
        await line.send_all(http(b"x"))
        await trio.sleep(3)
        line.close()
        await trio.sleep(1)
        assert gone == [3]
        assert site.endings[0] == "client gone"


async def test_a_client_that_stays_is_served_after_the_wait(autojump_clock: MockClock) -> None:
    async def waiting(call: ServerCall) -> None:
        body = await call.body()
        async with call.watching():
            await trio.sleep(1000)
        await call.reply(200, PLAIN, body)

    async with serving(waiting) as site:
        line = site.connect()
        for word in (b"one", b"two"):
            await line.send_all(http(word, close=False))
            assert word in await read_until(line, word)
        line.close()


async def test_a_body_that_was_not_taken_ends_the_connection(autojump_clock: MockClock) -> None:
    async def deny(call: ServerCall) -> None:
        await call.reply(401, PLAIN, b"no key")

    async with serving(deny) as site:
        answer = await site.ask(http(b"x" * 100, close=False) + SMUGGLED)
        assert (answer.status, answer.ending, answer.raw.count(b"HTTP/1.1")) == (401, "fin", 1)


async def test_an_error_of_a_piece_breaks_the_answer_off(autojump_clock: MockClock) -> None:
    async def failing(call: ServerCall) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"half"
            raise ClientGoneError

        await call.body()
        await call.reply(200, PLAIN, pieces())

    async with serving(failing) as site:
        answer = await site.ask(http(b"x"))
        assert (answer.status, answer.whole) == (200, False)


# HTTP/2. ---------------------------------------------------------------------------------------


class Client2:
    """One connection of HTTP/2 without TLS."""

    def __init__(self, line: PipeConnection) -> None:
        self.line = line
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.seen: list[h2.events.Event] = []

    async def begin(self, stream: int, *, end: bool = False) -> None:
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
        self.h2.send_headers(stream, fields, end_stream=end)
        await self.flush()

    async def flush(self) -> None:
        await self.line.send_all(self.h2.data_to_send())

    async def read(self, seconds: float = 1) -> None:
        with trio.move_on_after(seconds):
            while True:
                await self.line.wait_readable()
                data = self.line.recv_nowait(65536)
                if not data:
                    return
                for event in self.h2.receive_data(data):
                    self.seen.append(event)
                    if isinstance(event, h2.events.DataReceived) and event.data:
                        size = event.flow_controlled_length or 0
                        self.h2.acknowledge_received_data(size, event.stream_id or 0)
                await self.flush()

    def body(self, stream: int) -> bytes:
        data = [e for e in self.seen if isinstance(e, h2.events.DataReceived)]
        return b"".join(e.data or b"" for e in data if e.stream_id == stream)


async def test_over_http2_the_same_handler_takes_and_gives_pieces(
    autojump_clock: MockClock,
) -> None:
    async def upper(call: ServerCall) -> None:
        body = await call.body()

        async def pieces() -> AsyncIterator[bytes]:
            yield body.upper()
            yield b"!"

        await call.reply(200, PLAIN, pieces())

    async with serving(upper) as site:
        client = Client2(site.connect())
        for stream in (1, 3):
            await client.begin(stream)
            client.h2.send_data(stream, b"hello", end_stream=True)
        await client.flush()
        await client.read()
        assert [client.body(stream) for stream in (1, 3)] == [b"HELLO!"] * 2
        assert sum(isinstance(e, h2.events.StreamEnded) for e in client.seen) == 2
        client.line.close()


async def test_over_http2_a_body_that_is_not_taken_is_held_back_by_its_window(
    autojump_clock: MockClock,
) -> None:
    async def sleeping(call: ServerCall) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)

    async with serving(sleeping) as site:
        client = Client2(site.connect())
        await client.begin(1)
        for _ in range(3):
            client.h2.send_data(1, bytes(16 * KIB))
        await client.flush()
        await client.read()
        assert client.h2.local_flow_control_window(1) == 65535 - 3 * 16 * KIB
        client.line.close()


async def test_over_http2_a_late_body_is_refused_and_a_reset_stream_is_a_client_that_left(
    autojump_clock: MockClock,
) -> None:
    async with serving(echo, Bounds(request=30)) as site:
        client = Client2(site.connect())
        await client.begin(1)
        await client.begin(3)
        await client.read(10)
        client.h2.reset_stream(3)
        await client.flush()
        await client.read(10)
        assert site.endings[0] == "client gone"
        await client.read(20)
        (response,) = [e for e in client.seen if isinstance(e, h2.events.ResponseReceived)]
        assert response.stream_id == 1
        assert dict(response.headers or ())[b":status"] == b"408"
        client.line.close()


# WebSockets. -----------------------------------------------------------------------------------

UPGRADE = (
    "upgrade: websocket",
    "connection: Upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def talking(call: ServerCall, *, times: int = 1) -> None:
    socket = await call.websocket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.write)
        while (message := await socket.receive()) is not None:
            for _ in range(times):
                await socket.send(message.decode().upper())
        nursery.cancel_scope.cancel()


async def test_a_call_can_go_on_as_a_websocket(autojump_clock: MockClock) -> None:
    async with serving(talking) as site:
        line = site.connect()
        await line.send_all(http(None, *UPGRADE, method="GET", close=False))
        # The key and its answer are those of RFC 6455 1.3.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await read_until(line, b"\r\n\r\n")
        client = Connection(ConnectionType.CLIENT)
        await line.send_all(client.send(Ping(b"p")) + client.send(TextMessage("hello")))
        await trio.sleep(1)
        client.receive_data(line.recv_nowait(65536))
        pong, text = list(client.events())
        assert isinstance(pong, Pong)
        assert isinstance(text, TextMessage) and text.data == "HELLO"
        await line.send_all(client.send(CloseConnection(1000)))
        rest = await read_to_end(line)
        client.receive_data(rest.raw)
        assert isinstance(next(client.events()), CloseConnection)
        assert rest.ending == "fin"
        line.close()


async def test_a_client_that_reads_no_messages_holds_its_sender_back(
    autojump_clock: MockClock,
) -> None:
    async with serving(partial(talking, times=1000)) as site:
        line = site.connect()
        await line.send_all(http(None, *UPGRADE, method="GET", close=False))
        await read_until(line, b"\r\n\r\n")
        client = Connection(ConnectionType.CLIENT)
        await line.send_all(client.send(TextMessage("x" * KIB)))
        await trio.sleep(10)
        unread = line.statistics().incoming.current_bytes
        assert unread == 64 * KIB  # the window is full, and not all thousand went out
        line.close()


async def test_who_asks_for_no_websocket_is_told_to(autojump_clock: MockClock) -> None:
    async with serving(talking) as site:
        answer = await site.ask(http(None, method="GET"))
        assert answer.status == 426
