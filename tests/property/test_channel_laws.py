"""The laws of a channel of anything: order, bounds, wake-ups, and what a policy may do."""

from collections.abc import Hashable
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.policies import POLICIES, ItemRules, make_channel
from streamnursery.values.policy import WhenBehind

Item = tuple[str, tuple[int, ...]]
"""A kind and the numbers in it; those of kind "a" and "b" may be joined or dropped."""


def group(item: Item) -> Hashable | None:
    return item[0] if item[0] in "ab" else None


def join(items: list[Item]) -> Item:
    return items[0][0], tuple(number for _, numbers in items for number in numbers)


RULES: ItemRules[Item] = ItemRules(droppable=lambda item: item[0] in "ab", group=group, join=join)


def run(policy: WhenBehind, batches: list[list[str]], slow: list[int], bound: int) -> Any:
    """What was received, and the statistics at the end; the sender obeys the channel."""

    async def main() -> tuple[list[list[Item]], Any]:
        total = BufferTotal(10**9)
        channel = make_channel(policy, max_items=bound, max_bytes=10**6, rules=RULES, total=total)
        room = trio.Event()
        received: list[list[Item]] = []

        async def send() -> None:
            nonlocal room
            number = 0
            for kinds in batches:
                items: list[Item] = []
                for kind in kinds:
                    items.append((kind, (number,)))
                    number += 1
                room = trio.Event()
                channel.on_room = room.set
                if not channel.put(items, len(items)):
                    await room.wait()
                await trio.lowlevel.checkpoint()
            channel.close()

        async def receive() -> None:
            for turn in range(10**6):
                batch = await channel.receive()
                if batch is None:
                    return
                received.append(batch)
                for _ in range(slow[turn % len(slow)]):
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(receive)
        assert total.current_bytes == 0
        return received, channel.statistics()

    return trio.run(main, clock=MockClock(autojump_threshold=0))


BATCHES = st.lists(st.lists(st.sampled_from("abx"), min_size=1, max_size=5), max_size=20)


@given(
    policy=st.sampled_from(POLICIES),
    batches=BATCHES,
    slow=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    bound=st.integers(1, 8),
    schedule=st.random_module(),
)
def test_a_channel_keeps_order_and_says_what_it_did(
    policy: WhenBehind, batches: list[list[str]], slow: list[int], bound: int, schedule: object
) -> None:
    del schedule
    sent = [kind for kinds in batches for kind in kinds]
    received, statistics = run(policy, batches, slow, bound)
    items = [item for batch in received for item in batch]
    numbers = [number for _, found in items for number in found]
    assert numbers == sorted(set(numbers))
    assert [sent[n] for kind, found in items for n in found] == [
        kind for kind, found in items for _ in found
    ]
    lost = len(sent) - len(numbers)
    assert statistics.dropped_items == lost
    assert statistics.coalesced_items == sum(len(found) - 1 for _, found in items)
    if policy != "drop_oldest":
        assert lost == 0
    assert all(n in numbers for n, kind in enumerate(sent) if kind == "x")
    largest = max(map(len, batches), default=0)
    if policy == "block":
        assert [len(batch) for batch in received] == [len(batch) for batch in batches]
        assert statistics.peak_items < bound + largest
    assert (statistics.current_items, statistics.current_bytes) == (0, 0)


def test_a_channel_without_a_total_has_only_its_own_bounds() -> None:
    channel: Channel[int] = Channel(max_items=2, max_bytes=100)
    assert channel.put([1], 99)
    assert not channel.put([2], 1)
    assert not channel.put([3], 0)
    channel.discard()
    assert channel.statistics().current_items == 0
