"""Slots: `trio.CapacityLimiter` as a counter. No task waits inside one.

A slot is taken on behalf of a lease and not of a task, so that it can be given back wherever
the attempt ends, and a task that dies cannot take its slot with it.
"""

import sys
from math import inf

import trio

UNLIMITED = sys.maxsize


class Slots:
    """The slots of one model, of one endpoint, or of the whole engine."""

    __slots__ = ("_limiter", "changed_at", "limit", "peak", "taken", "taken_at")

    def __init__(self, max_slots: int) -> None:
        self._limiter = trio.CapacityLimiter(max_slots)
        self.limit = max_slots
        """`max_slots`, to be looked at; set that one."""
        self.taken = 0
        """As the limiter counts them; kept beside it, because it is looked at far more often."""
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
        self._limiter.total_tokens = self.limit = value
        self.changed_at = trio.current_time()

    @property
    def free(self) -> bool:
        return self.taken < self.limit

    def take_nowait(self, holder: object, now: float) -> None:
        """Take a slot for `holder`, which is compared by identity, or raise `trio.WouldBlock`."""
        self._limiter.acquire_on_behalf_of_nowait(holder)
        self.taken += 1
        self.taken_at = now
        if self.taken > self.peak:
            self.peak = self.taken

    def give_back(self, holder: object) -> None:
        self._limiter.release_on_behalf_of(holder)
        self.taken -= 1

    def holders(self) -> list[object]:
        """Those that slots were taken for."""
        return self._limiter.statistics().borrowers
