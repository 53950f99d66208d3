"""Which lane goes next within one priority: tenants by their start tag, a tenant's lanes by that of
their group and by age.

Rule 1: a lane stands with the tenant of its head; a turn of a tenant moves one entry, however many
        lanes it waits in.
Rule 2: groups with a weight share by it what each tenant gets; all other lanes together are one
        group of weight 1. Where no group has a weight, all start tags of groups are equal.
Rule 3: entries are looked at when they come to the top and not before: of a tenant that stands
        elsewhere now they are dropped, and one that owes more than its entry says goes back. What
        a lane's entry says is for whoever asked to check.
"""

import heapq
from collections.abc import Callable, Hashable
from typing import TypeAlias

import attrs

from streamnursery.core.limits.fair_share import Tags

Share: TypeAlias = tuple[str, float]
"""Name and weight of what a lane shares as part of."""
ShareOf: TypeAlias = Callable[[Hashable], Share]
NO_GROUP: Share = ("", 1.0)


@attrs.define(eq=False)
class _Stand:
    """A tenant among the others."""

    lanes: list[tuple[float, int, int, Hashable]] = attrs.field(factory=list)
    """Start tag of the group, number of the head, number of the entry, lane; never empty while it
    stands."""
    key: tuple[float, float, int] | None = None
    """Its one entry that counts: its start tag, and those two of its first lane."""


class LaneOrder:
    """The lanes of one priority that have work and may have room."""

    def __init__(self, share: ShareOf | None = None) -> None:
        """`share` is the group of a lane; None: no group has a weight."""
        self.tags = Tags()
        self.groups = Tags()
        self.share = share
        self._stands: dict[str, _Stand] = {}
        self._heap: list[tuple[float, float, int, str]] = []
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
        group = 0.0 if self.share is None else self.groups.start(self.share(lane)[0])
        heapq.heappush(stand.lanes, (group, number, self._entries, lane))
        key = (self.tags.start(tenant), *stand.lanes[0][:2])
        if stand.key is None or key < stand.key:
            self._enter(tenant, stand, key)

    def pop(self) -> tuple[Hashable, str, int] | None:
        """Lane, tenant and number of the first entry, which may no longer be true of the lane."""
        while self._heap:
            *entry, tenant = heapq.heappop(self._heap)
            stand = self._stands.get(tenant)
            if stand is None or stand.key != tuple(entry):
                continue
            group, number, place, lane = stand.lanes[0]
            if self.share is not None:
                owed = self.groups.start(self.share(lane)[0])
                if owed > group:
                    heapq.heapreplace(stand.lanes, (owed, number, place, lane))
            key = (self.tags.start(tenant), *stand.lanes[0][:2])
            if key != stand.key:
                self._enter(tenant, stand, key)
                continue
            heapq.heappop(stand.lanes)
            if stand.lanes:
                self._enter(tenant, stand, (key[0], *stand.lanes[0][:2]))
            else:
                del self._stands[tenant]
            return lane, tenant, number
        return None

    def served(self, share: Share) -> None:
        """A lane of this share had a turn."""
        name, part = share
        self.groups.serve(name, self.groups.start(name), part)

    def _enter(self, tenant: str, stand: _Stand, key: tuple[float, float, int]) -> None:
        stand.key = key
        heapq.heappush(self._heap, (*key, tenant))
