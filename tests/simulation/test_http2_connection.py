"""One HTTP/2 connection and those who share it, on a virtual clock."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import ErrorCode
from streamnursery.values.errors import ConnectionLostError, ProtocolError, RateLimitedError
from streamnursery.values.http2 import Http2Settings
from tests.support.http2 import OK
from tests.support.http2_server import Http2End, Rig, rigged
from tests.support.transport import Collector, Phases

SMALL = Http2Settings(stream_window=65_536)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        yield made


@pytest.fixture
async def echo() -> AsyncIterator[Rig]:
    """A rig whose servers answer at once."""
    async with rigged(echo=True) as made:
        yield made


async def test_requests_share_a_connection_and_leave_it_idle(
    autojump_clock: MockClock, echo: Rig
) -> None:
    echo.start(50)
    await trio.sleep(1)
    assert echo.results == [b"hello"] * 50
    assert echo.transport.statistics().opened == 1


async def test_phases_are_told_and_a_place_on_a_connection_connects_nothing(
    autojump_clock: MockClock, echo: Rig
) -> None:
    for expected in (["CONNECTING", "CONNECTED", "SENDING"], ["CONNECTED", "SENDING"]):
        phases = Phases()
        (await echo.open(phases=phases)).close()
        assert phases.names == expected


async def test_a_sink_gets_one_feed_per_read_and_the_end(
    autojump_clock: MockClock, rig: Rig
) -> None:
    sink = Collector()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def consume() -> None:
            response = await rig.open()
            assert response.head.http_version == "HTTP/2"
            response.attach(sink)

        await trio.sleep(0.1)
        (server,) = rig.servers
        await server.head(1)
        await trio.sleep(0.1)
        for part in (b"one", b"two"):
            server.h2.send_data(1, part)
        await server.flush()
        await trio.sleep(0.1)
        await server.data(1, b"three", end=True)
        await sink.ended.wait()
    assert sink.feeds == [b"onetwo", b"three"] and sink.failure is None and sink.ends == 1


async def test_a_full_sink_holds_up_its_own_stream_and_no_other(autojump_clock: MockClock) -> None:
    async with rigged(SMALL) as rig:
        full, greedy = Collector(room=1), Collector()
        responses = {}
        async with trio.open_nursery() as nursery:
            for sink in (full, greedy):

                async def consume(sink: Collector = sink) -> None:
                    response = responses[sink] = await rig.open()
                    response.attach(sink)

                nursery.start_soon(consume)
                await trio.sleep(0.1)
            (server,) = rig.servers
            for stream_id in server.opened:
                await server.head(stream_id)
                nursery.start_soon(server.data, stream_id, bytes(300_000))
            await trio.sleep(1)
            assert len(greedy.data) == 300_000
            assert 0 < len(full.data) <= 65_536
            assert server.h2.local_flow_control_window(server.opened[0]) == 0
            full.room = 1 << 30
            responses[full].resume()
            await trio.sleep(1)
            assert len(full.data) == 300_000
        for response in responses.values():
            response.close()


async def test_a_sink_that_fails_loses_its_own_stream(autojump_clock: MockClock) -> None:
    class Broken(Collector):
        def feed(self, data: bytes) -> bool:
            raise RuntimeError("no")

    async with rigged() as rig:
        broken, whole = Broken(), Collector()
        async with trio.open_nursery() as nursery:
            for sink in (broken, whole):

                async def consume(sink: Collector = sink) -> None:
                    (await rig.open()).attach(sink)

                nursery.start_soon(consume)
                await trio.sleep(0.1)
            (server,) = rig.servers
            for stream_id in server.opened:
                await server.head(stream_id)
                await server.data(stream_id, b"x")
            await server.until_reset()
            assert server.resets == server.opened[:1]
            await server.data(server.opened[1], b"y", end=True)
            await whole.ended.wait()
        assert isinstance(broken.failure, ConnectionLostError)
        assert isinstance(broken.failure.__cause__, RuntimeError)
        assert whole.data == b"xy" and whole.failure is None


@pytest.mark.parametrize("when", ["before the head", "in the body", "in the upload"])
async def test_r4_every_early_end_is_a_reset(
    autojump_clock: MockClock, when: str, rig: Rig
) -> None:
    body = bytes(300_000) if when == "in the upload" else b"{}"
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.fetch, body)
            await trio.sleep(1)
            if when == "in the body":
                await rig.servers[0].head(1)
                await rig.servers[0].data(1, b"some")
                await trio.sleep(1)
            scope.cancel()
    (server,) = rig.servers
    await server.until_reset()
    assert not server.gone
    assert rig.transport.statistics().idle == 1


async def test_what_arrives_after_a_cancel_costs_nobody_anything(
    autojump_clock: MockClock,
) -> None:
    async with rigged(SMALL) as rig:
        for number in range(30):
            with trio.move_on_after(0.1):
                await rig.fetch()
            (server,) = rig.servers
            stream_id = 2 * number + 1
            # The reset is on its way; the server does not know of it.
            server.h2.send_headers(stream_id, OK) if stream_id not in server.resets else None
            await server.flush()
        async with trio.open_nursery() as nursery:
            results: list[object] = []

            @nursery.start_soon
            async def last() -> None:
                results.append(await rig.fetch())

            await trio.sleep(0.1)
            await server.answer(61, bytes(200_000))
        assert results == [bytes(200_000)]


async def test_drain_waits_for_the_end_and_needs_no_reset(
    autojump_clock: MockClock, rig: Rig
) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def consume() -> None:
            response = await rig.open()
            response.attach(Collector())
            await response.drain()

        await trio.sleep(0.1)
        (server,) = rig.servers
        await server.head(1)
        await trio.sleep(0.01)
        await server.data(1, b"", end=True)
    await trio.sleep(1)
    assert server.resets == []


async def test_drain_ends_a_stream_that_goes_on(autojump_clock: MockClock, rig: Rig) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def consume() -> None:
            response = await rig.open()
            began = trio.current_time()
            await response.drain()
            assert trio.current_time() - began == pytest.approx(0.05)

        await trio.sleep(0.1)
        (server,) = rig.servers
        await server.head(1)
    await server.until_reset()


# How connections end. -----------------------------------------------------------------------


async def test_b14_a_stream_runs_on_after_goaway_and_the_connection_ends_with_it(
    autojump_clock: MockClock, rig: Rig
) -> None:
    old = await rig.ask()
    # As nginx does: even before the head of the answer.
    await old.flush(frames.goaway(1, ErrorCode.NO_ERROR))
    await trio.sleep(0.1)
    rig.start(1)
    await trio.sleep(0.1)
    assert len(rig.servers) == 2
    await rig.servers[1].answer(1, b"new")
    await old.answer(1, bytes(300_000))
    await old.until_gone()
    assert rig.results == [b"new", bytes(300_000)]


async def test_b15_a_stream_that_nobody_looked_at_is_sent_again(
    autojump_clock: MockClock, rig: Rig
) -> None:
    old = await rig.ask(2)
    await old.flush(frames.goaway(old.opened[0], ErrorCode.NO_ERROR))
    await trio.sleep(0.1)
    assert [len(server.opened) for server in rig.servers] == [2, 1]
    await rig.servers[1].answer(1, b"again")
    await trio.sleep(0.1)
    await old.answer(old.opened[0], b"first")
    await trio.sleep(0.1)
    assert rig.results == [b"again", b"first"]


async def test_b13_a_refused_stream_is_sent_again_and_the_others_go_on(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask(2)
    server.h2.reset_stream(server.opened[0], ErrorCode.REFUSED_STREAM)
    await server.flush()
    await server.until_opened(3)
    for stream_id in server.opened[1:]:
        await server.answer(stream_id)
    await trio.sleep(0.1)
    assert rig.results == [b"hello"] * 2


async def test_b13_a_server_that_refuses_for_ever_is_believed(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask()
    for count in range(1, 4):
        await server.until_opened(count)
        server.h2.reset_stream(server.opened[-1], ErrorCode.REFUSED_STREAM)
        await server.flush()
    await trio.sleep(0.1)
    (error,) = rig.results
    assert isinstance(error, ConnectionLostError) and error.retryable
    assert "REFUSED_STREAM" in str(error)


async def test_what_came_before_the_close_is_delivered_first(
    autojump_clock: MockClock, rig: Rig
) -> None:
    async with trio.open_nursery() as nursery:
        sink = Collector(room=1)

        @nursery.start_soon
        async def consume() -> None:
            response = await rig.open(bytes(300_000))
            response.attach(sink)
            await trio.sleep(1)
            sink.room = 1 << 30
            response.resume()

        await trio.sleep(0.5)
        (server,) = rig.servers
        await server.head(1)
        await server.data(1, b"some")
        await server.data(1, b" more")
        server.end.connection.close()
        await sink.ended.wait()
    assert sink.data == b"some more"
    assert isinstance(sink.failure, ConnectionLostError)


async def test_a_connection_that_died_while_idle_is_a_free_second_try(
    autojump_clock: MockClock, echo: Rig
) -> None:
    assert await echo.fetch() == b"hello"
    # Its FIN is on the way while the request leaves.
    echo.servers[0].end.connection.close()
    assert await echo.fetch() == b"hello"
    assert echo.transport.statistics().opened == 2


async def test_a_first_request_that_was_perhaps_seen_is_not_sent_again(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask()
    server.end.connection.close()
    await trio.sleep(0.1)
    assert isinstance(rig.results[0], ConnectionLostError) and len(rig.servers) == 1


async def test_a_peer_that_breaks_the_rules_is_told_why(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask(3)
    await server.flush(frames.frame(frames.PING, 0, 0, b"short"))
    await server.until_gone()
    assert len(rig.results) == 3 and all(isinstance(e, ProtocolError) for e in rig.results)
    assert type(server.seen[-1]).__name__ == "ConnectionTerminated"


async def test_t14_a_flood_ends_the_connection_though_nobody_reads_the_reason(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask()
    server.deaf = True
    with trio.move_on_after(5):
        await server.flush(frames.frame(frames.PING, 0, 0, b"12345678") * 20_000)
    assert isinstance(rig.results[0], ProtocolError)
    assert rig.network.open_connections == 0


async def test_an_idle_connection_expires(autojump_clock: MockClock) -> None:
    async with rigged(Http2Settings(idle=7.0), echo=True) as rig:
        await rig.fetch()
        idle_from = trio.current_time()
        await rig.servers[0].until_gone()
        assert trio.current_time() - idle_from == pytest.approx(7, abs=0.05)


async def test_an_idle_connection_is_asked_for_signs_of_life(autojump_clock: MockClock) -> None:
    async with rigged(Http2Settings(idle=100.0), echo=True) as rig:
        await rig.fetch()
        await trio.sleep(95)
        pings = [e for e in rig.servers[0].seen if type(e).__name__ == "PingReceived"]
        assert len(pings) == 3 and not rig.servers[0].gone


def pings(server: Http2End) -> int:
    return sum(type(event).__name__ == "PingReceived" for event in server.seen)


async def calm_down(server: Http2End, *, unread: bool) -> None:
    """GOAWAY as gRPC servers send it; with `unread` the streams were not looked at."""
    server.h2.close_connection(
        ErrorCode.ENHANCE_YOUR_CALM,
        additional_data=b"too_many_pings",
        last_stream_id=0 if unread else max(server.opened),
    )
    await server.flush()
    server.end.connection.close()


@pytest.mark.parametrize("unread", [False, True])
async def test_a_peer_that_wants_fewer_pings_gets_half_as_many_and_its_word_is_a_rate_limit(
    autojump_clock: MockClock, unread: bool
) -> None:
    async with rigged(Http2Settings(ping_after=10.0, idle=1000.0)) as rig:
        expected = 10.0
        for number in range(3):
            rig.start(1)
            await trio.sleep(expected - 1)
            server = rig.servers[number]
            assert pings(server) == 0
            await trio.sleep(2)
            assert pings(server) == 1
            await calm_down(server, unread=unread)
            await trio.sleep(1)
            error = rig.results[number]
            assert isinstance(error, RateLimitedError) and error.retryable
            assert "too_many_pings" in str(error)
            expected *= 2
        assert len(rig.servers) == 3  # it is not sent again at once


async def test_a_call_for_calm_without_pings_leaves_them_as_they_are(
    autojump_clock: MockClock,
) -> None:
    async with rigged(Http2Settings(ping_after=10.0, idle=1000.0)) as rig:
        server = await rig.ask()
        await calm_down(server, unread=False)
        await trio.sleep(1)
        assert isinstance(rig.results[0], RateLimitedError)
        rig.start(1)
        await trio.sleep(11)
        assert pings(rig.servers[1]) == 1
        await rig.servers[1].answer(1)
        await trio.sleep(1)


async def test_a_peer_that_went_silent_is_noticed_and_its_streams_fail(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask(2)
    heard = trio.current_time()
    server.deaf = True
    await server.until_gone()
    assert trio.current_time() - heard == pytest.approx(35, abs=0.3)
    assert all("no sign of life" in str(error) for error in rig.results) and len(rig.results) == 2


async def test_a_stream_that_stalls_on_a_live_connection_is_left_alone(
    autojump_clock: MockClock, rig: Rig
) -> None:
    server = await rig.ask()
    await trio.sleep(1000)
    assert rig.results == [] and not server.gone
    await server.answer(1)
    await trio.sleep(1)
    assert rig.results == [b"hello"]


async def test_closing_the_transport_ends_what_runs(autojump_clock: MockClock, rig: Rig) -> None:
    await rig.ask(3)
    rig.transport.close()
    await wait_all_tasks_blocked()
    assert len(rig.results) == 3
    assert all("transport was closed" in str(error) for error in rig.results)


class Filled(Collector):
    """Says when it has had so many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.filled = trio.Event()
        self._left = size

    def feed(self, data: bytes) -> bool:
        self._left -= len(data)
        if self._left <= 0:
            self.filled.set()
        return super().feed(data)


