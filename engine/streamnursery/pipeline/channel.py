"""A bounded channel of batches: one read of the network is one batch and one wake-up.

Rule 1: `put` never waits and never refuses; it says False when the bound is reached, and the
        sender stops until `on_room`. So a channel overshoots its bound by one read at most.
Rule 2: a batch counts until the consumer asks for the next one.
Rule 3: over all channels `BufferTotal` holds senders back too, but a channel that is empty may
        always be sent one read: nobody starves because others do not read.
Rule 4: there is one consumer. It is woken once per batch and takes one checkpoint per batch.
"""

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.values.events import StreamEvent

if TYPE_CHECKING:
    from collections.abc import Callable


Batch: TypeAlias = tuple[list[StreamEvent], int]
"""The events of one read, and its body bytes."""


@attrs.frozen
class ChannelStatistics:
    """A snapshot of one stream's buffer."""

    current_events: int
    """Events put and not yet done with."""
    current_bytes: int
    """The same in body bytes, as received."""
    max_events: int
    max_bytes: int
    peak_events: int
    peak_bytes: int
    sender_waiting: bool
    """True while the provider is held back."""
    dropped_events: int = 0
    """By `when_behind="drop_oldest"`."""
    coalesced_events: int = 0
    """Joined to the one before by `when_behind="coalesce"`."""


class BufferTotal:
    """Unread bytes over all channels of an engine."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.current_bytes = 0
        self.peak_bytes = 0
        self.held_back: dict[Channel, None] = {}
        """Those whose senders wait for room here, the longest first."""

    @property
    def full(self) -> bool:
        return self.current_bytes >= self.max_bytes

    def hold_back(self, channel: "Channel") -> None:
        self.held_back[channel] = None

    def let_in(self) -> None:
        """Somebody has taken bytes."""
        # One read is let in at a time; it calls again when it has been taken.
        if not self.full:
            channel = next(iter(self.held_back))
            del self.held_back[channel]
            channel.make_room()

    def forget(self, channel: "Channel") -> None:
        self.held_back.pop(channel, None)


class Channel:
    """The buffer between one stream's sender and its consumer."""

    __slots__ = (
        "_behind",
        "_bytes",
        "_closed",
        "_consumer",
        "_events",
        "_next",
        "_peak_bytes",
        "_peak_events",
        "_sender_waits",
        "_taken_bytes",
        "_taken_events",
        "_total",
        "max_bytes",
        "max_events",
        "on_room",
    )

    def __init__(self, *, max_events: int, max_bytes: int, total: BufferTotal) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.on_room: Callable[[], None] | None = None
        """Called once after a `put` that returned False, when there is room again."""
        self._total = total
        self._next: Batch | None = None
        self._behind: deque[Batch] | None = None
        """What waits behind `_next`; most consumers keep up and never need one."""
        self._taken_events = 0
        self._taken_bytes = 0
        self._events = 0
        self._bytes = 0
        self._peak_events = 0
        self._peak_bytes = 0
        self._sender_waits = False
        self._closed = False
        self._consumer: trio.lowlevel.Task | None = None

    def put(self, events: list[StreamEvent], nbytes: int) -> bool:
        """Add a batch; False: put no more until `on_room`."""
        if self._closed:
            return True
        if self._next is None:
            self._next = (events, nbytes)
        else:
            if self._behind is None:
                self._behind = deque()
            self._behind.append((events, nbytes))
        return self._book(len(events), nbytes)

    def _book(self, events: int, nbytes: int) -> bool:
        """So much more is unread; False: put no more until `on_room`."""
        self._events += events
        self._bytes += nbytes
        total = self._total
        total.current_bytes += nbytes
        if total.current_bytes > total.peak_bytes:
            total.peak_bytes = total.current_bytes
        if self._events > self._peak_events:
            self._peak_events = self._events
        if self._bytes > self._peak_bytes:
            self._peak_bytes = self._bytes
        if self._consumer is not None:
            trio.lowlevel.reschedule(self._consumer)
            self._consumer = None
        if self._events >= self.max_events or self._bytes >= self.max_bytes:
            self._sender_waits = True
        elif total.current_bytes >= total.max_bytes:
            self._sender_waits = True
            total.hold_back(self)
        return not self._sender_waits

    def close(self) -> None:
        """Nothing more will be put; what is there can still be received."""
        self._closed = True
        self._total.forget(self)
        self._wake()

    def discard(self) -> None:
        """Close, and drop what the consumer has not asked for."""
        self.close()
        self._next = self._behind = None
        if self._events:
            self._let_go(self._events, self._bytes)
        self._taken_events = self._taken_bytes = 0

    async def receive(self) -> list[StreamEvent] | None:
        """The next batch; None after the last. The batch before it is done with."""
        if self._taken_events:
            self._let_go(self._taken_events, self._taken_bytes)
            self._taken_events = self._taken_bytes = 0
        if buggify.world is not None:
            await buggify.world.give_way("channel.receive")
        if self._next is not None or self._closed:
            await trio.lowlevel.checkpoint()
        else:
            if self._consumer is not None:
                await trio.lowlevel.checkpoint()
                msg = "another task is reading this stream; use one reader per stream"
                raise trio.BusyResourceError(msg)
            self._consumer = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort_wait)
        if self._next is None:
            return None
        events, nbytes = self._next
        self._next = self._behind.popleft() if self._behind else None
        self._taken_events = len(events)
        self._taken_bytes = nbytes
        return events

    def make_room(self) -> None:
        """Let the sender go on."""
        if self._sender_waits and not self._closed:
            self._sender_waits = False
            if self.on_room is not None:
                self.on_room()

    def statistics(self) -> ChannelStatistics:
        return ChannelStatistics(
            current_events=self._events,
            current_bytes=self._bytes,
            max_events=self.max_events,
            max_bytes=self.max_bytes,
            peak_events=self._peak_events,
            peak_bytes=self._peak_bytes,
            sender_waiting=self._sender_waits,
        )

    def _let_go(self, events: int, nbytes: int) -> None:
        self._events -= events
        self._bytes -= nbytes
        total = self._total
        total.current_bytes -= nbytes
        if total.held_back:
            total.let_in()
        if not self._sender_waits:
            return
        # Half empty before the sender goes on, so that it does not stop and go per read.
        half = self._events * 2 <= self.max_events and self._bytes * 2 <= self.max_bytes
        if not self._events or (half and not self._total.full):
            self._total.forget(self)
            self.make_room()

    def _wake(self) -> None:
        if self._consumer is not None:
            trio.lowlevel.reschedule(self._consumer)
            self._consumer = None

    def _abort_wait(self, _: object) -> trio.lowlevel.Abort:
        self._consumer = None
        return trio.lowlevel.Abort.SUCCEEDED
