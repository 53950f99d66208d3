"""Requests and answers on a virtual clock: pushed, pulled, paused, drained, sent again."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from streamnursery.transport.client import HttpTransport
from streamnursery.transport.http1 import DRAIN_BYTES, DRAIN_SECONDS, Http1Exchange
from streamnursery.transport.network import READ_SIZE
from streamnursery.transport.pool import IDLE_SECONDS
from streamnursery.transport.pump import Readers
from streamnursery.values.errors import ConnectionLostError, EngineClosedError, NetworkError
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    Collector,
    Handler,
    MemoryNetwork,
    Phases,
    ServerEnd,
    answer_hello,
    chunk,
    http_request,
)

IP = "127.0.0.1"


class Rig:
    """A transport, a network, and one server."""

    def __init__(self, nursery: trio.Nursery, *, pump: bool = True) -> None:
        self.network = MemoryNetwork(nursery)
        readers = Readers(nursery, pump=pump)
        self.transport = HttpTransport(nursery, self.network, readers=readers)
        self.phases = Phases()

    def serve(self, handler: Handler) -> None:
        self.network.serve(IP, handler)

    async def open(self, body: bytes = b"{}") -> Http1Exchange:
        exchange = await self.transport.open(http_request(body=body), self.phases)
        assert isinstance(exchange, Http1Exchange)
        return exchange

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


@pytest.fixture(params=["pump", "task per connection"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, pump=request.param == "pump")
        yield rig
        rig.transport.close()
        nursery.cancel_scope.cancel()


def replies(*parts: bytes, then: bytes | None = None) -> Handler:
    """A server that sends `parts`, each as a read of its own, a second apart."""

    async def serve(end: ServerEnd) -> None:
        while await end.read_request() is not None:
            for part in parts:
                await end.send(part)
                await trio.sleep(1)
            if then is None:
                return
            await end.send(then)

    return serve


# Pushed. ------------------------------------------------------------------------------------


async def test_a_body_is_pushed_with_one_feed_per_read(rig: Rig, autojump_clock: MockClock) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one") + chunk(b"two"), chunk(b"three"), LAST_CHUNK))
    response = await rig.open()
    sink = Collector()
    response.attach(sink)
    assert rig.busy == 1
    await sink.ended.wait()
    assert sink.feeds == [b"onetwo", b"three"]
    assert sink.failure is None and sink.ends == 1
    assert rig.phases.names == ["CONNECTING", "CONNECTED", "SENDING"]


async def test_what_came_with_the_head_is_fed_before_attach_returns(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(answer_hello)
    response = await rig.open()
    sink = Collector()
    response.attach(sink)
    assert sink.feeds == [b"hello"] and sink.ended.is_set()
    assert (rig.idle, rig.busy) == (1, 0)
    response.close()
    assert (rig.idle, rig.busy) == (1, 0)


async def test_a_full_sink_stops_the_reading_until_it_is_resumed(
    rig: Rig, autojump_clock: MockClock
) -> None:
    total = 1_000_000

    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total + b"x" * total)

    rig.serve(serve)
    response = await rig.open()
    sink = Collector(room=10)
    response.attach(sink)
    for _ in range(100):
        await trio.sleep(1)
        fed = len(sink.data)
        assert len(sink.feeds) == 1 or sink.ended.is_set()
        assert fed <= READ_SIZE
        if sink.ended.is_set():
            break
        sink.feeds.clear()
        total -= fed
        sink.room = 10
        response.resume()
    assert sink.failure is None and total - fed == 0


async def test_resuming_what_is_not_paused_changes_nothing(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"a"), LAST_CHUNK))
    response = await rig.open()
    sink = Collector()
    response.attach(sink)
    for _ in range(3):
        response.resume()
    await sink.ended.wait()
    response.resume()
    assert sink.feeds == [b"a"] and sink.ends == 1


async def test_a_closed_response_feeds_nothing_more_and_leaves_no_task(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, *[chunk(b"a")] * 5))
    response = await rig.open()
    sink = Collector()
    response.attach(sink)
    await trio.sleep(2.5)
    response.close()
    response.close()
    assert rig.network.open_connections == 0 and rig.busy == 0
    fed = len(sink.feeds)
    await trio.sleep(10)
    assert len(sink.feeds) == fed and sink.ends == 0


class Failing(Collector):
    """A sink with a bug."""

    def feed(self, data: bytes) -> bool:
        raise ZeroDivisionError


@pytest.mark.parametrize("with_head", [True, False])
async def test_a_sink_that_raises_loses_its_own_stream_alone(
    rig: Rig, autojump_clock: MockClock, with_head: bool
) -> None:
    head = CHUNKED_HEAD + chunk(b"a") if with_head else CHUNKED_HEAD
    rig.serve(replies(head, chunk(b"b"), LAST_CHUNK))
    broken, good = await rig.open(), await rig.open()
    bad_sink, good_sink = Failing(), Collector()
    good.attach(good_sink)
    broken.attach(bad_sink)
    await good_sink.ended.wait()
    assert good_sink.failure is None
    assert isinstance(bad_sink.failure, ConnectionLostError) and bad_sink.ends == 1
    assert isinstance(bad_sink.failure.__cause__, ZeroDivisionError)
    assert rig.busy == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_body_ends_with_a_lost_connection(
    rig: Rig, autojump_clock: MockClock, reset: bool
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(CHUNKED_HEAD + chunk(b"half"))
        await trio.sleep(1)
        if reset:
            end.reset()

    rig.serve(serve)
    response = await rig.open()
    sink = Collector()
    response.attach(sink)
    await sink.ended.wait()
    assert sink.data == b"half"
    assert isinstance(sink.failure, ConnectionLostError) and sink.failure.retryable
    assert (rig.idle, rig.busy, rig.network.open_connections) == (0, 0, 0)


async def test_a_cancelled_nursery_tells_the_sink(autojump_clock: MockClock) -> None:
    sink = Collector()
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery)
        rig.serve(replies(CHUNKED_HEAD, *[chunk(b"a")] * 5))
        response = await rig.open()
        response.attach(sink)
        await trio.sleep(1.5)
        nursery.cancel_scope.cancel()
    assert isinstance(sink.failure, ConnectionLostError)
    assert rig.network.open_connections == 0


# Pulled. ------------------------------------------------------------------------------------


async def test_a_body_is_pulled_to_its_end_which_stays_the_end(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one"), chunk(b"two"), LAST_CHUNK))
    response = await rig.open()
    assert await rig.pull(response) == b"onetwo"
    assert await response.receive_some() == b""


async def test_a_cancelled_pull_loses_no_byte(rig: Rig, autojump_clock: MockClock) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one"), chunk(b"two"), LAST_CHUNK))
    response = await rig.open()
    got = b""
    for _ in range(50):
        with trio.move_on_after(0.1):
            got += await response.receive_some()
    assert got == b"onetwo"


async def test_a_broken_body_is_pulled_up_to_the_break(rig: Rig, autojump_clock: MockClock) -> None:
    rig.serve(replies(CHUNKED_HEAD + chunk(b"one") + b"zz\r\n"))
    response = await rig.open()
    assert await response.receive_some() == b"one"
    for _ in range(2):
        with pytest.raises(Exception, match=r"HTTP/1\.1"):
            await response.receive_some()


async def test_h8_a_head_that_never_ends_waits_for_the_callers_patience(
    rig: Rig, autojump_clock: MockClock
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(b"HTTP/1.1 200 OK\r\nx: y\r\n")
        await trio.sleep_forever()

    rig.serve(serve)
    with trio.move_on_after(3600) as scope:
        await rig.open()
    assert scope.cancelled_caught and trio.current_time() == 3600
    assert (rig.idle, rig.busy, rig.network.open_connections) == (0, 0, 0)


async def test_a_closed_response_can_be_pulled_no_further(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one")))
    response = await rig.open()
    response.close()
    with pytest.raises(ConnectionLostError, match="closed before its end"):
        await response.receive_some()


# Drained. -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "kept"), [(0.0, True), (0.02, True), (0.2, False)])
@pytest.mark.parametrize("attached", [False, True])
async def test_a_drained_connection_is_kept_if_its_message_ends_in_time(
    rig: Rig, autojump_clock: MockClock, after: float, kept: bool, attached: bool
) -> None:
    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"))
            await trio.sleep(after)
            await end.send(LAST_CHUNK)

    rig.serve(serve)
    response = await rig.open()
    sink = Collector(room=1)
    if attached:
        response.attach(sink)
    began = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        await response.drain()
    assert trio.current_time() - began <= DRAIN_SECONDS
    assert (rig.idle, rig.busy) == (int(kept), 0)
    assert rig.network.open_connections == int(kept)
    assert sink.ends == 0


@pytest.mark.parametrize(("excess", "kept", "took"), [(0, True, 0.02), (1, False, 0)])
async def test_a_drain_reads_up_to_its_bound_and_does_not_wait_beyond(
    rig: Rig, autojump_clock: MockClock, excess: int, kept: bool, took: float
) -> None:
    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD + chunk(b"x" * (DRAIN_BYTES + excess)))
            await trio.sleep(0.02)
            await end.send(LAST_CHUNK)

    rig.serve(serve)
    response = await rig.open()
    began = trio.current_time()
    await response.drain()
    assert rig.network.open_connections == int(kept)
    assert trio.current_time() - began == pytest.approx(took)


async def test_fifty_streams_one_after_another_are_one_connection(
    rig: Rig, autojump_clock: MockClock
) -> None:
    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"))
            await trio.sleep(0.01)
            await end.send(LAST_CHUNK)

    rig.serve(serve)
    for _ in range(50):
        response = await rig.open()
        response.attach(Collector(room=1))
        await response.drain()
    assert rig.transport.statistics().opened == 1


# Idle connections. --------------------------------------------------------------------------


async def test_idle_connections_are_closed_when_their_time_is_over(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(answer_hello)
    responses = [await rig.open() for _ in range(3)]
    assert (rig.idle, rig.busy) == (1, 0)
    assert len({r.connection for r in responses}) == 1
    await trio.sleep(IDLE_SECONDS - 0.1)
    assert rig.network.open_connections == 1
    await trio.sleep(0.2)
    assert rig.network.open_connections == 0 and rig.idle == 0
    await rig.open()
    assert rig.idle == 1


async def test_closing_the_idle_ones_leaves_the_transport_usable(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(answer_hello)
    for _ in range(3):
        await rig.open()
        rig.transport.close_idle()
        assert rig.network.open_connections == 0
    await rig.open()
    await trio.sleep(IDLE_SECONDS + 0.1)
    assert rig.network.open_connections == 0


async def test_a_closed_transport_ends_its_answers_and_takes_no_request(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, *[chunk(b"a")] * 5))
    attached, pulled = await rig.open(), await rig.open()
    sink = Collector()
    attached.attach(sink)
    rig.transport.close()
    assert isinstance(sink.failure, NetworkError) and "closed" in str(sink.failure)
    with pytest.raises(ConnectionLostError):
        await rig.pull(pulled)
    assert rig.network.open_connections == 0
    with pytest.raises(EngineClosedError):
        await rig.open()


async def test_a_transport_closed_while_it_connects_leaves_no_connection(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.serve(answer_hello)
    rig.network.connect_after[IP] = 5
    async with trio.open_nursery() as nursery:

        async def refused() -> None:
            with pytest.raises(EngineClosedError):
                await rig.open()

        nursery.start_soon(refused)
        await trio.sleep(1)
        rig.transport.close()
    assert rig.network.open_connections == 0


async def test_what_comes_behind_an_answer_that_was_enough_spoils_its_connection(
    rig: Rig, autojump_clock: MockClock
) -> None:
    async def handler(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD + chunk(b"enough"))
            await trio.sleep(DRAIN_SECONDS / 2)
            await end.send(chunk(b"data: more\n\n") + LAST_CHUNK)

    rig.serve(handler)
    response = await rig.open()
    assert await response.receive_some() == b"enough"
    await response.drain(blank=True)
    assert (rig.idle, rig.busy) == (0, 0)


async def test_blank_lines_behind_an_answer_spoil_nothing(
    rig: Rig, autojump_clock: MockClock
) -> None:
    async def handler(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD + chunk(b"enough"))
            await trio.sleep(DRAIN_SECONDS / 2)
            await end.send(chunk(b"\r\n\n") + LAST_CHUNK)

    rig.serve(handler)
    response = await rig.open()
    assert await response.receive_some() == b"enough"
    await response.drain(blank=True)
    assert (rig.idle, rig.busy) == (1, 0)


async def test_a_sink_can_spoil_the_connection_in_the_read_that_ends_the_message(
    rig: Rig, autojump_clock: MockClock
) -> None:
    async def handler(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(CHUNKED_HEAD)
            await trio.sleep(1)
            await end.send(chunk(b"all of it") + LAST_CHUNK)

    class Strict(Collector):
        def feed(self, data: bytes) -> bool:
            response.mark_unreusable()
            return super().feed(data)

    rig.serve(handler)
    response = await rig.open()
    sink = Strict()
    response.attach(sink)
    await sink.ended.wait()
    assert (sink.data, sink.failure) == (b"all of it", None)
    assert (rig.idle, rig.busy) == (0, 0)