@pytest.mark.parametrize("lazy", [0, 1])
async def test_p3_fifty_streams_keep_their_rate_beside_one_that_is_not_read(
    autojump_clock: MockClock, tier: str, lazy: int
) -> None:
    each = {"test": 200_000, "proof": 500_000}.get(tier, 4_000_000)
    async with rigged() as rig:
        rig.network._link = Link(latency=0.001, bandwidth=20e6, window=1 << 20)
        sinks = [Filled(each) for _ in range(50)]
        stopped = [Collector(room=100_000) for _ in range(lazy)]
        responses = []

        async def consume(sink: Collector) -> None:
            response = await rig.open()
            responses.append(response)
            response.attach(sink)

        async with trio.open_nursery() as nursery:
            for sink in (*sinks, *stopped):
                nursery.start_soon(consume, sink)
            await trio.sleep(1)
            (server,) = rig.servers
            began = trio.current_time()
            for stream_id in server.opened:
                await server.head(stream_id)
                nursery.start_soon(server.data, stream_id, bytes(each))
            for sink in sinks:
                await sink.filled.wait()
            took = trio.current_time() - began
            for sink in stopped:
                assert len(sink.data) <= 100_000 + 65_536
                sink.room = 1 << 40
            for response in responses:
                response.resume()
        # 50 MB at 20 MB/s, of which the one that is not read took its first window.
        assert took == pytest.approx(50 * each / 20e6, rel=0.1)
        for response in responses:
            response.close()
