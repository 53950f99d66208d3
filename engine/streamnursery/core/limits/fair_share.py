"""Fairness between tenants: start-time fair queueing, one request at a time.

P. Goyal, H. M. Vin, H. Cheng: "Start-time Fair Queueing" (SIGCOMM 1996). Whoever is served gets a
finish tag, its start tag plus 1 / weight; the next of its requests starts there, or at the virtual
time, the start tag of what was served last, where that is later. The lowest start tag goes first.

Rule 1: backlogged tenants share by weight, whatever each of them offers; who was away has saved
        nothing up, and who comes back at once is not new.
Rule 2: within a tenant the earliest deadline goes first, then the oldest request.
Rule 3: what was served long ago is forgotten: memory goes with the tenants that wait.
Rule 4: every operation is O(log n); a cancelled ticket is dropped when it comes to the top, and
        cancelled ones never outnumber the live ones by more than the compaction bound.
"""

import heapq
from collections.abc import Callable, Hashable
from math import inf
from typing import TypeAlias

import attrs

_COMPACT_AT = 64
_REMEMBERED = 4096
"""Tenants without a waiting request whose last turn is remembered, about."""

Weight: TypeAlias = Callable[[str], float]


@attrs.define(eq=False)
class QueueTicket:
    """A place in the queue. `rank` stays with a request through its retries."""

    lane: Hashable
    rank: tuple[int, int]
    """(priority, number of the request): lower goes first."""
    tenant: str = ""
    deadline: float = inf
    cancelled: bool = False


class Tags:
    """The virtual time, and where each tenant's next request starts."""

    def __init__(self) -> None:
        self.virtual = 0.0
        self._finish: dict[str, float] = {}

    def start(self, tenant: str) -> float:
        """The start tag of the tenant's next request."""
        return max(self.virtual, self._finish.get(tenant, 0.0))

    def serve(self, tenant: str, start: float, weight: float) -> float:
        """A request with this start tag is served; the earliest start of the tenant's next."""
        self.virtual = max(self.virtual, start)
        finish = self._finish[tenant] = start + 1 / weight
        return finish

    def forget(self, keep: int) -> None:
        """Drop what says no more than the virtual time, and in the end those who owe least, when
        there are far more than the `keep` tenants that wait."""
        if len(self._finish) <= 2 * keep + _REMEMBERED:
            return
        owing = sorted((f, t) for t, f in self._finish.items() if f > self.virtual)
        self._finish = {t: f for f, t in owing[-keep - _REMEMBERED // 2 :]}


@attrs.define(eq=False)
class _Flow:
    """The waiting requests of one tenant: earliest deadline first."""

    tenant: str
    tag: float
    heap: list[tuple[float, int, QueueTicket]] = attrs.field(factory=list)
    live: int = 0

    def push(self, ticket: QueueTicket) -> None:
        heapq.heappush(self.heap, (ticket.deadline, ticket.rank[1], ticket))
        self.live += 1

    def head(self) -> QueueTicket:
        """The next one; there is one."""
        while self.heap[0][2].cancelled:
            heapq.heappop(self.heap)
        return self.heap[0][2]

    def cancel(self) -> None:
        """One of them was cancelled."""
        self.live -= 1
        if len(self.heap) > 2 * self.live + _COMPACT_AT:
            self.heap = [entry for entry in self.heap if not entry[2].cancelled]
            heapq.heapify(self.heap)


class FairQueue:
    """The waiting requests of one lane and one priority, in fair order."""

    def __init__(self) -> None:
        self.live = 0
        self._flows: dict[str, _Flow] = {}
        self._heap: list[tuple[float, int, _Flow]] = []
        self._tags = Tags()

    def push(self, ticket: QueueTicket) -> None:
        flow = self._flows.get(ticket.tenant)
        if flow is None:
            flow = _Flow(ticket.tenant, self._tags.start(ticket.tenant))
            self._flows[ticket.tenant] = flow
            heapq.heappush(self._heap, (flow.tag, ticket.rank[1], flow))
        flow.push(ticket)
        self.live += 1

    def head(self) -> QueueTicket:
        """The next one; there is one."""
        while True:
            tag, _, flow = self._heap[0]
            if flow.live and flow.tag == tag:
                return flow.head()
            heapq.heappop(self._heap)

    def pop(self, weight: Weight) -> QueueTicket:
        """Serve the next one; there is one."""
        ticket = self.head()
        flow = self._flows[ticket.tenant]
        heapq.heappop(self._heap)
        heapq.heappop(flow.heap)
        flow.tag = self._tags.serve(flow.tenant, flow.tag, weight(flow.tenant))
        flow.live -= 1
        self.live -= 1
        if flow.live:
            heapq.heappush(self._heap, (flow.tag, flow.head().rank[1], flow))
        else:
            del self._flows[flow.tenant]
            self._tags.forget(len(self._flows))
        return ticket

    def cancel(self, ticket: QueueTicket) -> None:
        """`ticket`, which is marked as cancelled, was waiting here."""
        flow = self._flows[ticket.tenant]
        flow.cancel()
        self.live -= 1
        if not flow.live:
            del self._flows[flow.tenant]
            if len(self._heap) > 2 * len(self._flows) + _COMPACT_AT:
                self._heap = [e for e in self._heap if e[2].live and e[2].tag == e[0]]
                heapq.heapify(self._heap)
