"""Who may start now. The slots of engine, model and endpoint are taken together or not at all.

Rule 1: no hold-and-wait. A request that cannot have all it needs holds nothing, so a saturated
        model never starves a free one.
Rule 2: whoever releases looks at the queue there and then, and hands what is free to the next
        waiter; nobody slips in between and nobody polls.
Rule 3: a waiter that is cancelled leaves no trace, also when its slots and the cancellation
        arrive in the same instant.
Rule 4: nothing here awaits between looking and taking.
"""

from collections.abc import Mapping

import attrs
import trio

from engine.core.ready_queue import ReadyQueue, Ticket
from engine.scheduler.lane import Lane, Lanes, Limit
from engine.scheduler.limiter import Slots
from engine.values.demand import Demand, Rank
from engine.values.errors import EngineClosedError, OverloadedError, QueueDeadlineError
from engine.values.policy import Priority
from engine.values.usage import Usage


@attrs.define(eq=False)
class Lease:
    """What one attempt or one call holds, to its end. Leases compare by identity."""

    demand: Demand
    lane: Lane
    _admission: "Admission"
    released: bool = attrs.field(default=False, init=False)
    usage: Usage | None = attrs.field(default=None, init=False)
    """What it really used; None: not known, or not said yet."""

    def settle(self, usage: Usage | None) -> None:
        """Say what was really used, before `release`; None keeps the estimate."""
        self.usage = usage

    def release(self) -> None:
        """Give the slots back; idempotent."""
        if not self.released:
            self.released = True
            self._admission.give_back(self)


@attrs.define(eq=False, kw_only=True)
class _Waiter(Ticket):
    demand: Demand
    path: Lane
    """The lane it stands in."""
    granted: trio.Event = attrs.field(factory=trio.Event)
    lease: Lease | None = None


