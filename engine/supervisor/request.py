"""One request: its attempts, and the one outcome they come to.

Rule 1: `core/recovery` decides, this file acts: it waits, asks for slots and sends.
Rule 2: a lease lives as long as one attempt; no slot is held through a backoff.
Rule 3: a request keeps its rank in the queue through all its attempts.
Rule 4: what an attempt does is told by its `Booking`; a request may own several at once.
"""

import random
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
import trio

from engine.core.meter import Meter
from engine.core.patience import PatienceClock
from engine.core.recovery import Failure, GiveUp, NextRoute, Position, Step, TryAgain, next_step
from engine.core.route_gate import Closed, RouteGate, Visit
from engine.core.route_plan import Stop
from engine.pipeline.delivery import Delivery
from engine.supervisor.allowance import NOTHING_SENT, Allowance
from engine.supervisor.attempt import Attempt
from engine.supervisor.booking import Booking
from engine.supervisor.course import Course
from engine.supervisor.endpoint import Outlet
from engine.supervisor.ports import (
    Admission,
    AttemptLease,
    Hold,
    Money,
    Recorder,
    Reservation,
)
from engine.supervisor.routes import Routes, closed_error
from engine.values.demand import Demand
from engine.values.errors import EngineError, RateLimitedError
from engine.values.events import Rerouted
from engine.values.http import Header
from engine.values.lifecycle import Admitted, Retrying, RouteChanged
from engine.values.settings import Route

Unanswered: TypeAlias = EngineError | Closed
"""Why a visit to a route brought no whole answer."""


@attrs.define(eq=False)
class Supervisor:
    """What the requests of an engine have in common."""

    admission: Admission
    money: Money
    outlets: Mapping[str, Outlet]
    meter: Callable[[str], Meter]
    """The meter of a model."""
    recorder: Recorder
    wall: Callable[[], float]
    dice: random.Random
    routes: Routes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.routes = Routes(self.dice)

    @property
    def gates(self) -> dict[Route, RouteGate]:
        """Of the routes that were used."""
        return self.routes.gates

    async def run(self, delivery: Delivery, course: Course) -> None:
        """Bring the request to its answer, all of it put into the delivery.

        Raises:
            EngineError: what ended the request.
        """
        await RequestRun(self, delivery, course, Position(course.plan)).run()


