"""The border between the engine's thread and a host: an event loop, or a thread that waits.

Two actors. The engine puts and ends; the host parks, sweeps and takes. Nothing here waits, calls
the other side or knows a clock.

Rule 1: what both touch is read and written under the outbox's lock, which is held for a few steps:
        once per put, once per sweep, once per take. No order relies on the interpreter's lock.
Rule 2: a host is woken once per burst. `put` says so when a waiter is parked and no sweep is due.
Rule 3: what is put arrives once and in order, and the end behind it. What is discarded was not
        taken, and is gone from both sides' books.
Rule 4: a batch counts as unread until its reader asks for the next one. What was let go is
        reported to the engine only where a sender waits for it; otherwise the engine finds it at
        its next put.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, Final, TypeAlias

import attrs

MOST: Final = 1000
"""Items that one take or one sweep hands over before the host's loop runs again."""


Put: TypeAlias = tuple[bool, int, int]
"""Whether to wake the host; items and bytes that the reader has done with meanwhile."""


@attrs.define(eq=False)
class Unread:
    """What one sender has put and its reader has not done with. Guarded by the outbox's lock."""

    max_items: int
    max_bytes: int
    items: int = 0
    nbytes: int = 0
    let_go_items: int = 0
    """Done with since the sender last looked."""
    let_go_bytes: int = 0
    watched: bool = False
    """The sender waits for room, and wants to hear of it."""
    revoked: bool = False
    """Nothing more may be handed out, not even from a batch begun."""

    def let_go(self, items: int, nbytes: int) -> bool:
        """The reader is done with so much; whether the sender wants to hear of it."""
        self.items -= items
        self.nbytes -= nbytes
        self.let_go_items += items
        self.let_go_bytes += nbytes
        half = self.items * 2 <= self.max_items and self.nbytes * 2 <= self.max_bytes
        return self.watched and (half or not self.items)

    def collect(self) -> tuple[int, int]:
        """For the sender: what was done with since the last time."""
        found = self.let_go_items, self.let_go_bytes
        self.let_go_items = self.let_go_bytes = 0
        return found


@attrs.define(eq=False)
class Mailbox:
    """What is on its way to one reader."""

    batches: deque[tuple[Unread | None, list[Any], int]] = attrs.field(factory=deque)
    """Each with the books of its sender and its bytes."""
    taken: list[tuple[Unread, int, int]] = attrs.field(factory=list)
    """Handed out, and not done with."""
    parked: bool = False
    """Its reader waits for a sweep."""
    ended: bool = False
    error: BaseException | None = None
    """What ended it."""
    over: bool = False
    """The engine holds nothing more for it."""
    report: Callable[[], None] | None = None
    """For the engine's thread: the reader has done with something that a sender waits for."""
    notify: Callable[[], None] | None = None
    """Called by the host for each sweep that names this box."""


@attrs.define(eq=False)
class Border:
    """What all outboxes of an engine have in common."""

    report_all: bool = False
    """A sender waits for room in the bound over all streams: whatever is let go is reported.
    Set before the engine looks into every outbox, so that one of the two sees the other."""


