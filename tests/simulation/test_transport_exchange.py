"""Bodies that are pushed into a sink or pulled, on a virtual clock."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from streamnursery.transport.network import READ_SIZE
from streamnursery.values.errors import ConnectionLostError
from tests.support.http1 import Http1Rig, http1_rig, replies
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    Collector,
    ServerEnd,
    answer_hello,
    chunk,
)


@pytest.fixture(params=["pump", "task per connection"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Http1Rig]:
    async with http1_rig(pump=request.param == "pump") as made:
        yield made


# Pushed. ------------------------------------------------------------------------------------


async def test_a_body_is_pushed_with_one_feed_per_read(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one") + chunk(b"two"), chunk(b"three"), LAST_CHUNK))
    _, sink = await rig.attach()
    assert rig.busy == 1
    await sink.ended.wait()
    assert sink.feeds == [b"onetwo", b"three"]
    assert sink.failure is None and sink.ends == 1
    assert rig.phases.names == ["CONNECTING", "CONNECTED", "SENDING"]


async def test_what_came_with_the_head_is_fed_before_attach_returns(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(answer_hello)
    response, sink = await rig.attach()
    assert sink.feeds == [b"hello"] and sink.ended.is_set()
    assert (rig.idle, rig.busy) == (1, 0)
    response.close()
    assert (rig.idle, rig.busy) == (1, 0)


async def test_a_full_sink_stops_the_reading_until_it_is_resumed(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    total = 1_000_000

    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total + b"x" * total)

    rig.serve(serve)
    response, sink = await rig.attach(Collector(room=10))
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
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"a"), LAST_CHUNK))
    response, sink = await rig.attach()
    for _ in range(3):
        response.resume()
    await sink.ended.wait()
    response.resume()
    assert sink.feeds == [b"a"] and sink.ends == 1


async def test_a_closed_response_feeds_nothing_more_and_leaves_no_task(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, *[chunk(b"a")] * 5))
    response, sink = await rig.attach()
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
    rig: Http1Rig, autojump_clock: MockClock, with_head: bool
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
    rig: Http1Rig, autojump_clock: MockClock, reset: bool
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(CHUNKED_HEAD + chunk(b"half"))
        await trio.sleep(1)
        if reset:
            end.reset()

    sink = await rig.pushed(serve)
    assert sink.data == b"half"
    assert isinstance(sink.failure, ConnectionLostError) and sink.failure.retryable
    assert (rig.idle, rig.busy, rig.network.open_connections) == (0, 0, 0)


async def test_a_cancelled_nursery_tells_the_sink(autojump_clock: MockClock) -> None:
    sink = Collector()
    async with trio.open_nursery() as nursery:
        rig = Http1Rig(nursery)
        rig.serve(replies(CHUNKED_HEAD, *[chunk(b"a")] * 5))
        response = await rig.open()
        response.attach(sink)
        await trio.sleep(1.5)
        nursery.cancel_scope.cancel()
    assert isinstance(sink.failure, ConnectionLostError)
    assert rig.network.open_connections == 0


# Pulled. ------------------------------------------------------------------------------------


async def test_a_body_is_pulled_to_its_end_which_stays_the_end(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one"), chunk(b"two"), LAST_CHUNK))
    response = await rig.open()
    assert await rig.pull(response) == b"onetwo"
    assert await response.receive_some() == b""


async def test_a_cancelled_pull_loses_no_byte(rig: Http1Rig, autojump_clock: MockClock) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one"), chunk(b"two"), LAST_CHUNK))
    response = await rig.open()
    got = b""
    for _ in range(50):
        with trio.move_on_after(0.1):
            got += await response.receive_some()
    assert got == b"onetwo"


async def test_a_broken_body_is_pulled_up_to_the_break(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD + chunk(b"one") + b"zz\r\n"))
    response = await rig.open()
    assert await response.receive_some() == b"one"
    for _ in range(2):
        with pytest.raises(Exception, match=r"HTTP/1\.1"):
            await response.receive_some()


async def test_h8_a_head_that_never_ends_waits_for_the_callers_patience(
    rig: Http1Rig, autojump_clock: MockClock
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
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(CHUNKED_HEAD, chunk(b"one")))
    response = await rig.open()
    response.close()
    with pytest.raises(ConnectionLostError, match="closed before its end"):
        await response.receive_some()
