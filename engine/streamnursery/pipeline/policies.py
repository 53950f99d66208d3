"""What becomes of a channel's items while its consumer is behind: `when_behind`.

Rule 1: every policy is bounded by the same items and bytes, overshot by a read, and counts what
        it does; the bound over several channels holds every sender back.
Rule 2: what the rules do not call droppable or joinable - of a stream its marks, usage and end - is
        never dropped, and nothing is joined across it.
Rule 3: a stream's answer stays whole: `completion()` and the partial have what a policy dropped.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import attrs

from streamnursery.pipeline.channel import BufferTotal, Channel, ChannelStatistics
from streamnursery.values.events import (
    CONTENT,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
)
from streamnursery.values.policy import WhenBehind

T = TypeVar("T")

POLICIES: tuple[WhenBehind, ...] = ("block", "drop_oldest", "coalesce")

_CONTENT = frozenset(CONTENT)
_JOINABLE = frozenset((TextDelta, ReasoningDelta, RefusalDelta))


@attrs.frozen
class ItemRules(Generic[T]):
    """What a policy may do with items of one kind."""

    droppable: Callable[[T], bool]
    """Whether it may be dropped."""
    group: Callable[[T], Hashable | None]
    """Neighbours with the same group may be joined; None: never."""
    join: Callable[[list[T]], T]
    """One item from several of one group, in order."""


def make_channel(
    when_behind: WhenBehind,
    *,
    max_items: int,
    max_bytes: int,
    rules: ItemRules[T],
    total: BufferTotal | None = None,
) -> Channel[T]:
    """A channel whose consumer wants that."""
    if when_behind == "block":
        return Channel(max_items=max_items, max_bytes=max_bytes, total=total)
    kind = DroppingChannel if when_behind == "drop_oldest" else CoalescingChannel
    return kind(max_items=max_items, max_bytes=max_bytes, rules=rules, total=total)


def stream_channel(
    when_behind: WhenBehind, max_items: int, max_bytes: int, total: BufferTotal
) -> Channel[StreamEvent]:
    """One for the events of a stream."""
    if when_behind == "block":
        return Channel(max_items=max_items, max_bytes=max_bytes, total=total)
    return make_channel(
        when_behind, max_items=max_items, max_bytes=max_bytes, rules=STREAM_EVENTS, total=total
    )


class DroppingChannel(Channel[T]):
    """Drops the oldest unread items that may be dropped when it is full."""

    __slots__ = ("_droppable", "_dropped")

    def __init__(
        self,
        *,
        max_items: int,
        max_bytes: int,
        rules: ItemRules[T],
        total: BufferTotal | None = None,
    ) -> None:
        super().__init__(max_items=max_items, max_bytes=max_bytes, total=total)
        self._droppable = rules.droppable
        self._dropped = 0

    def put(self, items: list[T], nbytes: int) -> bool:
        self._make_way(len(items), nbytes)
        if not super().put(items, nbytes) and not self._total.full:
            self._sender_waits = False  # one read is as large as the bound: it is all there is
        return not self._sender_waits

    def statistics(self) -> ChannelStatistics:
        return attrs.evolve(super().statistics(), dropped_items=self._dropped)

    def _make_way(self, items: int, nbytes: int) -> None:
        """Drop until a batch of that size leaves the sender free, or nothing more can go."""
        kept: deque[tuple[list[T], int]] = deque()
        while self._next is not None and (
            self._items + items >= self.max_items
            or self._bytes + nbytes >= self.max_bytes
            or self._total.full
        ):
            batch, size = self._next
            self._next = self._behind.popleft() if self._behind else None
            marks = [item for item in batch if not self._droppable(item)]
            dropped = len(batch) - len(marks)
            if marks:
                kept.append((marks, 0 if dropped else size))
            self._dropped += dropped
            if dropped:
                self._let_go(dropped, size)
        if not kept:
            return
        behind = self._behind if self._behind is not None else deque()
        if self._next is not None:
            behind.appendleft(self._next)
        behind.extendleft(reversed(kept))
        self._next, self._behind = behind.popleft(), behind


@attrs.define
class Pieces(Generic[T]):
    """Neighbouring items of one group, not yet joined: joining at each would be quadratic."""

    group: Hashable
    items: list[T]


class CoalescingChannel(Channel[T]):
    """Joins neighbouring items of one group while the consumer is behind; blocks at its bytes."""

    __slots__ = ("_coalesced", "_rules", "_tail")

    def __init__(
        self,
        *,
        max_items: int,
        max_bytes: int,
        rules: ItemRules[T],
        total: BufferTotal | None = None,
    ) -> None:
        super().__init__(max_items=max_items, max_bytes=max_bytes, total=total)
        self._rules = rules
        self._coalesced = 0
        self._tail: list[T | Pieces[T]] | None = None
        """The newest unread batch."""

    def put(self, items: list[T], nbytes: int) -> bool:
        if self._next is None or self._closed or self._tail is None:
            own = list(items)
            self._tail = own  # type: ignore[assignment]
            return super().put(own, nbytes)
        before = len(self._tail)
        for item in items:
            self._add(self._tail, item)
        more = len(self._tail) - before
        self._coalesced += len(items) - more
        return self._grow(more, nbytes)

    def take(self) -> list[T] | None:
        batch = super().take()
        if batch is self._tail:
            self._tail = None
        if batch is None:
            return None
        join = self._rules.join
        return [join(item.items) if isinstance(item, Pieces) else item for item in batch]

    def discard(self) -> None:
        self._tail = None
        super().discard()

    def statistics(self) -> ChannelStatistics:
        return attrs.evolve(super().statistics(), coalesced_items=self._coalesced)

    def _add(self, tail: list[T | Pieces[T]], item: T) -> None:
        last = tail[-1]
        group = self._rules.group(item)
        if group is None:
            tail.append(item)
        elif isinstance(last, Pieces):
            if last.group == group:
                last.items.append(item)
            else:
                tail.append(item)
        elif self._rules.group(last) == group:
            tail[-1] = Pieces(group, [last, item])
        else:
            tail.append(item)

    def _grow(self, items: int, nbytes: int) -> bool:
        """The newest batch has so much more in it."""
        newest = self._behind if self._behind else None
        batch, size = newest[-1] if newest else self._waiting()
        if newest:
            newest[-1] = (batch, size + nbytes)
        else:
            self._next = (batch, size + nbytes)
        return self._book(items, nbytes)

    def _waiting(self) -> tuple[list[T], int]:
        assert self._next is not None
        return self._next


def event_group(event: StreamEvent) -> Hashable | None:
    """Text, reasoning and refusals of one choice may be joined with their neighbour."""
    if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
        return type(event), event.index
    return None


def join_events(events: list[StreamEvent]) -> StreamEvent:
    first = events[0]
    assert isinstance(first, TextDelta | ReasoningDelta | RefusalDelta)
    text = "".join(event.text for event in events if isinstance(event, type(first)))
    return type(first)(text, first.index)


STREAM_EVENTS: ItemRules[StreamEvent] = ItemRules(
    droppable=lambda event: type(event) in _CONTENT, group=event_group, join=join_events
)
"""Content may be dropped; neighbouring text of one kind and choice may be joined."""
