"""The messages of a session on their way out, and the one outcome of each.

Rule 1: an entry is settled once: DELIVERED, REFUSED or UNKNOWN. What settled it first counts.
Rule 2: entries go out in the order in which they were accepted, also after a break: those that
        go out again stand before those that never went.
Rule 3: a break leaves an entry that was not wholly handed to the network where it was: half a
        message is none. One that was may have arrived: it is sent again only if that is harmless,
        and otherwise its outcome is UNKNOWN.
Rule 4: accepted entries are bounded in number and bytes until they are settled.
"""

from collections import deque
from collections.abc import Callable

import attrs

from streamnursery.values.session import Pending, SendOutcome


@attrs.define(eq=False)
class OutboxMessage:
    """One message."""

    data: bytes
    repeatable: bool
    """Sending it twice does what sending it once does."""
    on_settled: Callable[["OutboxMessage"], None] | None = None
    maybe_sent: bool = attrs.field(default=False, init=False)
    """A connection broke under it that may have brought it there."""
    end: int = attrs.field(default=0, init=False)
    """The connection's byte behind it; set by its writer."""
    outcome: SendOutcome | None = attrs.field(default=None, init=False)


_NOT_YET = 2**63


class Outbox:
    """Everything that was accepted and is not settled."""

    def __init__(self, policy: Pending) -> None:
        self._policy = policy
        self._waiting: deque[OutboxMessage] = deque()
        self._written: deque[OutboxMessage] = deque()
        self._size = 0
        self.nbytes = 0
        self.outcomes: dict[SendOutcome, int] = dict.fromkeys(SendOutcome, 0)

    def __len__(self) -> int:
        return self._size

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def unconfirmed(self) -> bool:
        """Something was written whose arrival is not confirmed."""
        return bool(self._written)

    def fits(self, nbytes: int) -> bool:
        """A message longer than the whole bound has its turn when nothing else waits."""
        policy = self._policy
        if not self._size:
            return True
        return self._size < policy.max_messages and self.nbytes + nbytes <= policy.max_bytes

    def accept(self, entry: OutboxMessage) -> bool:
        """Take `entry`, by the policy; False: there is no room for it."""
        if self._policy.when_full == "drop_oldest":
            while not self.fits(len(entry.data)):
                oldest = next((e for e in self._waiting if not e.maybe_sent), None)
                if oldest is None:
                    return False
                self._waiting.remove(oldest)
                self._settle(oldest, SendOutcome.REFUSED)
        if not self.fits(len(entry.data)):
            return False
        self.add(entry)
        return True

    def add(self, entry: OutboxMessage) -> None:
        """Take `entry` whatever there is."""
        self._waiting.append(entry)
        self._size += 1
        self.nbytes += len(entry.data)

    def withdraw(self, entry: OutboxMessage) -> None:
        """Its caller has left: it is not sent, or not again."""
        if entry in self._waiting:
            self._waiting.remove(entry)
            self._settle(entry, _unsent(entry))

    def take(self) -> OutboxMessage | None:
        """The next entry, which is about to be written; `end` stays unknown until it is."""
        if not self._waiting:
            return None
        entry = self._waiting.popleft()
        entry.end = _NOT_YET
        self._written.append(entry)
        return entry

    def confirmed(self, end: int) -> None:
        """The other side has received everything before byte `end`."""
        while self._written and self._written[0].end <= end:
            self._settle(self._written.popleft(), SendOutcome.DELIVERED)

    def on_connection_lost(self, flushed: int) -> None:
        """The connection is gone; the network has taken `flushed` bytes of it."""
        again: list[OutboxMessage] = []
        for entry in self._written:
            entry.maybe_sent = entry.maybe_sent or entry.end <= flushed
            if entry.repeatable or not entry.maybe_sent:
                again.append(entry)
            else:
                self._settle(entry, SendOutcome.UNKNOWN)
        self._written.clear()
        self._waiting = deque([*again, *self._waiting])

    def close(self) -> None:
        """Nothing more will be sent or confirmed."""
        for entry in self._written:
            self._settle(entry, SendOutcome.UNKNOWN)
        for entry in self._waiting:
            self._settle(entry, _unsent(entry))
        self._written.clear()
        self._waiting.clear()

    def _settle(self, entry: OutboxMessage, outcome: SendOutcome) -> None:
        entry.outcome = outcome
        self._size -= 1
        self.nbytes -= len(entry.data)
        self.outcomes[outcome] += 1
        if entry.on_settled is not None:
            entry.on_settled(entry)


def _unsent(entry: OutboxMessage) -> SendOutcome:
    return SendOutcome.UNKNOWN if entry.maybe_sent else SendOutcome.REFUSED
