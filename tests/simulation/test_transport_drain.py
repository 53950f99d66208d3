"""What becomes of a connection behind its answer: drained, idle, closed; on a virtual clock."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from streamnursery.transport.http1 import DRAIN_BYTES, DRAIN_SECONDS
from streamnursery.transport.pool import IDLE_SECONDS
from streamnursery.values.errors import ConnectionLostError, EngineClosedError, NetworkError
from tests.support.http1 import IP, Http1Rig, http1_rig, replies
from tests.support.transport import CHUNKED_HEAD, LAST_CHUNK, Collector, answer_hello, chunk

DONE = CHUNKED_HEAD + chunk(b"data: [DONE]\n\n")


@pytest.fixture(params=["pump", "task per connection"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Http1Rig]:
    async with http1_rig(pump=request.param == "pump") as made:
        yield made


# Drained. -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "kept"), [(0.0, True), (0.02, True), (0.2, False)])
@pytest.mark.parametrize("attached", [False, True])
async def test_a_drained_connection_is_kept_if_its_message_ends_in_time(
    rig: Http1Rig, autojump_clock: MockClock, after: float, kept: bool, attached: bool
) -> None:
    rig.serve(replies(DONE, LAST_CHUNK, apart=after, keep=True))
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
    rig: Http1Rig, autojump_clock: MockClock, excess: int, kept: bool, took: float
) -> None:
    much = CHUNKED_HEAD + chunk(b"x" * (DRAIN_BYTES + excess))
    rig.serve(replies(much, LAST_CHUNK, apart=0.02, keep=True))
    response = await rig.open()
    began = trio.current_time()
    await response.drain()
    assert rig.network.open_connections == int(kept)
    assert trio.current_time() - began == pytest.approx(took)


async def test_fifty_streams_one_after_another_are_one_connection(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(replies(DONE, LAST_CHUNK, apart=0.01, keep=True))
    for _ in range(50):
        response = await rig.open()
        response.attach(Collector(room=1))
        await response.drain()
    assert rig.transport.statistics().opened == 1


# Idle connections. --------------------------------------------------------------------------


async def test_idle_connections_are_closed_when_their_time_is_over(
    rig: Http1Rig, autojump_clock: MockClock
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
    rig: Http1Rig, autojump_clock: MockClock
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
    rig: Http1Rig, autojump_clock: MockClock
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
    rig: Http1Rig, autojump_clock: MockClock
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


# Behind the answer. -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "kept"), [(b"data: more\n\n", False), (b"\r\n\n", True)], ids=["more", "blank"]
)
async def test_what_comes_behind_an_answer_spoils_its_connection_unless_it_is_blank(
    rig: Http1Rig, autojump_clock: MockClock, behind: bytes, kept: bool
) -> None:
    enough, rest = CHUNKED_HEAD + chunk(b"enough"), chunk(behind) + LAST_CHUNK
    rig.serve(replies(enough, rest, apart=DRAIN_SECONDS / 2, keep=True))
    response = await rig.open()
    assert await response.receive_some() == b"enough"
    await response.drain(blank=True)
    assert (rig.idle, rig.busy) == (int(kept), 0)


async def test_a_sink_can_spoil_the_connection_in_the_read_that_ends_the_message(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    class Strict(Collector):
        def feed(self, data: bytes) -> bool:
            response.mark_unreusable()
            return super().feed(data)

    rig.serve(replies(CHUNKED_HEAD, chunk(b"all of it") + LAST_CHUNK, keep=True))
    response, sink = await rig.attach(Strict())
    await sink.ended.wait()
    assert (sink.data, sink.failure) == (b"all of it", None)
    assert (rig.idle, rig.busy) == (0, 0)
