"""Who may go next: waiting requests, by lane, by priority, by age.

A lane is whatever shares all its limits: a model at an endpoint.

Rule 1: a lane at its limit costs the others nothing: only lanes that have both work and room
        are looked at.
Rule 2: within a lane, and between lanes, the more urgent priority goes first, then the older
        ticket.
Rule 3: every operation is O(log n); a cancelled ticket is dropped when it comes to the top, and
        cancelled ones never outnumber the live ones by more than the compaction bound.
"""

import heapq
from collections.abc import Callable, Hashable

import attrs

_COMPACT_AT = 64


@attrs.define(eq=False)
class Ticket:
    """A place in the queue. `rank` decides; it stays with a request through its retries."""

    lane: Hashable
    rank: tuple[int, int]
    """(priority, sequence number): lower goes first."""
    cancelled: bool = False


@attrs.define
class _LaneQueue:
    heap: list[tuple[tuple[int, int], int, Ticket]] = attrs.field(factory=list)
    cancelled: int = 0
    offered: tuple[int, int] | None = None
    """The rank under which this queue stands in the list of runnable lanes."""

    def head(self) -> Ticket | None:
        while self.heap and self.heap[0][2].cancelled:
            heapq.heappop(self.heap)
            self.cancelled -= 1
        return self.heap[0][2] if self.heap else None

    def compact(self) -> None:
        if self.cancelled > _COMPACT_AT and self.cancelled * 2 > len(self.heap):
            self.heap = [entry for entry in self.heap if not entry[2].cancelled]
            heapq.heapify(self.heap)
            self.cancelled = 0


class ReadyQueue:
    """The only queue of the engine."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _LaneQueue] = {}
        self._runnable: list[tuple[tuple[int, int], int, Hashable]] = []
        self._entries = 0
        self.live = 0
        """Tickets waiting, cancelled ones not counted."""

    def push(self, ticket: Ticket) -> None:
        queue = self._queues.setdefault(ticket.lane, _LaneQueue())
        self._entries += 1
        heapq.heappush(queue.heap, (ticket.rank, self._entries, ticket))
        self.live += 1
        if queue.heap[0][2] is ticket:
            self._offer(ticket)

    def cancel(self, ticket: Ticket) -> None:
        """Take a waiting ticket out; it must not have been popped."""
        ticket.cancelled = True
        self.live -= 1
        queue = self._queues[ticket.lane]
        queue.cancelled += 1
        queue.compact()
        self.wake(ticket.lane)

    def wake(self, lane: Hashable) -> None:
        """The lane may have room again: look at it at the next `pop`."""
        queue = self._queues.get(lane)
        if queue is None:
            return
        head = queue.head()
        if head is None:
            del self._queues[lane]
        else:
            self._offer(head)

    def pop(self, has_room: Callable[[Ticket], bool]) -> Ticket | None:
        """The next ticket that `has_room` lets through; asked of the heads of lanes only.

        A lane without room leaves the list of runnable lanes until `wake` names it.
        """
        while self._runnable:
            rank, _, lane = heapq.heappop(self._runnable)
            queue = self._queues.get(lane)
            if queue is None or queue.offered != rank:
                continue  # stale: the queue has gone or stands here under another rank
            queue.offered = None
            head = queue.head()
            if head is None or not has_room(head):
                continue  # `wake` brings it back
            heapq.heappop(queue.heap)
            self.live -= 1
            self.wake(lane)
            return head
        return None

    def head(self, lane: Hashable) -> Ticket | None:
        """Who goes next in the lane."""
        queue = self._queues.get(lane)
        return queue.head() if queue is not None else None

    def waiting(self, lane: Hashable) -> int:
        """Live tickets of one lane."""
        queue = self._queues.get(lane)
        return len(queue.heap) - queue.cancelled if queue is not None else 0

    def _offer(self, head: Ticket) -> None:
        queue = self._queues[head.lane]
        if queue.offered == head.rank:
            return
        queue.offered = head.rank
        self._entries += 1
        heapq.heappush(self._runnable, (head.rank, self._entries, head.lane))
