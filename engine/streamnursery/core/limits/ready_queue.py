"""Who may go next: waiting requests, by lane, by priority, by tenant, by deadline and age.

A lane is whatever shares all its limits: a model at an endpoint.

Rule 1: a lane at its limit costs the others nothing: only lanes that have both work and room
        are looked at.
Rule 2: within a lane and between lanes the more urgent priority goes first; within a priority
        tenants share by weight (`fair_share`); then the older request goes first. Between
        lanes that compete for a global slot, a lane speaks for the tenant of its head, and groups
        with a weight share what each tenant gets (`lane_order`).
Rule 3: who waits is served: of ten turns that a priority could have had, in a lane or between
        lanes, it gets one at least. That is the aging bound: with k requests before it in its
        own priority a request waits for 10 * (k + 1) grants at most, however many more urgent
        ones come, and what it takes from them is a tenth at most.
Rule 4: every operation is O(log n).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeAlias

import attrs

from streamnursery.core.limits.fair_share import FairQueue, QueueTicket, Weight
from streamnursery.core.limits.lane_order import LaneOrder, ShareOf

AGING = 10
"""A priority that waits gets every tenth turn at least."""

_Place: TypeAlias = tuple[int, str, int]
"""Priority, tenant and number of the head: where a lane stands among the lanes."""


def _same(_: str) -> float:
    return 1.0


@attrs.define(eq=False)
class _Turns:
    """How often each priority was passed by a more urgent one."""

    passed: dict[int, int] = attrs.field(factory=dict)

    def aged(self, waiting: Iterable[int]) -> int | None:
        """The most urgent of the `waiting` priorities whose turn has come."""
        return min((p for p in waiting if self.passed.get(p, 0) >= AGING - 1), default=None)

    def served(self, priority: int, waiting: Iterable[int]) -> None:
        """`priority` had a turn while those of `waiting` could have had it."""
        self.passed[priority] = 0
        for other in waiting:
            if other > priority:
                self.passed[other] = self.passed.get(other, 0) + 1


@attrs.define(eq=False)
class _LaneQueue:
    queues: dict[int, FairQueue] = attrs.field(factory=dict)
    """By priority; none is empty."""
    live: int = 0
    turns: _Turns = attrs.field(factory=_Turns)
    offered: _Place | None = None
    """Where this lane stands among the runnable ones."""

    @property
    def priority(self) -> int:
        """The most urgent one that waits here."""
        return min(self.queues)

    def next_priority(self) -> int:
        """Whose turn it is here."""
        if len(self.queues) == 1:
            return next(iter(self.queues))
        aged = self.turns.aged(self.queues)
        return self.priority if aged is None else aged

    def head(self) -> QueueTicket:
        return self.queues[self.next_priority()].head()

    def place(self) -> _Place:
        head = self.head()
        return (self.priority, head.tenant, head.rank[1])

    def push(self, ticket: QueueTicket) -> None:
        priority = ticket.rank[0]
        queue = self.queues.get(priority)
        if queue is None:
            queue = self.queues[priority] = FairQueue()
        queue.push(ticket)
        self.live += 1

    def pop(self, weight: Weight) -> QueueTicket:
        priority = self.next_priority()
        ticket = self.queues[priority].pop(weight)
        self.turns.served(priority, self.queues)
        self._left(priority)
        return ticket

    def cancel(self, ticket: QueueTicket) -> None:
        self.queues[ticket.rank[0]].cancel(ticket)
        self._left(ticket.rank[0])

    def _left(self, priority: int) -> None:
        self.live -= 1
        if not self.queues[priority].live:
            del self.queues[priority]
            self.turns.passed.pop(priority, None)


class ReadyQueue:
    """The only queue of the engine."""

    def __init__(self, weight: Weight = _same, share: ShareOf | None = None) -> None:
        """`weight` is a tenant's share, above 0, and `share` a lane's; read anew at every turn."""
        self._weight = weight
        self._share = share
        self._queues: dict[Hashable, _LaneQueue] = {}
        self._runnable: dict[int, LaneOrder] = {}
        self._turns = _Turns()
        self._tenants: Counter[str] = Counter()
        self.live = 0
        """Tickets waiting, cancelled ones not counted."""

    def push(self, ticket: QueueTicket) -> None:
        queue = self._queues.setdefault(ticket.lane, _LaneQueue())
        queue.push(ticket)
        self.live += 1
        self._tenants[ticket.tenant] += 1
        offered = queue.offered
        if queue.head() is ticket or (offered is not None and ticket.rank[0] < offered[0]):
            self._offer(ticket.lane, queue)

    def cancel(self, ticket: QueueTicket) -> None:
        """Take a waiting ticket out; it must not have been popped."""
        ticket.cancelled = True
        self._queues[ticket.lane].cancel(ticket)
        self._gone(ticket)
        self.wake(ticket.lane)

    def wake(self, lane: Hashable) -> None:
        """The lane may have room again: look at it at the next `pop`."""
        queue = self._queues.get(lane)
        if queue is None:
            return
        if queue.live:
            self._offer(lane, queue)
        else:
            del self._queues[lane]

    def pop(self, has_room: Callable[[QueueTicket], bool]) -> QueueTicket | None:
        """The next ticket that `has_room` lets through; asked of the heads of lanes only.

        A lane without room leaves the list of runnable lanes until `wake` names it.
        """
        if not self.live:
            return None
        # Asking one may wake lanes of other priorities, when a claim is given up.
        while waiting := [priority for priority, order in self._runnable.items() if order]:
            aged = self._turns.aged(waiting) if len(waiting) > 1 else None
            for priority in sorted(waiting, key=lambda p: (p != aged, p)):
                ticket = self._pop(priority, has_room)
                if ticket is not None:
                    self._turns.served(priority, (p for p in waiting if self._runnable.get(p)))
                    return ticket
        return None

    def head(self, lane: Hashable) -> QueueTicket | None:
        """Who goes next in the lane."""
        queue = self._queues.get(lane)
        return queue.head() if queue is not None else None

    def waiting(self, lane: Hashable) -> int:
        """Live tickets of one lane."""
        queue = self._queues.get(lane)
        return queue.live if queue is not None else 0

    def waiting_of(self, tenant: str) -> int:
        """Live tickets of one tenant."""
        return self._tenants[tenant]

    def _pop(self, priority: int, has_room: Callable[[QueueTicket], bool]) -> QueueTicket | None:
        order = self._runnable[priority]
        while (found := order.pop()) is not None:
            lane, tenant, number = found
            queue = self._queues.get(lane)
            if queue is None or queue.offered != (priority, tenant, number):
                continue  # the lane has gone or stands elsewhere
            queue.offered, head = None, queue.head()
            if not has_room(head):
                continue  # `wake` brings it back
            queue.pop(self._weight)
            tags = order.tags
            tags.serve(head.tenant, tags.start(head.tenant), self._weight(head.tenant))
            if order.share is not None:
                order.served(order.share(lane))
            self._gone(head)
            self.wake(lane)
            return head
        return None

    def _gone(self, ticket: QueueTicket) -> None:
        self.live -= 1
        self._tenants[ticket.tenant] -= 1
        if not self._tenants[ticket.tenant]:
            del self._tenants[ticket.tenant]
        if not self.live:
            self._runnable.clear()  # the end of a busy period: all shares are settled
            self._turns.passed.clear()
        for order in self._runnable.values():
            order.tags.forget(len(self._tenants))

    def _offer(self, lane: Hashable, queue: _LaneQueue) -> None:
        place = queue.place()
        if queue.offered == place:
            return
        queue.offered = place
        order = self._runnable.get(place[0])
        if order is None:
            order = self._runnable[place[0]] = LaneOrder(self._share)
        order.add(lane, *place[1:])
