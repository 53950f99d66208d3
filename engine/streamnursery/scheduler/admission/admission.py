"""Who may start now. Slots and units per minute of engine, model and endpoint: all or nothing.

Rule 1: no hold-and-wait. A request that cannot have all it needs holds nothing, so a saturated
        model never starves a free one.
Rule 2: nothing here awaits between looking and taking.
Rule 3: who would wait in vain, or for too long, is refused at once; every demand has one outcome.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf

import trio

from streamnursery.core.limits.learned_rates import LearnedRates
from streamnursery.scheduler.admission.changes import LimitChanges
from streamnursery.scheduler.admission.explain import explain, limit_snapshots
from streamnursery.scheduler.admission.lane import Lane, LaneTable
from streamnursery.scheduler.admission.lease import Lease
from streamnursery.scheduler.admission.nesting import Nesting, holdings
from streamnursery.scheduler.admission.queue import AdmissionQueue, QueuedDemand
from streamnursery.scheduler.admission.refusals import queue_full, tenant_full, too_large
from streamnursery.scheduler.admission.slots import Slots
from streamnursery.values.admission import AdmissionOutcome, Explanation
from streamnursery.values.demand import Demand, Rank
from streamnursery.values.errors import (
    AdmissionError,
    EngineClosedError,
    QueueDeadlineError,
)
from streamnursery.values.policy import Adaptive, Priority
from streamnursery.values.rates import Rates
from streamnursery.values.snapshot import LimitSnapshot
from streamnursery.values.tenant import Group, Tenant


class Admission(LimitChanges):
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
        tenants: Mapping[str, Tenant] | None = None,
        default_tenant: Tenant | None = None,
        adaptive: Mapping[str, Adaptive] | None = None,
        groups: Mapping[str, Group] | None = None,
        current_time: Callable[[], float] = trio.current_time,
    ) -> None:
        self.total = Slots(max_streams)
        self.max_queued = max_queued
        self.lanes = LaneTable(
            default_max_streams=default_max_streams,
            model_max_streams=model_max_streams,
            endpoint_max_streams=endpoint_max_streams or {},
            model_rates=model_rates or {},
            endpoint_rates=endpoint_rates or {},
            adaptive=adaptive or {},
            groups=groups or {},
            tenants=tenants or {},
        )
        self.tenants = dict(tenants or {})
        self.default_tenant = default_tenant or Tenant()
        self._now = current_time
        self._dispatched = 0
        self._refused: Counter[AdmissionOutcome] = Counter()
        self.on_refused: Callable[[Demand, AdmissionOutcome, float], None] = _nobody
        """Called with every demand that was not dispatched, and the seconds it waited."""
        self._queue = AdmissionQueue(
            self.total,
            self._take,
            lambda name: self.tenant(name).weight,
            shared=self.lanes.weighted,
        )
        self._nesting = Nesting(self.total)
        self._sequence = 0
        self._closed: str | None = None
        self._bug: BaseException | None = None
        self._idle: trio.Event | None = None

    def next_rank(self, priority: Priority) -> Rank:
        """A place at the end of the queue; a request keeps it through its retries."""
        self._sequence += 1
        return (priority, self._sequence)

    def tenant(self, name: str) -> Tenant:
        """What is agreed with a tenant; the same for all tenants that are not configured."""
        return self.tenants.get(name, self.default_tenant)

    def slots(self, model: str) -> Slots:
        """The model's slots; a model that is not configured gets the default limit."""
        return self.lanes.model(model).slots

    @property
    def outcomes(self) -> dict[AdmissionOutcome, int]:
        """How many demands left the admission in each way."""
        found = {outcome: self._refused[outcome] for outcome in AdmissionOutcome}
        return {**found, AdmissionOutcome.DISPATCHED: self._dispatched}

    @property
    def queued(self) -> int:
        return self._queue.length

    def queued_for(self, model: str) -> int:
        return sum(self._queue.waiting(lane) for lane in self.lanes.of_model(model))

    def queued_in(self, lane: Lane) -> int:
        return self._queue.waiting(lane)

    def acquire_nowait(self, demand: Demand) -> Lease:
        """Everything now, or `trio.WouldBlock`. Does not pass those who wait in the same lane.

        Raises:
            EngineClosedError: the engine is closed.
        """
        lease = self._now_or_none(demand)
        if lease is None:
            raise trio.WouldBlock
        return lease

    def _now_or_none(self, demand: Demand) -> Lease | None:
        # No exception: caught in a coroutine, it leaves a frame there for the length of a wait.
        if self._queue.closed:
            self.check_open()
        lane = self.lanes.lane(demand.model, demand.endpoint, demand.tenant)
        if self.total.taken >= self.total.limit or (
            self._queue.line.live and self._queue.waiting(lane)
        ):
            return None
        now = self._now()
        if lane.blocked_by(demand, now) is not None:
            return None
        return self._take(demand, lane, now)

    async def acquire(self, demand: Demand) -> Lease:
        """Everything that the demand needs, waiting for its turn in its lane. Others run only if it
        has to wait: a stream's task gets to its request in one step where there is room.

        Raises:
            OverloadedError: `max_queued` requests wait already.
            NestedLeaseError: it would wait for ever.
            TooManyTokensError: the demand alone is above a limit per minute.
            QueueDeadlineError: the demand's deadline passed first, or must pass.
            EngineClosedError: the engine was closed while this waited.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            lease = self._now_or_none(demand)
            waiter = self._line_up(demand) if lease is None else None
        except AdmissionError:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        if waiter is None:
            assert lease is not None
            return lease
        try:
            self._queue.stand(waiter)
            while not self._queue.is_over(waiter):
                if waiter.wakes_at == inf:
                    # No coroutine of the queue's: thousands wait here, and each frame counts.
                    await trio.lowlevel.wait_task_rescheduled(waiter.abort)
                else:
                    await self._queue.sleep(waiter)
            return self._outcome(waiter)
        except BaseException as error:
            if waiter.lease is not None:
                waiter.lease.release()
            self._evicted(waiter, error)
            raise
        finally:
            self._queue.gone(waiter)
            self._nesting.leave(waiter)

    @trio.lowlevel.enable_ki_protection
    def give_back(self, lease: Lease) -> None:
        """For `Lease.release` alone."""
        lease.correct(self._now())
        for slots in lease.slots:
            slots.give_back(lease)
        self.total.give_back(lease)
        if self._queue.line.live:
            for limit in lease.lane.limits:
                self._queue.wake(limit)
            self._queue.hand_out()
        elif self._idle is not None:
            self._tell_idle()

    def learned(self, lease: Lease) -> None:
        """For a lease that has heard news of its route."""
        route = lease.lane.route
        if route is None:
            return
        if route.adaptive is not None and route.adaptive.limit != route.slots.max_slots:
            route.slots.max_slots = route.adaptive.limit
        if route.parked:
            self._queue.wake(route)
            self._queue.hand_out()

    def limited(self, lease: Lease) -> None:
        """For a lease whose route gave its first 429: from now on its slots follow it."""
        holders = self.slots(lease.demand.model).holders()
        route = lease.lane.route
        there = [one for one in holders if isinstance(one, Lease) and one.lane.route is route]
        self.lanes.begin_to_adapt(lease.lane, there, self.total.limit)

    def max_streams_now(self, model: str) -> int | None:
        """The model's own slots; None where they follow the provider."""
        return None if self.lanes.adaptive(model) else self.slots(model).max_slots

    def max_streams(self, model: str) -> int:
        """The model's slots; where they follow the provider, those of its routes together."""
        if not self.lanes.adaptive(model):
            return self.slots(model).max_slots
        return sum(route.slots.max_slots for route in self.lanes.routes_of(model))

    def close(self, why: str, bug: BaseException | None = None, *, waiting_too: bool) -> None:
        """Accept nothing new. What was accepted goes on, its retries included, unless
        `waiting_too` turns away all that have no slots yet."""
        self._closed = why
        self._queue.closed = self._queue.closed or waiting_too
        self._bug = bug
        if waiting_too:
            for waiter in tuple(self._queue.waiters):
                if waiter.lease is None:
                    self._queue.refuse(waiter, None)
            self._tell_idle()

    def check_open(self) -> None:
        """Raise `EngineClosedError`, caused by the bug if one closed the engine."""
        if self._closed is not None:
            self._refused[AdmissionOutcome.REJECTED_CLOSED] += 1
            raise EngineClosedError(self._closed) from self._bug

    def refused(self, demand: Demand, outcome: AdmissionOutcome, waited: float) -> None:
        """Count and report a demand that gets nothing; also of those refused for money."""
        self._refused[outcome] += 1
        self.on_refused(demand, outcome, waited)

    async def wait_idle(self) -> None:
        """Until no slot is taken and no request waits."""
        while self.total.taken or self._queue.length:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def explain(self, demand: Demand) -> Explanation:
        """What `demand` waits for, or a new request like it would wait for."""
        lane = self.lanes.lane(demand.model, demand.endpoint, demand.tenant)
        return explain(demand, lane, self._queue, self.total)

    def binding_limit(self, demand: Demand) -> str:
        """The same in words, for one that waits."""
        return self.explain(demand).waits_for or "its turn"

    def limit_of(self, model: str) -> str | None:
        """What the requests for `model` wait for; None: none waits."""
        for lane in self.lanes.of_model(model):
            head = self._queue.head(lane)
            if head is not None:
                return self.explain(head.demand).limit
        return None

    def snapshot(self) -> Sequence[LimitSnapshot]:
        """Every limit, the engine's first."""
        return limit_snapshots(self.lanes, self._queue, self.total)

    def remains(self) -> dict[str, int]:
        """What an admission at rest would not hold, slots and waiters apart."""
        lanes = self.lanes.used
        underway = [route.rates for route in self.lanes.routes]
        return {
            "lanes that wait for a date": self._queue.dates,
            "claims on limits per minute": sum(lane.claims for lane in lanes),
            "requests that a provider has not answered": sum(
                rates.underway for rates in underway if isinstance(rates, LearnedRates)
            ),
        }

    def deadline_message(self, demand: Demand) -> str:
        """The error of a request whose deadline passed in the queue."""
        return (
            f"the deadline passed while the request waited for {self.binding_limit(demand)}; "
            f"{self._queue.length} requests are waiting. Allow more time or raise the limit"
        )

    @trio.lowlevel.enable_ki_protection
    def _take(self, demand: Demand, lane: Lane, now: float) -> Lease:
        lease = Lease(demand, lane, (), (), self, now)
        lease.slots, lease.reserved = lane.take(lease, demand, now)
        self.total.take_nowait(lease, now)
        self._dispatched += 1
        return lease

    def _check_queueing(self, demand: Demand, lane: Lane) -> None:
        """Refuse at once who cannot wait, or would wait in vain."""
        if self._queue.length >= self.max_queued:
            raise queue_full(self._queue.length, self.max_queued)
        most = self.tenant(demand.tenant).max_queued
        if most is not None and self._queue.waiting_of(demand.tenant) >= most:
            raise tenant_full(demand.tenant, most)
        refusal = too_large(lane, demand)
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

    def _line_up(self, demand: Demand) -> QueuedDemand:
        """One that may wait, or the error that says why it may not."""
        lane = self.lanes.lane(demand.model, demand.endpoint, demand.tenant)
        try:
            self._check_queueing(demand, lane)
        except AdmissionError as error:
            late = isinstance(error, QueueDeadlineError)
            outcome = AdmissionOutcome
            rejected = outcome.REJECTED_DEADLINE if late else outcome.REJECTED_CAPACITY
            self.refused(demand, rejected, 0.0)
            raise
        waiter = QueuedDemand.of(demand, lane)
        # Outside of every block nothing can be nested.
        nested = self._nesting.enter(waiter) if holdings.get() != () else None
        if nested is not None:
            self.refused(demand, AdmissionOutcome.REJECTED_CAPACITY, 0.0)
            raise nested
        return waiter

    def _outcome(self, waiter: QueuedDemand) -> Lease:
        if waiter.lease is not None:
            return waiter.lease
        if waiter.refusal is not None:
            raise waiter.refusal
        if waiter.granted:
            raise EngineClosedError(self._closed or "the engine was closed") from self._bug
        raise QueueDeadlineError(self.deadline_message(waiter.demand))

    def _evicted(self, waiter: QueuedDemand, error: BaseException) -> None:
        outcome, now = AdmissionOutcome.EVICTED_CANCELLED, trio.current_time()
        if isinstance(error, EngineClosedError):
            outcome = AdmissionOutcome.REJECTED_CLOSED
        elif isinstance(error, AdmissionError) or now >= waiter.demand.deadline:
            # The stream's own scope ends at the same instant as the wait in it.
            outcome = AdmissionOutcome.EVICTED_EXPIRED
        self.refused(waiter.demand, outcome, now - waiter.since)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self.total.taken and not self._queue.length:
            self._idle.set()
            self._idle = None


def _nobody(_demand: Demand, _outcome: AdmissionOutcome, _waited: float) -> None:
    """There are no observers."""
