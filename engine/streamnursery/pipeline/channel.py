"""A bounded channel of batches: one read of the network is one batch and one wake-up.

Rule 1: `put` never waits and never refuses; it says False when the bound is reached, and the
        sender stops until `on_room`. So a channel overshoots its bound by one read at most.
Rule 2: a batch counts until the consumer asks for the next one.
Rule 3: over all channels `BufferTotal` holds senders back too, but a channel that is empty may
        always be sent one read: a reader does not starve because others do not read.
Rule 4: there is one consumer. It is woken once per batch and takes one checkpoint per batch.
"""

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable


T = TypeVar("T")

Batch: TypeAlias = tuple[list[T], int]
"""The items of one `put`, and the bytes that they stand for."""


@attrs.frozen
class ChannelStatistics:
    """A snapshot of a channel."""

    current_items: int
    """Put and not yet done with, within the bound."""
    current_bytes: int
    """The same in bytes; of a stream, body bytes as received."""
    max_items: int
    max_bytes: int
    peak_items: int
    peak_bytes: int
    excess_items: int
    """Beyond the bound: the rest of the read that has reached it, which is not refused."""
    excess_bytes: int
    sender_waiting: bool
    """True while the sender is held back."""
    dropped_items: int = 0
    """By `when_behind="drop_oldest"`."""
    coalesced_items: int = 0
    """Joined to the one before by `when_behind="coalesce"`."""


def _nothing() -> None:
    pass


