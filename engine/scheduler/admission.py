"""Who may start now. Slots and units per minute of engine, model and endpoint: all or nothing.

Rule 1: no hold-and-wait. A request that cannot have all it needs holds nothing, so a saturated
        model never starves a free one.
Rule 2: whoever releases looks at the queue there and then, and hands what is free to the next
        waiter; nobody slips in between and nobody polls.
Rule 3: a waiter that is cancelled leaves no trace, also when its slots and the cancellation
        arrive in the same instant.
Rule 4: nothing here awaits between looking and taking.
Rule 5: where units per minute are missing there is a date. One timer stands for the earliest of
        them: the waiter whose date it is wakes, and looks at the queue for everybody.
"""

from collections.abc import Mapping
from math import inf

import attrs
import trio

from engine.core.dates import Dates
from engine.core.rates import RateLimits
from engine.core.ready_queue import ReadyQueue, Ticket
from engine.scheduler.lane import Blocked, Lane, Lanes, Limit
from engine.scheduler.lease import Lease
from engine.scheduler.limiter import Slots
from engine.values.demand import Demand, Rank
from engine.values.errors import (
    AdmissionError,
    EngineClosedError,
    OverloadedError,
    QueueDeadlineError,
    TooManyTokensError,
)
from engine.values.policy import Priority
from engine.values.rates import Rates


