"""What becomes of a stream's events while its consumer is behind: `when_behind`.

Rule 1: every policy is bounded by the same events and bytes, overshot by a read, and counts what
        it does; the bound over all streams holds everybody back.
Rule 2: what is not content - marks, usage, the end - is never dropped, and nothing is joined
        across it.
Rule 3: the answer stays whole: `completion()` and the partial have what a policy dropped.
"""

from collections import deque
from typing import Literal, TypeAlias, TypeGuard

import attrs

from streamnursery.pipeline.channel import BufferTotal, Channel, ChannelStatistics
from streamnursery.values.events import (
    CONTENT,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
)

WhenBehind: TypeAlias = Literal["block", "drop_oldest", "coalesce"]
POLICIES: tuple[WhenBehind, ...] = ("block", "drop_oldest", "coalesce")

_CONTENT = frozenset(CONTENT)
_Joinable: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
_JOINABLE = frozenset((TextDelta, ReasoningDelta, RefusalDelta))


def make_channel(
    when_behind: WhenBehind, *, max_events: int, max_bytes: int, total: BufferTotal
) -> Channel:
    """The buffer of a stream whose consumer wants that."""
    if when_behind == "block":
        return Channel(max_events=max_events, max_bytes=max_bytes, total=total)
    kind = DroppingChannel if when_behind == "drop_oldest" else CoalescingChannel
    return kind(max_events=max_events, max_bytes=max_bytes, total=total)


class DroppingChannel(Channel):
    """Drops the oldest unread content when it is full."""

    __slots__ = ("_dropped",)

    def __init__(self, *, max_events: int, max_bytes: int, total: BufferTotal) -> None:
        super().__init__(max_events=max_events, max_bytes=max_bytes, total=total)
        self._dropped = 0

    def put(self, events: list[StreamEvent], nbytes: int) -> bool:
        self._make_way(len(events), nbytes)
        if not super().put(events, nbytes) and not self._total.full:
            self._sender_waits = False  # one read is as large as the bound: it is all there is
        return not self._sender_waits

    def statistics(self) -> ChannelStatistics:
        return attrs.evolve(super().statistics(), dropped_events=self._dropped)

    def _make_way(self, events: int, nbytes: int) -> None:
        """Drop until a batch of that size leaves the sender free, or nothing more can go."""
        kept: deque[tuple[list[StreamEvent], int]] = deque()
        while self._next is not None and (
            self._events + events >= self.max_events
            or self._bytes + nbytes >= self.max_bytes
            or self._total.full
        ):
            batch, size = self._next
            self._next = self._behind.popleft() if self._behind else None
            marks = [event for event in batch if type(event) not in _CONTENT]
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
class Pieces:
    """Neighbouring deltas of one kind and choice, not yet joined: joining each would be square."""

    kind: type[_Joinable]
    index: int
    texts: list[str]

    def takes(self, event: _Joinable) -> bool:
        """Whether `event` goes on where this ends."""
        return self.kind is type(event) and self.index == event.index

    def joined(self) -> StreamEvent:
        return self.kind("".join(self.texts), self.index)


class CoalescingChannel(Channel):
    """Joins neighbouring text deltas while the consumer is behind; full of bytes it blocks."""

    __slots__ = ("_coalesced", "_tail")

    def __init__(self, *, max_events: int, max_bytes: int, total: BufferTotal) -> None:
        super().__init__(max_events=max_events, max_bytes=max_bytes, total=total)
        self._coalesced = 0
        self._tail: list[StreamEvent | Pieces] | None = None
        """The newest unread batch."""

    def put(self, events: list[StreamEvent], nbytes: int) -> bool:
        if self._next is None or self._closed or self._tail is None:
            own = list(events)
            self._tail = own  # type: ignore[assignment]
            return super().put(own, nbytes)
        before = len(self._tail)
        for event in events:
            self._add(self._tail, event)
        more = len(self._tail) - before
        self._coalesced += len(events) - more
        return self._grow(more, nbytes)

    async def receive(self) -> list[StreamEvent] | None:
        batch = await super().receive()
        if batch is self._tail:
            self._tail = None
        if batch is None:
            return None
        return [e.joined() if isinstance(e, Pieces) else e for e in batch]

    def discard(self) -> None:
        self._tail = None
        super().discard()

    def statistics(self) -> ChannelStatistics:
        return attrs.evolve(super().statistics(), coalesced_events=self._coalesced)

    def _add(self, tail: list[StreamEvent | Pieces], event: StreamEvent) -> None:
        last = tail[-1]
        if not joinable(event):
            tail.append(event)
        elif isinstance(last, Pieces):
            if last.takes(event):
                last.texts.append(event.text)
            else:
                tail.append(event)
        elif joinable(last) and type(last) is type(event) and last.index == event.index:
            tail[-1] = Pieces(type(event), event.index, [last.text, event.text])
        else:
            tail.append(event)

    def _grow(self, events: int, nbytes: int) -> bool:
        """The newest batch has so much more in it."""
        newest = self._behind if self._behind else None
        batch, size = newest[-1] if newest else self._waiting()
        if newest:
            newest[-1] = (batch, size + nbytes)
        else:
            self._next = (batch, size + nbytes)
        return self._book(events, nbytes)

    def _waiting(self) -> tuple[list[StreamEvent], int]:
        assert self._next is not None
        return self._next


def joinable(event: object) -> TypeGuard[_Joinable]:
    """Whether it is text that may be joined with its neighbour."""
    return type(event) in _JOINABLE