class HostOutbox:
    """All mailboxes of one host."""

    def __init__(self, border: Border | None = None) -> None:
        self.lock = Lock()
        self._border = border or Border()
        self._ready: deque[Mailbox] = deque()
        """Boxes with news whose readers are parked."""
        self._armed = False
        """A sweep is due."""

    # For the engine. ---------------------------------------------------------------------------

    def put(self, box: Mailbox, unread: Unread, items: list[Any], nbytes: int) -> Put:
        """Add a batch, which the sender does not touch again."""
        with self.lock:
            unread.items += len(items)
            unread.nbytes += nbytes
            box.batches.append((unread, items, nbytes))
            return self._news(box), *unread.collect()

    def tell(self, box: Mailbox, items: list[Any]) -> bool:
        """Add a batch that has no bound; whether to wake the host."""
        with self.lock:
            box.batches.append((None, items, 0))
            return self._news(box)

    def offer(self, box: Mailbox, unread: Unread, item: Any, *, oldest: bool) -> tuple[bool, bool]:
        """Add one item; when the box is full an item is dropped, the `oldest` or this one.
        Whether to wake the host, and whether one was dropped."""
        with self.lock:
            full = unread.items >= unread.max_items
            if full and (not oldest or not box.batches):
                return False, True
            if full:
                box.batches.popleft()
                unread.items -= 1
            unread.items += 1
            box.batches.append((unread, [item], 0))
            return self._news(box), full

    def discard(self, box: Mailbox, unread: Unread) -> None:
        """Drop what was put for `unread` and not taken. The end that follows wakes the host."""
        with self.lock:
            unread.revoked = True
            unread.items = unread.nbytes = unread.let_go_items = unread.let_go_bytes = 0
            kept = [batch for batch in box.batches if batch[0] is not unread]
            box.batches.clear()
            box.batches.extend(kept)
            box.taken = [taken for taken in box.taken if taken[0] is not unread]

    def end(self, box: Mailbox, error: BaseException | None) -> bool:
        """Nothing more will be put; whether to wake the host."""
        with self.lock:
            if not box.ended:
                box.ended, box.error = True, error
            return self._news(box)

    def finish(self, box: Mailbox, *, ended: bool = True) -> bool:
        """The engine runs nothing more for it; whether to wake the host. Not `ended`: there is
        more to read."""
        with self.lock:
            box.over = True
            box.ended = box.ended or ended
            return self._news(box)

    def collect(self, unread: Unread, *, watch: bool) -> tuple[int, int]:
        """What was done with since the last time. With `watch` the host reports the next room."""
        with self.lock:
            unread.watched = watch
            return unread.collect()

    def _news(self, box: Mailbox) -> bool:
        if not box.parked:
            return False
        box.parked = False
        self._ready.append(box)
        armed, self._armed = self._armed, True
        return not armed

    # For the host. -----------------------------------------------------------------------------

    def park(self, box: Mailbox, *, for_over: bool = False) -> bool:
        """The reader will wait for a sweep that names `box`; False: there is something already.

        With `for_over` it waits until the engine holds nothing more.
        """
        with self.lock:
            if box.over if for_over else box.batches or box.ended:
                return False
            box.parked = True
            return True

    def ask(self, box: Mailbox) -> tuple[bool, bool]:
        """As `park`, for a reader that is done with what it took before; and whether the engine
        wants to hear of that."""
        with self.lock:
            report = self._done_with(box)
            if box.batches or box.ended:
                return False, report
            box.parked = True
            return True, report

    def sweep(self) -> tuple[list[Mailbox], bool]:
        """The boxes with news for a parked waiter, at most `MOST`; whether there are more,
        for another sweep that the host arranges itself."""
        with self.lock:
            ready = self._ready
            if len(ready) <= MOST:
                found = list(ready)
                ready.clear()
                self._armed = False
                return found, False
            return [ready.popleft() for _ in range(MOST)], True

    def take(self, box: Mailbox) -> tuple[list[tuple[Unread | None, list[Any]]], bool]:
        """The next batches, in order, `MOST` items or one batch at most; none: there are none.
        The batches of the take before are done with: whether the engine wants to hear of it."""
        with self.lock:
            report = self._done_with(box)
            found: list[tuple[Unread | None, list[Any]]] = []
            items = 0
            batches = box.batches
            while batches and (not found or items + len(batches[0][1]) <= MOST):
                unread, batch, nbytes = batches.popleft()
                items += len(batch)
                found.append((unread, batch))
                if unread is not None:
                    box.taken.append((unread, len(batch), nbytes))
            return found, report

    def drop(self, box: Mailbox) -> bool:
        """The reader takes nothing more; whether the engine wants to hear of it."""
        with self.lock:
            for unread, items, nbytes in box.batches:
                if unread is not None:
                    box.taken.append((unread, len(items), nbytes))
            box.batches.clear()
            return self._done_with(box)

    def _done_with(self, box: Mailbox) -> bool:
        if not box.taken:
            return False
        report = self._border.report_all
        for unread, items, nbytes in box.taken:
            if unread.let_go(items, nbytes):
                report = True
        box.taken.clear()
        return report