@attrs.define(eq=False, kw_only=True)
class _Waiter(Ticket):
    demand: Demand
    path: Lane
    """The lane it stands in."""
    granted: trio.Event = attrs.field(factory=trio.Event)
    lease: Lease | None = None
    refusal: AdmissionError | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """What it sleeps in: to its deadline, or to a date that it looks at for everybody."""


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
        model_rates: Mapping[str, Rates] | None = None,
        endpoint_rates: Mapping[str, Rates] | None = None,
    ) -> None:
        self.total = Slots(max_streams)
        self.max_queued = max_queued
        self.lanes = Lanes(
            default_max_streams=default_max_streams,
            model_max_streams=model_max_streams,
            endpoint_max_streams=endpoint_max_streams or {},
            model_rates=model_rates or {},
            endpoint_rates=endpoint_rates or {},
        )
        self._queue = ReadyQueue()
        self._sequence = 0
        self._closed: str | None = None
        self._shut = False
        self._bug: BaseException | None = None
        self._waiters: dict[_Waiter, None] = {}
        self._dates: Dates[Lane] = Dates()
        self._alarm: _Waiter | None = None
        """Who sleeps to the earliest of the dates."""
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
        """Everything now, or `trio.WouldBlock`. Does not pass those who wait in the same lane.

        Raises:
            TooManyTokensError: the demand alone is above a limit per minute.
        """
        if self._shut:
            self.check_open()
        lane = self.lanes.lane(demand.model, demand.endpoint)
        if self._queue.waiting(lane) or not self.total.free:
            raise trio.WouldBlock
        now = trio.current_time()
        if lane.blocked_by(demand, now) is not None:
            raise trio.WouldBlock
        return self._take(demand, lane, now)

    async def acquire(self, demand: Demand) -> Lease:
        """Everything that the demand needs, waiting behind every lower rank of its lane.

        Raises:
            OverloadedError: `max_queued` requests wait already.
            TooManyTokensError: the demand alone is above a limit per minute.
            QueueDeadlineError: the demand's deadline passed first, or must pass.
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
        lease.correct(trio.current_time())
        lease.lane.give_back(lease)
        self.total.give_back(lease)
        for limit in lease.lane.limits:
            self._wake(limit)
        self._hand_out()
        self._tell_idle()

    def learned(self, lease: Lease) -> None:
        """For a lease that has heard news of its route's limits."""
        if lease.lane.route is not None and lease.lane.route.parked:
            self._wake(lease.lane.route)
            self._hand_out()

    def set_limit(
        self, max_streams: int, *, model: str | None = None, endpoint: str | None = None
    ) -> None:
        """Change the slots of a model or an endpoint, or the global ones, under load."""
        if model is None and endpoint is None:
            self.total.max_slots = max_streams
        else:
            limit = self.limit(model, endpoint)
            limit.slots.max_slots = max_streams
            self._wake(limit)
        self._hand_out()

    def set_rates(
        self, rates: Rates, *, model: str | None = None, endpoint: str | None = None
    ) -> None:
        """Change the limits per minute of a model or an endpoint under load."""
        limit = self.limit(model, endpoint)
        assert isinstance(limit.rates, RateLimits)
        limit.rates.change(rates, trio.current_time())
        for waiter in tuple(self._waiters):
            if waiter.lease is None and limit in waiter.path.limits:
                waiter.refusal = _too_large(waiter.path, waiter.demand)
                if waiter.refusal is not None:
                    self._leave_queue(waiter)
                    waiter.granted.set()
        self._wake(limit)
        self._hand_out()

    def limit(self, model: str | None, endpoint: str | None) -> Limit:
        """The limits of the model, or of the endpoint where there is no model."""
        if model is not None:
            return self.lanes.model(model)
        assert endpoint is not None
        return self.lanes.endpoint(endpoint)

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

    def binding_limit(self, demand: Demand) -> str:
        """Which limit a new request like `demand` would wait for, in words."""
        lane = self.lanes.lane(demand.model, demand.endpoint)
        blocked = lane.blocked_by(demand, trio.current_time())
        if blocked is not None:
            return str(blocked)
        if not self.total.free:
            return f"a global slot ({self.total.taken} of {self.total.max_slots} taken)"
        return f"its turn behind {self._queue.waiting(lane)} others for model {demand.model!r}"

    def deadline_message(self, demand: Demand) -> str:
        """What to tell a request whose deadline passed in the queue."""
        return (
            f"the deadline passed while the request waited for {self.binding_limit(demand)}; "
            f"{self._queue.live} requests are waiting. Allow more time or raise the limit"
        )

    @trio.lowlevel.enable_ki_protection
    def _take(self, demand: Demand, lane: Lane, now: float) -> Lease:
        lease = Lease(demand, lane, (), self)
        lease.reserved = lane.take(lease, demand, now)
        self.total.take_nowait(lease)
        return lease

    def _check_queueing(self, demand: Demand, lane: Lane) -> None:
        """Refuse at once who cannot wait, or would wait in vain."""
        if self._queue.live >= self.max_queued:
            msg = (
                f"{self._queue.live} requests wait already, the limit is max_queued = "
                f"{self.max_queued}; send fewer at once, or raise it"
            )
            raise OverloadedError(msg)
        refusal = _too_large(lane, demand)
        if refusal is not None:
            raise refusal
        now = trio.current_time()
        blocked = lane.blocked_by(demand, now)
        if blocked is not None and demand.deadline < blocked.date < inf:
            msg = (
                f"the deadline is in {demand.deadline - now:.3g} s, and {blocked} lets the request "
                f"pass in {blocked.date - now:.3g} s at the earliest; allow more time"
            )
            raise QueueDeadlineError(msg)

    async def _wait_turn(self, demand: Demand) -> Lease:
        lane = self.lanes.lane(demand.model, demand.endpoint)
        self._check_queueing(demand, lane)
        waiter = _Waiter(lane, demand.rank, demand=demand, path=lane)
        waiter.scope.deadline = demand.deadline
        self._waiters[waiter] = None
        self._queue.push(waiter)
        try:
            self._hand_out()
            while True:
                with waiter.scope:
                    await waiter.granted.wait()
                if waiter.granted.is_set() or trio.current_time() >= demand.deadline:
                    return self._outcome(waiter)
                self._ring(waiter)
        except BaseException:
            self._forget(waiter)
            raise
        finally:
            del self._waiters[waiter]

    def _outcome(self, waiter: _Waiter) -> Lease:
        if waiter.lease is not None:
            return waiter.lease
        if waiter.refusal is not None:
            raise waiter.refusal
        if waiter.granted.is_set():
            self.check_open()
        raise QueueDeadlineError(self.deadline_message(waiter.demand))

    def _forget(self, waiter: _Waiter) -> None:
        if waiter.lease is not None:
            waiter.lease.release()
        elif not waiter.cancelled:
            self._leave_queue(waiter)

    @trio.lowlevel.enable_ki_protection
    def _leave_queue(self, waiter: _Waiter) -> None:
        lane = waiter.path
        self._queue.cancel(waiter)
        if lane in self._dates:
            if not self._queue.waiting(lane):
                self._leave_dates(lane)
            self._hand_out()
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self.total.taken and not self._queue.live:
            self._idle.set()
            self._idle = None

    def _wake(self, limit: Limit) -> None:
        """The limit may have room: the lanes parked there are looked at again."""
        if limit.parked and limit.slots.free:
            for lane in limit.parked:
                self._queue.wake(lane)
            limit.parked.clear()

    @trio.lowlevel.enable_ki_protection
    def _ring(self, waiter: _Waiter) -> None:
        """A date has come."""
        waiter.scope = trio.CancelScope(deadline=waiter.demand.deadline)
        self._alarm = None
        now = trio.current_time()
        earliest = self._dates.earliest()
        while earliest is not None and earliest[0] <= now:
            self._dates.drop(earliest[1])
            self._queue.wake(earliest[1])
            earliest = self._dates.earliest()
        self._hand_out()

    def _hand_out(self) -> None:
        while self.total.free and not self._shut:
            ticket = self._queue.pop(self._has_room)
            if ticket is None:
                break
            assert isinstance(ticket, _Waiter)
            ticket.lease = self._take(ticket.demand, ticket.path, trio.current_time())
            ticket.granted.set()
        if self._alarm is not None or len(self._dates):
            self._set_alarm()

    def _has_room(self, ticket: Ticket) -> bool:
        """Whether its lane lets it pass; parked at the limit that does not otherwise."""
        assert isinstance(ticket, _Waiter)
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
                self._wake(limit)

    def _set_alarm(self) -> None:
        """The head of the lane with the earliest date sleeps to that date and no longer."""
        earliest = self._dates.earliest()
        head = self._queue.head(earliest[1]) if earliest is not None else None
        if self._alarm is not None and self._alarm is not head:
            self._alarm.scope.deadline = self._alarm.demand.deadline
        self._alarm = None
        if earliest is not None and head is not None:
            assert isinstance(head, _Waiter)
            self._alarm = head
            head.scope.deadline = min(head.demand.deadline, earliest[0])


def _too_large(lane: Lane, demand: Demand) -> TooManyTokensError | None:
    """Why `demand` can never pass, however long it waits."""
    for limit in lane.limits:
        shortage = limit.rates.impossible(demand)
        if shortage is not None:
            msg = (
                f"the request alone needs {shortage.units} of {Blocked(limit, shortage)}; "
                f"ask for fewer max_tokens, shorten the prompt, or raise the limit"
            )
            return TooManyTokensError(msg)
    return None
