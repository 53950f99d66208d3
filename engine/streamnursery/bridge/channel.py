"""Channels whose reader is in another thread.

Rule 1: they are to the sender what `Channel` is: `put` never waits, False holds the sender back,
        `on_room` lets it go on, and the bound over all streams counts what is unread.
Rule 2: what the reader has done with is found at the next put. Only who waits for room hears of it
        at once: by a call from the host, one for each of its takes.
"""

from collections.abc import Callable
from typing import Any, Protocol

import attrs

from streamnursery.bridge.outbox import Border, HostOutbox, Mailbox, Unread
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.values.events import StreamEvent


class Wakes(Protocol):
    """A host as the engine sees it."""

    outbox: HostOutbox

    def wake(self) -> None:
        """Have it sweep soon; from any thread, and never raises."""


class Asks(Wakes, Protocol):
    """A host that opens streams."""

    def task(self) -> object:
        """Which of its tasks calls; from the host."""


class Collected(Protocol):
    """A channel as its engine's `Crossings` see it."""

    def collect(self) -> None: ...


@attrs.define(eq=False)
class Crossings:
    """The channels of an engine whose readers are in other threads."""

    border: Border = attrs.field(factory=Border)
    open: "dict[Collected, None]" = attrs.field(factory=dict, init=False)
    """Those that may have unread bytes."""

    def collect(self) -> None:
        """Bring the books of all channels up to date; lets senders go on."""
        for channel in tuple(self.open):
            channel.collect()

    def reported(self, total: BufferTotal) -> None:
        """A reader has done with something."""
        self.collect()
        while total.held_back and not total.full:
            total.let_in()
        self.border.report_all = bool(total.held_back)


class ForeignChannel(Channel[StreamEvent]):
    """Puts into a host's outbox. The reader's half is the mailbox: nothing is received here."""

    __slots__ = (
        "_box",
        "_crossings",
        "_gone",
        "_handed_over",
        "_host",
        "_tag",
        "unread",
    )

    def __init__(
        self,
        crossings: Crossings,
        host: Wakes,
        box: Mailbox,
        *,
        max_items: int,
        max_bytes: int,
        total: BufferTotal,
        tag: Callable[[StreamEvent], Any] | None = None,
    ) -> None:
        """`tag` makes of an event what the reader is handed, as an index beside it."""
        super().__init__(max_items=max_items, max_bytes=max_bytes, total=total)
        self.unread = Unread(max_items, max_bytes)
        self._crossings = crossings
        self._host = host
        self._box = box
        self._tag = tag
        self._gone = False
        self._handed_over = False
        crossings.open[self] = None

    def put(self, items: list[StreamEvent], nbytes: int) -> bool:
        if self._closed:
            return True
        crossing = items if self._tag is None else [self._tag(item) for item in items]
        wake, *done = self._host.outbox.put(self._box, self.unread, crossing, nbytes)
        if wake:
            self._host.wake()
        self._done(*done)
        room = self._book(len(items), nbytes)
        if not room:
            room = self._wait_for_room()
        return room

    def _wait_for_room(self) -> bool:
        """Have room reported. It may be there already: the reader is faster than we are."""
        on_room, self.on_room = self.on_room, None  # the sender has not been held back yet
        try:
            if self._total.held_back:
                self._crossings.border.report_all = True
                self._crossings.collect()
            self._look()
        finally:
            self.on_room = on_room
        return not self._sender_waits

    def collect(self) -> None:
        """Learn what the reader has done with."""
        if self._gone:
            return
        self._look()
        if self._closed and not self._items:
            self._forget()

    def _look(self) -> None:
        """What the reader has done with; it reports the next only while the sender waits."""
        waits = self._sender_waits
        self._done(*self._host.outbox.collect(self.unread, watch=waits))
        if waits and not self._sender_waits:
            self._done(*self._host.outbox.collect(self.unread, watch=False))

    def _done(self, items: int, nbytes: int) -> None:
        if items:
            self._let_go(items, nbytes)

    def close(self) -> None:
        super().close()
        if not self._items:
            self._forget()

    def hand_over(self) -> None:
        """What is unread will be read, or dropped by its reader: leaving the stream drops none."""
        self._handed_over = True

    def discard(self) -> None:
        if not self._gone and not self._handed_over:
            self._host.outbox.discard(self._box, self.unread)
            super().discard()
            self._forget()

    def end(self, error: BaseException | None) -> None:
        """Behind the last batch: how the stream ended."""
        if self._host.outbox.end(self._box, error):
            self._host.wake()

    def _forget(self) -> None:
        self._gone = True
        self._crossings.open.pop(self, None)

    async def receive(self) -> list[StreamEvent] | None:
        raise AssertionError("the events of this stream have crossed to another thread")
