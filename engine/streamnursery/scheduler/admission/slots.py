"""Slots: a counter that knows its holders (ADR 0042). No task waits inside one.

A slot is taken on behalf of a lease and not of a task, so that it can be given back wherever
the attempt ends, and a task that dies cannot take its slot with it.
"""

import sys
from math import inf

import trio

UNLIMITED = sys.maxsize


class Slots:
    """The slots of one model, of one endpoint, or of the whole engine."""

    __slots__ = ("_holders", "changed_at", "limit", "peak", "taken", "taken_at")

    def __init__(self, max_slots: int) -> None:
        self._holders: dict[object, None] = {}
        self.limit = max_slots
        """`max_slots`, to be looked at; set that one."""
        self.taken = 0
        """How many are held; kept, because it is looked at far more often than it changes."""
        self.peak = 0
        self.changed_at = -inf
        """When the limit was last changed."""
        self.taken_at = -inf
        """When a slot was last taken."""

    @property
    def max_slots(self) -> int:
        return self.limit

    @max_slots.setter
    def max_slots(self, value: int) -> None:
        """Lowering it below what is taken kills nothing: new leases wait until it has drained."""
        self.limit = value
        self.changed_at = trio.current_time()

    @property
    def free(self) -> bool:
        return self.taken < self.limit

    def take_nowait(self, holder: object, now: float) -> None:
        """Take a slot for `holder`, which is compared by identity, or raise `trio.WouldBlock`."""
        if self.taken >= self.limit:
            raise trio.WouldBlock
        if holder in self._holders:
            msg = "this holder has one of these slots already"
            raise RuntimeError(msg)
        self._holders[holder] = None
        self.taken += 1
        self.taken_at = now
        if self.taken > self.peak:
            self.peak = self.taken

    def give_back(self, holder: object) -> None:
        """Raises `KeyError` for one that holds none."""
        del self._holders[holder]
        self.taken -= 1

    def holders(self) -> list[object]:
        """Those that slots were taken for."""
        return list(self._holders)
