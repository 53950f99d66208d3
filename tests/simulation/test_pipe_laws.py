"""Laws of the connection in memory, under any interleaving."""

from math import inf

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from streamnursery.simulator import Link
from streamnursery.simulator.pipe import PipeConnection, pipe

links = st.builds(
    Link,
    latency=st.sampled_from([0.0, 0.5, 3.0]),
    bandwidth=st.sampled_from([inf, 10.0, 1000.0]),
    segment_size=st.none() | st.integers(1, 9),
    window=st.integers(1, 40),
)
pauses = st.sampled_from([0.0, 0.0, 0.1, 1.0])


@attrs.frozen
class Talk:
    """What one sender and one reader do."""

    chunks: list[tuple[float, int, bool]]
    """Pause, size, apart."""
    reads: list[tuple[float, int]]
    ending: str
    """"eof", "close" or "reset"."""
    cancel_after: float


talks = st.builds(
    Talk,
    chunks=st.lists(st.tuples(pauses, st.integers(0, 60), st.booleans()), max_size=8),
    reads=st.lists(st.tuples(pauses, st.integers(1, 70)), min_size=1, max_size=5),
    ending=st.sampled_from(["eof", "close", "reset"]),
    cancel_after=st.sampled_from([inf, 0.0, 0.3, 2.0]),
)


def message(chunks: list[tuple[float, int, bool]]) -> bytes:
    """Bytes that no two places of are easily confused."""
    size = sum(size for _, size, _ in chunks)
    return bytes((i * 7 + i // 256) % 256 for i in range(size))


async def send(end: PipeConnection, talk: Talk) -> int:
    """How many bytes were handed over whole; ends the way in the end."""
    data, start = message(talk.chunks), 0
    with trio.move_on_after(talk.cancel_after):
        for pause, size, apart in talk.chunks:
            await trio.sleep(pause)
            await end.send_all(data[start : start + size], apart=apart)
            start += size
    {"eof": end.send_eof, "close": end.close, "reset": end.reset}[talk.ending]()
    return start


@attrs.define
class Read:
    data: bytes = b""
    ending: str = ""
    peak: int = 0


async def read(end: PipeConnection, talk: Talk, result: Read) -> None:
    turn = 0
    while not result.ending:
        pause, size = talk.reads[turn % len(talk.reads)]
        turn += 1
        await trio.sleep(pause)
        await end.wait_readable()
        try:
            data = end.recv_nowait(size)
        except ConnectionResetError:
            result.ending = "rst"
            return
        assert len(data) <= size
        result.data += data
        result.ending = "" if data else "fin"


@given(talks, links, st.random_module())
def test_bytes_come_in_order_none_is_lost_and_the_end_is_fin_or_rst(
    talk: Talk, link: Link, randomness: object
) -> None:
    whole = message(talk.chunks)
    result, handed = Read(), [0]

    async def main() -> None:
        a, b = pipe(link)

        async def sender() -> None:
            handed[0] = await send(a, talk)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender)
            await read(b, talk, result)
        there = b.statistics().incoming
        assert there.peak_bytes <= link.window
        assert there.sent_bytes == there.received_bytes + there.discarded_bytes
        assert there.current_bytes == 0
        assert there.received_bytes == len(result.data)
        assert not there.sender_waiting and not there.reader_waiting
        result.peak = there.sent_bytes

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert whole.startswith(result.data)
    assert result.ending == ("rst" if talk.ending == "reset" else "fin")
    if result.ending == "fin":
        # A send that was cancelled has sent a prefix: never less than what was handed over.
        assert handed[0] <= len(result.data)
        if talk.cancel_after == inf:
            assert result.data == whole


@given(talks, links, st.integers(0, 300), st.random_module())
def test_a_reader_that_leaves_ends_the_sender(
    talk: Talk, link: Link, enough: int, randomness: object
) -> None:
    """Nobody waits for ever, whoever closes first."""

    async def main() -> None:
        a, b = pipe(link)

        async def sender() -> None:
            try:
                await send(a, talk)
            except OSError:
                a.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender)
            got = 0
            with trio.move_on_after(enough / 10):
                while got < enough:
                    await b.wait_readable()
                    try:
                        data = b.recv_nowait(10)
                    except ConnectionResetError:
                        break
                    if not data:
                        break
                    got += len(data)
            b.close()
        for way in (a.statistics().outgoing, a.statistics().incoming):
            assert way.sent_bytes == way.received_bytes + way.discarded_bytes + way.current_bytes

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(links, st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_segments_arrive_in_the_time_that_latency_and_bandwidth_give(
    link: Link, sizes: list[int]
) -> None:
    link = attrs.evolve(link, segment_size=1000, window=1000)

    async def main() -> list[float]:
        a, b = pipe(link)
        for size in sizes:
            a.send_nowait(bytes(size))
        a.close()
        times = []
        while True:
            await b.wait_readable()
            times.append(trio.current_time())
            if not b.recv_nowait(1000):
                return times

    times = trio.run(main, clock=MockClock(autojump_threshold=0))
    expected, gone = [], 0.0
    for size in sizes:
        gone += size / link.bandwidth
        expected.append(gone + link.latency)
    assert times == pytest.approx([*expected, expected[-1]])
