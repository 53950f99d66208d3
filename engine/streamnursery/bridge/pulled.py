"""Channels that drop or join while their reader in another thread is behind.

What a policy may still change must not have crossed: it stays in the engine, and one batch crosses
when the reader asks for it.
"""

from streamnursery.bridge.channel import Crossings, ForeignChannel, Wakes
from streamnursery.bridge.outbox import Mailbox, Unread
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.policies import (
    STREAM_EVENTS,
    CoalescingChannel,
    DroppingChannel,
)
from streamnursery.values.events import StreamEvent
from streamnursery.values.policy import WhenBehind


class PulledChannel(Channel[StreamEvent]):
    """A channel of the pipeline with a reader in another thread, who asks by the batch."""

    _asked: bool
    _box: Mailbox
    _crossings: Crossings
    _end: tuple[BaseException | None] | None
    _host: Wakes
    unread: Unread

    def reader(self, crossings: Crossings, host: Wakes, box: Mailbox) -> None:
        """Who reads it; once, before anything is put."""
        crossings.open[self] = None
        self._crossings = crossings
        self._host = host
        self._box = box
        self._asked = True
        self._end = None
        # Watched for ever, with no room but an empty box: every take is reported.
        self.unread = Unread(0, 0, watched=True)

    def put(self, items: list[StreamEvent], nbytes: int) -> bool:
        room = super().put(items, nbytes)
        self._hand_over()
        return room and not self._sender_waits

    def collect(self) -> None:
        """The reader asks for a batch if it has done with the one before."""
        items, _ = self._host.outbox.collect(self.unread, watch=True)
        if items:
            self.done_with()
            self._asked = True
            self._hand_over()

    def discard(self) -> None:
        self._host.outbox.discard(self._box, self.unread)
        super().discard()

    def end(self, error: BaseException | None) -> None:
        self._end = (error,)
        self._hand_over()

    def _hand_over(self) -> None:
        if self._asked and (batch := self.take()) is not None:
            self._asked = False
            # Counted here until the reader has done with it.
            if self._host.outbox.put(self._box, self.unread, batch, 0)[0]:
                self._host.wake()
        if self._next is None and self._end is not None:
            error, self._end = self._end[0], None
            self._crossings.open.pop(self, None)
            if self._host.outbox.end(self._box, error):
                self._host.wake()


class PulledDroppingChannel(PulledChannel, DroppingChannel[StreamEvent]):
    """`when_behind="drop_oldest"`."""


class PulledCoalescingChannel(PulledChannel, CoalescingChannel[StreamEvent]):
    """`when_behind="coalesce"`."""


def foreign_channel(
    when_behind: WhenBehind,
    crossings: Crossings,
    host: Wakes,
    box: Mailbox,
    *,
    max_items: int,
    max_bytes: int,
    total: BufferTotal,
) -> ForeignChannel | PulledChannel:
    """A channel whose reader is in another thread and wants that."""
    if when_behind == "block":
        return ForeignChannel(
            crossings, host, box, max_items=max_items, max_bytes=max_bytes, total=total
        )
    kind = PulledDroppingChannel if when_behind == "drop_oldest" else PulledCoalescingChannel
    channel = kind(max_items=max_items, max_bytes=max_bytes, rules=STREAM_EVENTS, total=total)
    channel.reader(crossings, host, box)
    return channel
