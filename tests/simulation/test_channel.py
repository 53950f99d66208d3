"""The bounded channel of batches."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.values.events import StreamEvent, TextDelta
from tests.support.scene import virtual


def batch(*texts: str) -> list[StreamEvent]:
    return [TextDelta(text) for text in texts]


def make(max_items: int = 4, max_bytes: int = 100, total: int = 10_000) -> Channel[StreamEvent]:
    return Channel(max_items=max_items, max_bytes=max_bytes, total=BufferTotal(total))


@virtual
async def test_a_full_channel_says_so_and_takes_the_batch_all_the_same() -> None:
    channel = make(max_items=2)
    assert channel.put(batch("a"), 1)
    assert not channel.put(batch("b", "c"), 2)
    said = channel.statistics()
    assert (said.current_items, said.excess_items, said.peak_items) == (2, 1, 2)
    assert channel.statistics().sender_waiting


@virtual
async def test_bytes_bound_a_channel_too() -> None:
    channel = make(max_bytes=10)
    assert channel.put(batch("a"), 9)
    assert not channel.put(batch("b"), 1)


@virtual
async def test_the_sender_goes_on_once_half_of_the_bound_is_free() -> None:
    channel = make(max_items=4)
    rooms: list[int] = []
    channel.on_room = lambda: rooms.append(channel.statistics().current_items)
    for text in "abcd":
        channel.put(batch(text), 1)
    await channel.receive()  # a is taken, and counts until the next is asked for
    await channel.receive()
    assert rooms == []
    await channel.receive()
    assert rooms == [2]
    await channel.receive()
    assert rooms == [2]


@virtual
async def test_what_is_there_is_received_after_the_close_and_then_none() -> None:
    channel = make()
    channel.put(batch("a"), 1)
    channel.close()
    assert await channel.receive() == batch("a")
    assert await channel.receive() is None
    assert await channel.receive() is None


@virtual
async def test_a_discard_drops_what_was_not_read_and_frees_the_total() -> None:
    total = BufferTotal(100)
    channel: Channel[StreamEvent] = Channel(max_items=4, max_bytes=100, total=total)
    channel.put(batch("a"), 40)
    channel.put(batch("b"), 40)
    assert await channel.receive() == batch("a")
    channel.discard()
    assert total.current_bytes == 0
    assert channel.statistics().current_items == 0
    assert await channel.receive() is None
    channel.put(batch("late"), 1)
    assert total.current_bytes == 0


async def test_a_cancelled_reader_loses_nothing(autojump_clock: MockClock) -> None:
    channel = make()
    with trio.move_on_after(1):
        await channel.receive()
    channel.put(batch("a"), 1)
    assert await channel.receive() == batch("a")


@virtual
async def test_receiving_is_a_checkpoint_also_when_a_batch_is_there() -> None:
    channel = make()
    channel.put(batch("a"), 1)
    with assert_checkpoints():
        await channel.receive()


@virtual
async def test_a_second_reader_is_told_so() -> None:
    channel = make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="one reader per stream"):
            await channel.receive()
        nursery.cancel_scope.cancel()


@virtual
async def test_the_total_holds_others_back_but_never_an_empty_channel() -> None:
    total = BufferTotal(100)
    hog: Channel[StreamEvent] = Channel(max_items=99, max_bytes=1000, total=total)
    other: Channel[StreamEvent] = Channel(max_items=99, max_bytes=1000, total=total)
    rooms: list[str] = []
    hog.on_room = lambda: rooms.append("hog")
    other.on_room = lambda: rooms.append("other")
    assert not hog.put(batch("h"), 150)
    assert not other.put(batch("o"), 10)
    assert await other.receive() == batch("o")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.receive)  # asks for more: empty, so it may be sent one read
        await wait_all_tasks_blocked()
        assert rooms == ["other"]
        nursery.cancel_scope.cancel()
    assert not other.put(batch("p"), 10)
    assert await hog.receive() == batch("h")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hog.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert rooms == ["other", "hog"]  # `other` has a read in hand and goes on when it is taken


@given(
    schedule=st.random_module(),
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40)), max_size=30),
    pauses=st.lists(st.floats(0, 2), max_size=10),
    max_items=st.integers(1, 8),
    max_bytes=st.integers(1, 100),
)
def test_in_order_nothing_lost_and_never_more_than_the_bound_and_one_read(
    schedule: object,
    sizes: list[tuple[int, int]],
    pauses: list[float],
    max_items: int,
    max_bytes: int,
) -> None:
    total = BufferTotal(10_000)
    channel: Channel[StreamEvent] = Channel(max_items=max_items, max_bytes=max_bytes, total=total)
    sent: list[StreamEvent] = []
    received: list[StreamEvent] = []

    async def send() -> None:
        room = trio.Event()

        def on_room() -> None:
            room.set()

        channel.on_room = on_room
        for number, (events, nbytes) in enumerate(sizes):
            fresh = batch(*(f"{number}.{i}" for i in range(events)))
            sent.extend(fresh)
            room = trio.Event()
            if not channel.put(fresh, nbytes):
                await room.wait()
        channel.close()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            rests = iter(pauses)
            while (got := await channel.receive()) is not None:
                received.extend(got)
                await trio.sleep(next(rests, 0))

    virtual(main)()
    assert received == sent
    stats = channel.statistics()
    assert stats.peak_items < max_items + 5
    assert stats.peak_bytes < max_bytes + 40
    assert (stats.current_items, stats.current_bytes, total.current_bytes) == (0, 0, 0)