class Admission:
    """The limits of the engine, and the queue in front of them."""

    def __init__(
        self,
        *,
        max_streams: int,
        max_queued: int,
        default_max_streams: int,
        model_max_streams: Mapping[str, int],
        endpoint_max_streams: Mapping[str, int] | None = None,
    ) -> None:
        self.total = Slots(max_streams)
        self.max_queued = max_queued
        self.lanes = Lanes(
            default_max_streams=default_max_streams,
            model_max_streams=model_max_streams,
            endpoint_max_streams=endpoint_max_streams or {},
        )
        self._queue = ReadyQueue()
        self._sequence = 0
        self._closed: str | None = None
        self._shut = False
        self._bug: BaseException | None = None
        self._waiters: dict[_Waiter, None] = {}
        self._idle: trio.Event | None = None

    def next_rank(self, priority: Priority) -> Rank:
        """A place at the end of the queue; a request keeps it through its retries."""
        self._sequence += 1
        return (priority, self._sequence)

    def slots(self, model: str) -> Slots:
        """The model's slots; a model nobody has named gets the default limit."""
        return self.lanes.model(model).slots

    @property
    def queued(self) -> int:
        return self._queue.live

    def queued_for(self, model: str) -> int:
        return sum(self._queue.waiting(lane) for lane in self.lanes.of_model(model))

    def queued_in(self, lane: Lane) -> int:
        return self._queue.waiting(lane)

    def acquire_nowait(self, demand: Demand) -> Lease:
        """Everything now, or `trio.WouldBlock`. Does not pass those who wait in the same lane."""
        if self._shut:
            self.check_open()
        lane = self.lanes.lane(demand)
        if self._queue.waiting(lane) or not self.total.free or lane.blocked_by() is not None:
            raise trio.WouldBlock
        return self._take(demand, lane)

    async def acquire(self, demand: Demand) -> Lease:
        """Everything that the demand needs, waiting behind every lower rank of its lane.

        Raises:
            OverloadedError: `max_queued` requests wait already.
            QueueDeadlineError: the demand's deadline passed first.
            EngineClosedError: the engine was closed while this waited.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            lease = self.acquire_nowait(demand)
        except trio.WouldBlock:
            return await self._wait_turn(demand)
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
        except BaseException:
            lease.release()
            raise
        return lease

    @trio.lowlevel.enable_ki_protection
    def give_back(self, lease: Lease) -> None:
        """For `Lease.release` alone."""
        lease.lane.give_back(lease)
        self.total.give_back(lease)
        for limit in lease.lane.limits:
            self._wake(limit)
        self._hand_out()
        self._tell_idle()

    def set_limit(
        self, max_streams: int, *, model: str | None = None, endpoint: str | None = None
    ) -> None:
        """Change the slots of a model or an endpoint, or the global ones, under load."""
        if model is not None:
            self._change(self.lanes.model(model), max_streams)
        elif endpoint is not None:
            self._change(self.lanes.endpoint(endpoint), max_streams)
        else:
            self.total.max_slots = max_streams
        self._hand_out()

    def close(self, why: str, bug: BaseException | None = None, *, waiting_too: bool) -> None:
        """Accept nothing new. What was accepted goes on, its retries included, unless
        `waiting_too` turns away whoever has no slots yet."""
        self._closed = why
        self._shut = self._shut or waiting_too
        self._bug = bug
        if waiting_too:
            for waiter in tuple(self._waiters):
                if waiter.lease is None:
                    self._leave_queue(waiter)
                    waiter.granted.set()

    def check_open(self) -> None:
        """Raise `EngineClosedError`, caused by the bug if one closed the engine."""
        if self._closed is not None:
            raise EngineClosedError(self._closed) from self._bug

    async def wait_idle(self) -> None:
        """Until no slot is taken and nobody waits."""
        while self.total.taken or self._queue.live:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def binding_limit(self, model: str, endpoint: str | None = None) -> str:
        """Which limit a new request for `model` at `endpoint` would wait for, in words."""
        lane = self.lanes.lane(Demand(model, endpoint))
        limit = lane.blocked_by()
        if limit is not None:
            return str(limit)
        if not self.total.free:
            return f"a global slot ({self.total.taken} of {self.total.max_slots} taken)"
        return f"its turn behind {self._queue.waiting(lane)} others for model {model!r}"

    def deadline_message(self, model: str, endpoint: str | None = None) -> str:
        """What to tell a request whose deadline passed in the queue."""
        return (
            f"the deadline passed while the request waited for "
            f"{self.binding_limit(model, endpoint)}; "
            f"{self._queue.live} requests are waiting. Allow more time or raise the limit"
        )

    @trio.lowlevel.enable_ki_protection
    def _take(self, demand: Demand, lane: Lane) -> Lease:
        lease = Lease(demand, lane, self)
        lane.take(lease)
        self.total.take_nowait(lease)
        return lease

    async def _wait_turn(self, demand: Demand) -> Lease:
        if self._queue.live >= self.max_queued:
            msg = (
                f"{self._queue.live} requests wait already, the limit is max_queued = "
                f"{self.max_queued}; send fewer at once, or raise it"
            )
            raise OverloadedError(msg)
        lane = self.lanes.lane(demand)
        waiter = _Waiter(lane, demand.rank, demand=demand, path=lane)
        self._waiters[waiter] = None
        self._queue.push(waiter)
        try:
            with trio.CancelScope(deadline=demand.deadline):
                await waiter.granted.wait()
            return self._outcome(waiter)
        except BaseException:
            self._forget(waiter)
            raise
        finally:
            del self._waiters[waiter]

    def _outcome(self, waiter: _Waiter) -> Lease:
        if waiter.lease is not None:
            return waiter.lease
        if waiter.granted.is_set():
            self.check_open()
        demand = waiter.demand
        raise QueueDeadlineError(self.deadline_message(demand.model, demand.endpoint))

    def _forget(self, waiter: _Waiter) -> None:
        if waiter.lease is not None:
            waiter.lease.release()
        elif not waiter.cancelled:
            self._leave_queue(waiter)

    def _leave_queue(self, waiter: _Waiter) -> None:
        self._queue.cancel(waiter)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self.total.taken and not self._queue.live:
            self._idle.set()
            self._idle = None

    def _wake(self, limit: Limit) -> None:
        """The limit has room: the lanes parked there are looked at again."""
        if limit.parked and limit.slots.free:
            for lane in limit.parked:
                self._queue.wake(lane)
            limit.parked.clear()

    def _change(self, limit: Limit, max_streams: int) -> None:
        limit.slots.max_slots = max_streams
        self._wake(limit)

    def _hand_out(self) -> None:
        while self.total.free:
            ticket = self._queue.pop(_has_room)
            if ticket is None:
                return
            assert isinstance(ticket, _Waiter)
            ticket.lease = self._take(ticket.demand, ticket.path)
            ticket.granted.set()


def _has_room(ticket: Ticket) -> bool:
    """Whether its lane has room; parked at the limit that has none otherwise."""
    assert isinstance(ticket, _Waiter)
    limit = ticket.path.blocked_by()
    if limit is None:
        return True
    limit.parked[ticket.path] = None
    return False
