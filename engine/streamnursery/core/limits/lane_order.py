"""Which lane goes next within one priority: tenants by their start tag, a tenant's lanes by age.

Rule 1: a lane stands with the tenant of its head; a turn of a tenant moves one entry, however many
        lanes it waits in.
Rule 2: entries are looked at when they come to the top and not before: of a tenant that stands
        elsewhere now they are dropped, and one that owes more than its entry says goes back. What
        a lane's entry says is for whoever asked to check.
"""

import heapq
from collections.abc import Hashable

import attrs

from streamnursery.core.limits.fair_share import Tags


@attrs.define(eq=False)
class _Stand:
    """A tenant among the others."""

    lanes: list[tuple[int, int, Hashable]] = attrs.field(factory=list)
    """Number of the head, number of the entry, lane; never empty while it stands."""
    key: tuple[float, int] | None = None
    """Its one entry that counts: start tag, and the number of its oldest head."""


class LaneOrder:
    """The lanes of one priority that have work and may have room."""

    def __init__(self) -> None:
        self.tags = Tags()
        self._stands: dict[str, _Stand] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._entries = 0

    def __len__(self) -> int:
        """Entries, those that no longer count included."""
        return len(self._heap)

    def add(self, lane: Hashable, tenant: str, number: int) -> None:
        """The head of `lane` is request `number` of `tenant`."""
        stand = self._stands.get(tenant)
        if stand is None:
            stand = self._stands[tenant] = _Stand()
        self._entries += 1
        heapq.heappush(stand.lanes, (number, self._entries, lane))
        key = (self.tags.start(tenant), stand.lanes[0][0])
        if stand.key is None or key < stand.key:
            self._enter(tenant, stand, key)

    def pop(self) -> tuple[Hashable, str, int] | None:
        """Lane, tenant and number of the first entry, which may no longer be true of the lane."""
        while self._heap:
            start, number, tenant = heapq.heappop(self._heap)
            stand = self._stands.get(tenant)
            if stand is None or stand.key != (start, number):
                continue
            key = (self.tags.start(tenant), stand.lanes[0][0])
            if key != stand.key:
                self._enter(tenant, stand, key)
                continue
            number, _, lane = heapq.heappop(stand.lanes)
            if stand.lanes:
                self._enter(tenant, stand, (start, stand.lanes[0][0]))
            else:
                del self._stands[tenant]
            return lane, tenant, number
        return None

    def _enter(self, tenant: str, stand: _Stand, key: tuple[float, int]) -> None:
        stand.key = key
        heapq.heappush(self._heap, (*key, tenant))