@attrs.define(eq=False)
class RequestRun:
    """One request under way."""

    supervisor: Supervisor
    delivery: Delivery
    course: Course
    position: Position
    _keys: dict[Route, Header] = attrs.field(factory=dict, init=False)
    _begun: int = attrs.field(default=0, init=False)
    """Attempts."""
    _last: EngineError | None = attrs.field(default=None, init=False)
    """The latest failure of an attempt, or what stands for it while none was sent."""

    async def run(self) -> None:
        self._go_cheaper()
        while True:
            unanswered = await self._visit(self.position.stop)
            if unanswered is None:
                return
            failure = self._failure(unanswered)
            step = self._decide(failure)
            if isinstance(step, TryAgain) and isinstance(unanswered, RateLimitedError):
                # Also without a date: a 429 speaks to everybody, not to the one who got it.
                gate = self.supervisor.routes.gate(self.position.stop.route)
                gate.pause(step.after, trio.current_time())
            if isinstance(step, GiveUp):
                assert self._last is not None
                self._last.add_note(str(step))
                raise self._last
            await self._take(step)
            self.position = step.position

    def _go_cheaper(self) -> None:
        """Begin at a cheaper model of the plan where a soft budget is nearly spent."""
        stops, deadline = self.course.plan.stops, self.delivery.deadline
        choices = [(self.course.demand(stop, deadline), stop.route) for stop in stops]
        at = self.supervisor.money.cheaper(self.delivery.request, choices)
        if at is not None:
            step = NextRoute("budget", self.position.moved_to(at, self.position.barred), 0.0)
            self._reroute(step)
            self.position = step.position

    def _failure(self, unanswered: Unanswered) -> Failure:
        now = trio.current_time()
        if isinstance(unanswered, Closed):
            self._last = self._last or closed_error(self.position.stop, unanswered, now)
            return Failure.closed(unanswered, now)
        self._last = unanswered
        return Failure.of(unanswered, committed=self.delivery.committed)

    def _decide(self, failure: Failure) -> Step:
        now, routes = trio.current_time(), self.supervisor.routes
        return next_step(
            failure,
            self.position,
            now=now,
            deadline=self.delivery.deadline,
            dice=routes.gate(self.position.stop.route).dice(),
            budget_left=routes.budget_left(self.course.plan, now),
        )

    async def _visit(self, stop: Stop) -> Unanswered | None:
        """Try the route once; None when the answer is whole."""
        supervisor, delivery = self.supervisor, self.delivery
        gate = supervisor.routes.gate(stop.route)
        closed = gate.peek(trio.current_time())
        if closed is not None:
            return closed  # without queueing first: there may be another route
        demand = self.course.demand(stop, delivery.deadline)
        delivery.waiting_for = f"room in the budget of {stop.model}"
        hold = await supervisor.money.hold(delivery.request, demand, stop.route)
        try:
            return await self._queue(stop, gate, demand, hold)
        finally:
            hold.drop()

    async def _queue(
        self, stop: Stop, gate: RouteGate, demand: Demand, hold: Hold
    ) -> Unanswered | None:
        """Wait for a lease, and use it once the money is reserved."""
        supervisor, queued_at = self.supervisor, trio.current_time()
        self.delivery.waiting_for = supervisor.admission.binding_limit(demand)
        lease = await supervisor.admission.acquire(demand)
        try:
            reservation = await hold.reserve(self._begun + 1)
            try:
                now = trio.current_time()
                visit = gate.enter(now)
                if isinstance(visit, Closed):
                    return visit
                self._admitted(now, queued_at)
                if self.position.new_here:
                    supervisor.routes.budget(stop.endpoint).deposit(now)
                return await self._attempt(stop, visit, lease, reservation)
            finally:
                reservation.settle(NOTHING_SENT, 0)  # unless the attempt has
        finally:
            lease.release()

    def _admitted(self, now: float, queued_at: float) -> None:
        delivery, course = self.delivery, self.course
        if delivery.admitted_at is None:
            delivery.admitted_at = now
            course.meter.queue_time.add(now - delivery.started_at)
        self.supervisor.recorder.emit(Admitted(now, course.number, course.model, now - queued_at))

    async def _attempt(
        self, stop: Stop, visit: Visit, lease: AttemptLease, reservation: Reservation
    ) -> EngineError | None:
        """One exchange, on a lease that the caller holds; None when the answer is whole."""
        self.delivery.route = str(stop.route)
        self._begun += 1
        booking = Booking(
            self._begun,
            stop,
            visit,
            lease,
            Allowance(reservation, self.delivery.transcript),
            self.delivery,
            self.course,
            self.supervisor.recorder,
        )
        attempt = self._make_attempt(booking)
        booking.started(attempt)
        error: EngineError | None = None
        try:
            await attempt.run()
        except EngineError as caught:
            error = caught
        finally:
            booking.over(attempt, error)
        return error

    def _make_attempt(self, booking: Booking) -> Attempt:
        supervisor, stop = self.supervisor, booking.stop
        meter = supervisor.meter(stop.model)
        total = meter.total_patience(stop.patience, self.delivery.request)
        return Attempt(
            number=booking.number,
            route=stop.route,
            outlet=supervisor.outlets[stop.endpoint],
            delivery=self.delivery,
            clock=PatienceClock(stop.patience, total),
            meter=meter,
            wall_time=supervisor.wall(),
            first_token=booking.first_token,
            heard=booking.heard,
            allowance=booking.allowance,
            headers=(self._key(stop.route),),
        )

    def _key(self, route: Route) -> Header:
        """The same for every attempt at a route: a provider may have done what we saw fail."""
        key = self._keys.get(route)
        if key is None:
            value = f"sn-{self.supervisor.dice.getrandbits(128):032x}"
            key = self._keys[route] = ("idempotency-key", value)
        return key

    async def _take(self, step: TryAgain | NextRoute) -> None:
        supervisor, course = self.supervisor, self.course
        now = trio.current_time()
        budget = supervisor.routes.budget(step.position.stop.endpoint)
        if step.cost:
            budget.withdraw(now, step.cost)
        if isinstance(step, NextRoute):
            self._reroute(step)
            return
        supervisor.recorder.emit(Retrying(now, course.number, course.model, step.after, step.why))
        self.delivery.waiting_for = f"the end of a backoff of {step.after:.3g} s after {step.why}"
        if step.cost:
            course.meter.retries += 1
            try:
                await trio.sleep(step.after)
            except trio.Cancelled:
                budget.refund(now, step.cost)
                raise
        else:
            await supervisor.routes.wait_at_gate(step.after, supervisor.admission.max_queued)

    def _reroute(self, step: NextRoute) -> None:
        source, target = str(self.position.stop.route), str(step.position.stop.route)
        course = self.course
        course.meter.reroutes += 1
        now = trio.current_time()
        record = RouteChanged(now, course.number, course.model, source, target, step.why)
        self.supervisor.recorder.emit(record)
        self.delivery.put([Rerouted(source, target, step.why)], 0)
