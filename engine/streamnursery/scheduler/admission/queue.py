"""The waiting line: who waits, whose turn it is, and who sleeps to which date.

Rule 1: a release looks at the queue at once, and what is free goes to
        the next waiter; no request comes between, and none polls.
Rule 2: where units per minute are missing there is a date. One timer stands for the earliest of
        them: the waiter whose date it is wakes, and looks at the line for everybody.
Rule 3: a waiter that leaves, leaves no trace: no place, no date, no claim.
"""

from collections.abc import Callable, Hashable
from math import inf

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.limits.dates import Dates
from streamnursery.core.limits.fair_share import QueueTicket, Weight
from streamnursery.core.limits.lane_order import Share
from streamnursery.core.limits.ready_queue import ReadyQueue
from streamnursery.scheduler.admission.lane import Lane, LaneLimit
from streamnursery.scheduler.admission.lease import Lease
from streamnursery.scheduler.admission.slots import Slots
from streamnursery.values.demand import Demand
from streamnursery.values.errors import AdmissionError


@attrs.define(eq=False, kw_only=True)
class QueuedDemand(QueueTicket):
    """One that waits for its lease."""

    demand: Demand
    path: Lane
    """The lane it stands in."""
    since: float = attrs.field(factory=trio.current_time)
    granted: bool = False
    """The wait is over, with a lease or without."""
    expired: bool = False
    """Its deadline has passed."""
    lease: Lease | None = None
    refusal: AdmissionError | None = None
    wakes_at: float
    """Its deadline, or a date that it looks at for everybody."""
    scope: trio.CancelScope | None = None
    """What it sleeps in where there is such a date: thousands wait, and most have none."""
    task: trio.lowlevel.Task | None = None
    """That sleeps."""

    @classmethod
    def of(cls, demand: Demand, lane: Lane) -> "QueuedDemand":
        date = demand.deadline
        return cls(lane, demand.rank, demand.tenant, date, demand=demand, path=lane, wakes_at=date)

    def grant(self) -> None:
        """The wait is over."""
        self.granted = True
        self._wake()

    def wake_at(self, date: float) -> None:
        """Sleep to `date`."""
        self.wakes_at = date
        if self.scope is not None:
            self.scope.deadline = date
        elif date < inf:
            self._wake()  # to go on sleeping in a scope

    def _wake(self) -> None:
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)
            self.task = None

    def abort(self, _: object) -> trio.lowlevel.Abort:
        """For trio, when the sleep is cancelled."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class AdmissionQueue:
    """Everybody who waits, in the order of the ready queue."""

    def __init__(
        self,
        total: Slots,
        take: Callable[[Demand, Lane, float], Lease],
        weight: Weight,
        *,
        shared: bool,
    ) -> None:
        """`take` makes the lease of a demand that has been found to have room; `shared`: groups
        have weights."""
        self.waiters: dict[QueuedDemand, None] = {}
        self.closed = False
        """Grants end: every waiter is refused."""
        self._total = total
        self._take = take
        self._weight = weight
        self.line = ReadyQueue(weight, _share if shared else None)
        self._dates: Dates[Lane] = Dates()
        self._alarm: QueuedDemand | None = None
        """Who sleeps to the earliest of the dates."""

    @property
    def length(self) -> int:
        return self.line.live

    @property
    def dates(self) -> int:
        """Lanes that wait for a date."""
        return len(self._dates)

    def waiting(self, lane: Lane) -> int:
        return self.line.waiting(lane)

    def waiting_of(self, tenant: str) -> int:
        return self.line.waiting_of(tenant)

    def head(self, lane: Lane) -> QueuedDemand | None:
        """Who goes next in the lane."""
        head = self.line.head(lane)
        assert head is None or isinstance(head, QueuedDemand)
        return head

    def stand(self, waiter: QueuedDemand) -> None:
        """Stand in the line; followed by `gone` in any case. Between them, `is_over` is asked
        before each sleep: until granted or refused, or until the deadline has passed."""
        self.waiters[waiter] = None
        self.line.push(waiter)
        self.hand_out()

    def is_over(self, waiter: QueuedDemand) -> bool:
        """Whether the wait is; otherwise its task is about to sleep, and can be waked."""
        if waiter.granted or waiter.expired:
            return True
        if buggify.world is not None and buggify.world.strikes("admission.woken"):
            self._ring(waiter)
            if waiter.granted:  # by its own look
                return True
        waiter.task = trio.lowlevel.current_task()
        return False

    async def sleep(self, waiter: QueuedDemand) -> None:
        """To its date, for one that has one."""
        with trio.CancelScope(deadline=waiter.wakes_at) as waiter.scope:
            await trio.lowlevel.wait_task_rescheduled(waiter.abort)
        waiter.scope = None
        if not waiter.granted:
            if trio.current_time() >= waiter.demand.deadline:
                waiter.expired = True
            else:
                self._ring(waiter)

    def gone(self, waiter: QueuedDemand) -> None:
        """It waits no more, for whatever reason."""
        if self.waiters.pop(waiter, waiter) is None:
            self.leave(waiter)

    @trio.lowlevel.enable_ki_protection
    def leave(self, waiter: QueuedDemand) -> None:
        """Out of the line, if it still stands there."""
        if waiter.lease is not None or waiter.cancelled:
            return
        lane = waiter.path
        self.line.cancel(waiter)
        if lane in self._dates:
            if not self.line.waiting(lane):
                self._leave_dates(lane)
            self.hand_out()

    def refuse(self, waiter: QueuedDemand, error: AdmissionError | None) -> None:
        """End its wait without a lease."""
        waiter.refusal = error
        self.leave(waiter)
        waiter.grant()

    @trio.lowlevel.enable_ki_protection
    def stand_anew(self, lane_of: Callable[[Demand], Lane], *, shared: bool) -> None:
        """Everybody who waits stands in the lane that is theirs now; the order of those of one
        priority and tenant stays."""
        waiting = [w for w in self.waiters if w.lease is None and not w.cancelled]
        for lane in {waiter.path for waiter in waiting}:
            lane.unclaim()
            self._dates.drop(lane)
            for limit in lane.limits:
                limit.parked.pop(lane, None)
        if self._alarm is not None:
            self._alarm.wake_at(self._alarm.demand.deadline)
            self._alarm = None
        self.line = ReadyQueue(self._weight, _share if shared else None)
        for waiter in waiting:
            waiter.lane = waiter.path = lane_of(waiter.demand)
            self.line.push(waiter)

    def wake(self, limit: LaneLimit) -> None:
        """The limit may have room: the lanes parked there are looked at again."""
        if limit.parked and limit.slots.free:
            for lane in limit.parked:
                self.line.wake(lane)
            limit.parked.clear()

    def hand_out(self) -> None:
        """Give what is free to whose turn it is, until nothing is free or no request can take
        it."""
        while self._total.free and not self.closed:
            waiter = self.line.pop(self._has_room)
            if waiter is None:
                break
            assert isinstance(waiter, QueuedDemand)
            waiter.lease = self._take(waiter.demand, waiter.path, trio.current_time())
            waiter.grant()
        if self._alarm is not None or len(self._dates):
            self._set_alarm()

    @trio.lowlevel.enable_ki_protection
    def _ring(self, waiter: QueuedDemand) -> None:
        """A date has come."""
        waiter.wakes_at = waiter.demand.deadline
        self._alarm = None
        now = trio.current_time()
        earliest = self._dates.earliest()
        while earliest is not None and earliest[0] <= now:
            self._dates.drop(earliest[1])
            self.line.wake(earliest[1])
            earliest = self._dates.earliest()
        self.hand_out()

    def _has_room(self, ticket: QueueTicket) -> bool:
        """Whether its lane lets it pass; parked at the limit that does not otherwise."""
        assert isinstance(ticket, QueuedDemand)
        lane, now = ticket.path, trio.current_time()
        blocked = lane.blocked_by(ticket.demand, now)
        if blocked is not None:
            blocked.limit.parked[lane] = None
            if blocked.shortage is not None:
                self._dates.set(lane, blocked.date)
                lane.claim(ticket.demand, now)
                return False
        self._leave_dates(lane)
        return blocked is None

    def _leave_dates(self, lane: Lane) -> None:
        self._dates.drop(lane)
        if lane.claims:
            for limit in lane.unclaim():
                self.wake(limit)

    def _set_alarm(self) -> None:
        """The head of the lane with the earliest date sleeps to that date and no longer."""
        earliest = self._dates.earliest()
        head = self.head(earliest[1]) if earliest is not None else None
        if self._alarm is not None and self._alarm is not head:
            self._alarm.wake_at(self._alarm.demand.deadline)
        self._alarm = head
        if earliest is not None and head is not None:
            head.wake_at(min(head.demand.deadline, earliest[0]))


def _share(lane: Hashable) -> Share:
    assert isinstance(lane, Lane)
    return lane.share
