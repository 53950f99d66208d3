"""What an attempt must have before it is sent: money, slots, a breaker that lets it pass.

Rule 1: whatever was taken is given back by `_give_back`, which comes after every attempt.
Rule 2: money is held before the wait for slots, and reserved after it: no slot waits for money.
Rule 3: what waits makes no frame of its own: thousands wait.
"""

from collections.abc import Awaitable
from math import inf

import attrs

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.circuit_gate import BreakerPermit, CircuitGate, Closed
from streamnursery.core.recovery.next_step import (
    NextRoute,
    Position,
)
from streamnursery.core.recovery.patience import PatienceClock
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.allowance import NOTHING_SENT, Allowance
from streamnursery.supervisor.attempt import Attempt
from streamnursery.supervisor.attempt_headers import AttemptHeaders
from streamnursery.supervisor.booking import Booking
from streamnursery.supervisor.continuity import Continuity
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.detours import queueing
from streamnursery.supervisor.outgoing import Outgoing
from streamnursery.supervisor.parts import SupervisorParts
from streamnursery.supervisor.ports import (
    AttemptLease,
    Hold,
    Reservation,
)
from streamnursery.supervisor.request_records import admitted
from streamnursery.supervisor.resume import Asking, FromTheStart
from streamnursery.values.demand import Demand
from streamnursery.values.http import Header
from streamnursery.values.request import asks_for_reasoning


@attrs.define(eq=False)
class RequestEntry:
    """A request on its way to an attempt."""

    supervisor: SupervisorParts
    delivery: Delivery
    course: Course
    position: Position
    _outgoing: Outgoing = attrs.field(init=False)
    _hold: Hold | None = attrs.field(default=None, init=False)
    _lease: AttemptLease | None = attrs.field(default=None, init=False)
    _reservation: Reservation | None = attrs.field(default=None, init=False)
    _gate: CircuitGate | None = attrs.field(default=None, init=False)
    """Of the route that the request has looked at last."""
    _demanded: Demand | None = attrs.field(default=None, init=False)
    _queued_at: float = attrs.field(default=0.0, init=False)
    _entered_at: float = attrs.field(default=0.0, init=False)
    # Made when they are needed: thousands of requests wait for a slot without any of them.
    _headers: AttemptHeaders | None = attrs.field(default=None, init=False)
    _continuity: Continuity | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._outgoing = Outgoing(self.course.plan.max_exchanges)

    def _meter(self, stop: PlannedRoute) -> Meter:
        course = self.course
        return course.meter if stop.model == course.model else self.supervisor.meter(stop.model)

    def _going_on(self) -> Continuity:
        if self._continuity is None:
            self._continuity = Continuity(self.delivery, self._asking())
        return self._continuity

    def _asking(self) -> Asking:
        """How the next attempt asks; as the request was made, until it has broken."""
        if self._continuity is not None:
            return self._continuity.asking
        return self.course.asking or FromTheStart(self.delivery.request)

    def _closed(self, stop: PlannedRoute) -> Closed | None:
        gate = self._gate = self.supervisor.routes.gate(stop.route)
        return gate.peek(self.supervisor.current_time())

    def _demand(self, stop: PlannedRoute) -> Demand:
        demand = self.course.demand(stop, self.delivery.deadline)
        self.delivery.input_estimate = demand.input_tokens
        return demand

    def _for_money(self, stop: PlannedRoute, demand: Demand) -> Awaitable[Hold]:
        """The wait for it, which is to be awaited; no coroutine of its own."""
        self.delivery.waits = f"room in the budget of {stop.model}"
        return self.supervisor.money.hold(self.delivery.request, demand, stop.route)

    def _for_slots(self, demand: Demand) -> Awaitable[AttemptLease | NextRoute]:
        """The same: for a lease, or a step when the queue of the route is too long."""
        supervisor, delivery = self.supervisor, self.delivery
        self._queued_at = self.supervisor.current_time()
        self._demanded = demand
        delivery.waits = self._binding_limit
        return queueing(
            supervisor.admission, supervisor.money, self.course, delivery, self.position, demand
        )

    def _binding_limit(self) -> str:
        """What it waits for, for who asks."""
        assert self._demanded is not None
        return self.supervisor.admission.binding_limit(self._demanded)

    async def _enter(self, lease: AttemptLease) -> Attempt | Closed:
        """With the lease: reserve the money, pass the gate."""
        self._lease, stop = lease, self.position.stop
        assert self._hold is not None
        reservation = self._reservation = await self._hold.reserve(self._outgoing.attempts + 1)
        supervisor, now = self.supervisor, self.supervisor.current_time()
        assert self._gate is not None
        visit = self._gate.enter(now, stop.retries.retry_after_cap)
        if isinstance(visit, Closed):
            return visit
        self._entered_at = now
        admitted(supervisor.recorder, self.delivery, self.course, now, self._queued_at)
        if self.position.new_here:
            supervisor.routes.budget(stop.route.endpoint).deposit(now)
        self.delivery.route = stop.route.name
        return self._attempt(stop, visit, lease, reservation, now)

    def _give_back(self) -> None:
        """Whatever of it there is: its attempt has settled before what it has used."""
        reservation, self._reservation = self._reservation, None
        hold, self._hold = self._hold, None
        lease, self._lease = self._lease, None
        if reservation is not None:
            reservation.settle(NOTHING_SENT, 0)
        if lease is not None:
            lease.release()
        if hold is not None:
            hold.drop()

    def _attempt(
        self,
        stop: PlannedRoute,
        visit: BreakerPermit,
        lease: AttemptLease,
        reservation: Reservation,
        now: float,
        *,
        hedge: bool = False,
    ) -> Attempt:
        self._outgoing.attempts += 1
        self.delivery.attempt = self._outgoing.attempts
        booking = Booking(
            self._outgoing.attempts,
            stop,
            visit,
            lease,
            Allowance(
                reservation, self.delivery.transcript, before=self.delivery.transcript.characters
            ),
            self.delivery,
            self.course,
            self.supervisor.recorder,
            self._outgoing,
            self.supervisor.routes.budget(stop.route.endpoint),
        )
        supervisor = self.supervisor
        meter = self._meter(stop)
        request = self.delivery.request
        total = meter.total_patience(stop.patience, request)
        derived = stop.patience.total == "auto" and total < inf
        return Attempt(
            booking=booking,
            number=booking.number,
            stop=stop,
            outlet=supervisor.outlets[stop.route.endpoint],
            asking=self._asking(),
            delivery=self.delivery,
            clock=PatienceClock(
                stop.patience,
                total,
                expected_tokens=float(meter.most_output(request)) if derived else None,
                reasoning=stop.reasoning or asks_for_reasoning(request),
            ),
            meter=meter,
            wall_time=supervisor.wall(),
            allowance=booking.allowance,
            outgoing=self._outgoing,
            started_at=now,
            current_time=supervisor.current_time,
            headers=self._extra_headers(stop, booking.number, hedge=hedge),
            hedge=hedge,
        )

    def _extra_headers(
        self, stop: PlannedRoute, attempt: int, *, hedge: bool
    ) -> tuple[Header, ...]:
        supervisor = self.supervisor
        if self._headers is None:
            about = (self.delivery.request, self.course.plan, supervisor.dice)
            self._headers = AttemptHeaders(*about)
        headers = self._headers.of(stop.route, fresh=hedge)
        if (
            supervisor.trace_headers is None
            or not supervisor.outlets[stop.endpoint].endpoint.propagate
        ):
            return headers
        return (*headers, *supervisor.trace_headers(self.course.number, attempt, stop.route.name))