class BufferTotal:
    """Unread bytes over all channels of an engine."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.current_bytes = 0
        self.peak_bytes = 0
        self.partial_bytes = 0
        """Of `current_bytes`: events that are not complete, and cannot be read yet."""
        self.held_back: dict[Channel[Any], None] = {}
        """Those whose senders wait for room here, the longest first."""
        self.refresh: Callable[[], None] = _nothing
        """Called before its figures are read: readers in other threads keep their own figures."""

    @property
    def full(self) -> bool:
        return self.current_bytes >= self.max_bytes

    def keep(self, nbytes: int) -> bool:
        """Count bytes that are kept beside the channels; False, and nothing is counted, for more
        than there is room for by themselves."""
        if self.partial_bytes + nbytes > self.max_bytes:
            return False
        self.partial_bytes += nbytes
        self.current_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.current_bytes)
        return True

    def let_go(self, nbytes: int) -> None:
        """They are kept no more."""
        self.partial_bytes -= nbytes
        self.current_bytes -= nbytes
        if self.held_back:
            self.let_in()

    def hold_back(self, channel: "Channel[Any]") -> None:
        self.held_back[channel] = None

    def let_in(self) -> None:
        """Bytes were taken."""
        # One read is let in at a time; it calls again when it has been taken.
        if not self.full:
            channel = next(iter(self.held_back))
            del self.held_back[channel]
            channel.make_room()

    def forget(self, channel: "Channel[Any]") -> None:
        self.held_back.pop(channel, None)


class Channel(Generic[T]):
    """A bounded buffer between a sender that never waits and one consumer.

    `max_items` and `max_bytes` bound what is unread; `total` is a bound over several channels.
    """

    __slots__ = (
        "_behind",
        "_bytes",
        "_closed",
        "_consumer",
        "_items",
        "_next",
        "_partial_bytes",
        "_peak_bytes",
        "_peak_items",
        "_sender_waits",
        "_taken_bytes",
        "_taken_items",
        "_total",
        "max_bytes",
        "max_items",
        "on_room",
    )

    def __init__(self, *, max_items: int, max_bytes: int, total: BufferTotal | None = None) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.on_room: Callable[[], None] | None = None
        """Called once after a `put` that returned False, when there is room again."""
        self._total = BufferTotal(sys.maxsize) if total is None else total
        self._next: Batch[T] | None = None
        self._behind: deque[Batch[T]] | None = None
        """What waits behind `_next`; most consumers keep up and never need one."""
        self._taken_items = 0
        self._taken_bytes = 0
        self._items = 0
        self._bytes = 0
        self._peak_items = 0
        self._peak_bytes = 0
        self._partial_bytes = 0
        self._sender_waits = False
        self._closed = False
        self._consumer: trio.lowlevel.Task | None = None

    def put(self, items: list[T], nbytes: int) -> bool:
        """Add a batch; False: put no more until `on_room`."""
        if self._closed:
            return True
        if self._next is None:
            self._next = (items, nbytes)
        else:
            if self._behind is None:
                self._behind = deque()
            self._behind.append((items, nbytes))
        return self._book(len(items), nbytes)

    def _book(self, items: int, nbytes: int) -> bool:
        """So much more is unread; False: put no more until `on_room`."""
        self._items += items
        self._bytes += nbytes
        total = self._total
        total.current_bytes += nbytes
        if total.current_bytes > total.peak_bytes:
            total.peak_bytes = total.current_bytes
        if self._items > self._peak_items:
            self._peak_items = self._items
        if self._bytes > self._peak_bytes:
            self._peak_bytes = self._bytes
        if self._consumer is not None:
            trio.lowlevel.reschedule(self._consumer)
            self._consumer = None
        if self._items >= self.max_items or self._bytes >= self.max_bytes:
            self._sender_waits = True
        elif total.current_bytes >= total.max_bytes:
            self._sender_waits = True
            total.hold_back(self)
        return not self._sender_waits

    def keep_partial(self, nbytes: int) -> bool:
        """The sender keeps so many bytes of an item that has not come whole: they count in `total`.
        False: such bytes alone are more than it may have."""
        total = self._total
        more = nbytes - self._partial_bytes
        self._partial_bytes = nbytes
        total.partial_bytes += more
        total.current_bytes += more
        total.peak_bytes = max(total.peak_bytes, total.current_bytes)
        if more < 0 and total.held_back:
            total.let_in()
        return total.partial_bytes <= total.max_bytes

    def close(self) -> None:
        """Nothing more will be put; what is there can still be received."""
        self._closed = True
        if self._total.held_back:
            self._total.forget(self)
        if self._consumer is not None:
            self._wake()

    def discard(self) -> None:
        """Close, and drop what the consumer has not asked for."""
        if not self._closed:
            self.close()
        self._next = self._behind = None
        if self._items:
            self._let_go(self._items, self._bytes)
        self._taken_items = self._taken_bytes = 0

    async def receive(self) -> list[T] | None:
        """The next batch; None after the last. The batch before it is done with."""
        if self._taken_items:
            self.done_with()
        if self._next is not None or self._closed:
            await trio.lowlevel.checkpoint()
        else:
            if self._consumer is not None:
                await trio.lowlevel.checkpoint()
                msg = "another task is reading this stream; use one reader per stream"
                raise trio.BusyResourceError(msg)
            self._consumer = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort_wait)
        return self.take()

    def done_with(self) -> None:
        """The batch that was taken counts no more."""
        items, nbytes = self._taken_items, self._taken_bytes
        self._taken_items = self._taken_bytes = 0
        self._let_go(items, nbytes)

    def take(self) -> list[T] | None:
        """The next batch without waiting; None: there is none. The batch before it is done with
        already."""
        if self._next is None:
            return None
        items, nbytes = self._next
        self._next = self._behind.popleft() if self._behind else None
        self._taken_items = len(items)
        self._taken_bytes = nbytes
        return items

    def make_room(self) -> None:
        """Let the sender go on."""
        if self._sender_waits and not self._closed:
            self._sender_waits = False
            if self.on_room is not None:
                self.on_room()

    @property
    def unread_bytes(self) -> int:
        """All of them, also beyond the bound."""
        return self._bytes

    def statistics(self) -> ChannelStatistics:
        most, most_bytes = self.max_items, self.max_bytes
        return ChannelStatistics(
            current_items=min(self._items, most),
            current_bytes=min(self._bytes, most_bytes),
            max_items=most,
            max_bytes=most_bytes,
            peak_items=min(self._peak_items, most),
            peak_bytes=min(self._peak_bytes, most_bytes),
            excess_items=max(0, self._items - most),
            excess_bytes=max(0, self._bytes - most_bytes),
            sender_waiting=self._sender_waits,
        )

    def _let_go(self, items: int, nbytes: int) -> None:
        self._items -= items
        self._bytes -= nbytes
        total = self._total
        total.current_bytes -= nbytes
        if total.held_back:
            total.let_in()
        if not self._sender_waits:
            return
        # Half empty before the sender goes on, so that it does not stop and go per read.
        half = self._items * 2 <= self.max_items and self._bytes * 2 <= self.max_bytes
        if not self._items or (half and not self._total.full):
            self._total.forget(self)
            self.make_room()

    def _wake(self) -> None:
        if self._consumer is not None:
            trio.lowlevel.reschedule(self._consumer)
            self._consumer = None

    def _abort_wait(self, _: object) -> trio.lowlevel.Abort:
        self._consumer = None
        return trio.lowlevel.Abort.SUCCEEDED
