"""One request: its attempts, and the one outcome they come to.

Rule 1: `core/recovery/next_step` decides, this file acts: it waits, asks for slots and sends.
Rule 2: a lease lives as long as one attempt; no slot is held through a backoff.
Rule 3: a request keeps its rank in the queue through all its attempts.
Rule 4: what an attempt does is reported by its `Booking`; a request may own several at once.
"""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TypeAlias

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.circuit_gate import BreakerPermit, CircuitGate, Closed
from streamnursery.core.recovery.hedging import hedge_delay, hedge_stops
from streamnursery.core.recovery.interruption import Usable
from streamnursery.core.recovery.next_step import (
    Failure,
    GiveUp,
    NextRoute,
    Position,
    Step,
    TryAgain,
    next_step,
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
from streamnursery.supervisor.detours import cheaper_step, queueing
from streamnursery.supervisor.hedge import Race, Runner
from streamnursery.supervisor.hopeless import after_all, after_refusal, after_silence
from streamnursery.supervisor.outgoing import Outgoing
from streamnursery.supervisor.parts import SupervisorParts
from streamnursery.supervisor.ports import (
    AttemptLease,
    Hold,
    Reservation,
)
from streamnursery.supervisor.renewal import KeyRenewal
from streamnursery.supervisor.request_records import RequestRecords, admitted
from streamnursery.supervisor.resume import Asking, FromTheStart
from streamnursery.supervisor.routes import closed_error
from streamnursery.values.errors import AdmissionError, EngineError, RateLimitedError, StorageError
from streamnursery.values.http import Header
from streamnursery.values.request import asks_for_reasoning

Unanswered: TypeAlias = Attempt | Closed
"""Why a visit to a route brought no whole answer."""


@attrs.define(eq=False)
class RequestRun:
    """One request under way."""

    supervisor: SupervisorParts
    delivery: Delivery
    course: Course
    position: Position
    _outgoing: Outgoing = attrs.field(init=False)
    _last: EngineError | None = attrs.field(default=None, init=False)
    """The latest failure of an attempt, or what stands for it while none was sent."""
    # Made when they are needed: thousands of requests wait for a slot without any of them.
    _headers: AttemptHeaders | None = attrs.field(default=None, init=False)
    _continuity: Continuity | None = attrs.field(default=None, init=False)
    _renewal: KeyRenewal | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._outgoing = Outgoing(self.course.plan.max_exchanges)

    @property
    def _records(self) -> RequestRecords:
        supervisor = self.supervisor
        return RequestRecords(supervisor.recorder, self.delivery, self.course, supervisor.outlets)

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

    async def run(self) -> None:
        for route in self.course.plan.passed_over:
            self._records.rerouted(route, self.position.stop, "no key")
        cheaper = cheaper_step(self.supervisor.money, self.course, self.delivery, self.position)
        if cheaper is not None:
            self._reroute(cheaper)
            self.position = cheaper.position
        while True:
            unanswered = await self._visit(self.position.stop)
            if unanswered is None:
                return
            if isinstance(unanswered, NextRoute):
                self._reroute(unanswered)
                self.position = unanswered.position
                continue
            failure = self._failure(unanswered)
            if self.delivery.draining:
                return  # what broke has no reader to go on for
            step = self._decide(failure, unanswered)
            limited = isinstance(unanswered, Attempt) and isinstance(
                unanswered.error, RateLimitedError
            )
            if isinstance(step, TryAgain) and limited:
                gate = self.supervisor.routes.gate(self.position.stop.route)
                gate.on_refused(failure.retry_after, step.after, trio.current_time())
            if isinstance(step, GiveUp):
                error = self._going_on().error or self._last
                assert error is not None
                error.add_note(str(step))
                raise error
            await self._take(step)
            self.position = step.position

    def _failure(self, unanswered: Unanswered) -> Failure:
        now = trio.current_time()
        if isinstance(unanswered, Closed):
            self._last = self._last or closed_error(self.position.stop, unanswered, now)
            return Failure.closed(unanswered, now)
        assert unanswered.error is not None
        self._last = unanswered.error
        failure = Failure.of(self._last, committed=self.delivery.committed)
        failure = after_refusal(failure, unanswered, self.position.attempts)
        failure = after_silence(failure, self.delivery.attempts)
        failure = after_all(failure, self._outgoing)
        self._renewal = self._renewal or KeyRenewal()
        return self._renewal.after(failure, unanswered)

    def _decide(self, failure: Failure, unanswered: Unanswered) -> Step:
        if not self.delivery.committed:
            return self._next_step(failure)
        attempt = unanswered if isinstance(unanswered, Attempt) else None
        continuity = self._going_on()
        asking = continuity.asking
        step = continuity.after(failure, attempt, self._next_step)
        if isinstance(step, GiveUp):
            self._records.interrupted("fail", step.why)
            return step
        if continuity.asking is not asking:
            self._headers = None  # what is asked next is another question
            self._records.interrupted(step.how, str(step))
        return step.step

    def _next_step(self, failure: Failure, usable: Usable = lambda _: True) -> Step:
        now, routes = trio.current_time(), self.supervisor.routes
        return next_step(
            failure,
            self.position,
            now=now,
            deadline=self.delivery.deadline,
            dice=routes.gate(self.position.stop.route).dice(),
            budget_left=routes.budget_left(self.course.plan, now),
            usable=usable,
        )

    async def _visit(self, stop: PlannedRoute) -> Unanswered | NextRoute | None:
        """Try the route once; None when the answer is whole, a step when its queue is too long."""
        supervisor, delivery = self.supervisor, self.delivery
        gate = supervisor.routes.gate(stop.route)
        closed = gate.peek(trio.current_time())
        if closed is not None:
            return closed  # without queueing first: there may be another route
        demand = self.course.demand(stop, delivery.deadline)
        delivery.input_estimate = demand.input_tokens
        delivery.waits = f"room in the budget of {stop.model}"
        hold = await supervisor.money.hold(delivery.request, demand, stop.route)
        try:
            queued_at = trio.current_time()
            delivery.waits = partial(supervisor.admission.binding_limit, demand)
            about = (supervisor.money, self.course, delivery, self.position, demand)
            lease = await queueing(supervisor.admission, *about)
            if isinstance(lease, NextRoute):
                return lease
            return await self._use(stop, gate, hold, lease, queued_at)
        finally:
            hold.drop()

    async def _use(
        self,
        stop: PlannedRoute,
        gate: CircuitGate,
        hold: Hold,
        lease: AttemptLease,
        queued_at: float,
    ) -> Unanswered | None:
        """Once the money is reserved, make an attempt with the lease, or two beside each other."""
        supervisor = self.supervisor
        reservation = None
        try:
            reservation = await hold.reserve(self._outgoing.attempts + 1)
            now = trio.current_time()
            visit = gate.enter(now, stop.retries.retry_after_cap)
            if isinstance(visit, Closed):
                return visit
            admitted(supervisor.recorder, self.delivery, self.course, now, queued_at)
            if self.position.new_here:
                supervisor.routes.budget(stop.route.endpoint).deposit(now)
            self.delivery.route = str(stop.route)
            first = self._runner(stop, visit, lease, reservation, now)
            committed, lately = self.delivery.committed, self._meter(stop).first_tokens
            delay = None if committed else hedge_delay(stop.hedge_after, lately)
            if delay is None:
                await first.run()
                attempt = first.attempt
            else:
                attempt = await Race(delay, partial(self._hedge, delay)).run(first)
                self._move_to(attempt)
            if attempt.first_token_at is not None and not committed:
                lately.add(attempt.first_token_at - now)
            await attempt.hand_out_end()
            return attempt if attempt.error is not None else None
        finally:
            if reservation is not None:
                reservation.settle(NOTHING_SENT, 0)  # unless the attempt has
            lease.release()

    async def _hedge(self, delay: float, wanted: Callable[[], bool]) -> Runner | None:
        """A second attempt, if everything for it is free now and it is still wanted then."""
        supervisor, now = self.supervisor, trio.current_time()
        stops = hedge_stops(self.position) if self._outgoing.may_hedge else ()
        for stop in stops:
            gate = supervisor.routes.gate(stop.route)
            if gate.peek(now) is not None or supervisor.routes.budget(stop.endpoint).level(now) < 1:
                continue
            demand = self.course.demand(stop, self.delivery.deadline)
            try:
                hold = supervisor.money.hold_nowait(self.delivery.request, demand, stop.route)
            except AdmissionError:
                continue
            try:
                lease = supervisor.admission.acquire_nowait(demand)
            except (trio.WouldBlock, AdmissionError):
                hold.drop()
                continue
            runner = await self._begin_hedge(stop, hold, lease, wanted)
            if runner is not None:
                self.position = self.position.having_visited(runner.attempt.stop.endpoint)
                self._records.hedged(runner.attempt, delay)
            return runner
        return None

    async def _begin_hedge(
        self, stop: PlannedRoute, hold: Hold, lease: AttemptLease, wanted: Callable[[], bool]
    ) -> Runner | None:
        runner, reservation = None, None
        try:
            reservation = await hold.reserve(self._outgoing.attempts + 1)
            now, routes = trio.current_time(), self.supervisor.routes
            cap = stop.retries.retry_after_cap
            visit = routes.gate(stop.route).enter(now, cap) if wanted() else None
            if isinstance(visit, BreakerPermit):
                routes.budget(stop.endpoint).withdraw(now)
                runner = self._runner(stop, visit, lease, reservation, now, hedge=True)
        except (AdmissionError, StorageError):
            pass  # the first attempt has all it needs
        finally:
            hold.drop()
            if runner is None:
                lease.release()
                if reservation is not None:
                    reservation.settle(NOTHING_SENT, 0)
        return runner

    def _move_to(self, counts: Attempt) -> None:
        """A hedge that owns the stream is where the request stands now."""
        if counts.hedge:
            self.course.meter.hedges_won += 1
            self.position = self.position.at_stop(counts.stop)

    def _runner(
        self,
        stop: PlannedRoute,
        visit: BreakerPermit,
        lease: AttemptLease,
        reservation: Reservation,
        now: float,
        *,
        hedge: bool = False,
    ) -> Runner:
        self._outgoing.attempts += 1
        self.delivery.attempt = self._outgoing.attempts
        booking = Booking(
            self._outgoing.attempts,
            stop,
            visit,
            lease,
            Allowance(reservation, self.delivery.transcript),
            self.delivery,
            self.course,
            self.supervisor.recorder,
            self._outgoing,
            self.supervisor.routes.budget(stop.route.endpoint),
        )
        return Runner(self._make_attempt(booking, now, hedge=hedge), booking, lease)

    def _make_attempt(self, booking: Booking, now: float, *, hedge: bool) -> Attempt:
        supervisor, stop = self.supervisor, booking.stop
        meter = self._meter(stop)
        request = self.delivery.request
        total = meter.total_patience(stop.patience, request)
        derived = stop.patience.total == "auto" and total < inf
        return Attempt(
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
            first_token=booking.first_token,
            on_rate_headers=booking.lease.on_rate_headers,
            allowance=booking.allowance,
            outgoing=self._outgoing,
            on_resent=booking.resent,
            started_at=now,
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
        return (*headers, *supervisor.trace_headers(self.course.number, attempt, str(stop.route)))

    async def _take(self, step: TryAgain | NextRoute) -> None:
        supervisor, course = self.supervisor, self.course
        now = trio.current_time()
        budget = supervisor.routes.budget(step.position.stop.endpoint)
        if step.cost:
            budget.withdraw(now, step.cost)
        if isinstance(step, NextRoute):
            self._reroute(step)
            return
        self._records.retrying(now, step.after, step.why, step.position)
        if step.cost:
            course.meter.retries += 1
            try:
                await trio.sleep(step.after)
                if buggify.world is not None:
                    await buggify.world.pause("request.backoff")
            except trio.Cancelled:
                budget.refund(now, step.cost)
                raise
        else:
            await supervisor.routes.wait_at_gate(
                step.position.stop.route, step.after, supervisor.admission.max_queued
            )

    def _reroute(self, step: NextRoute) -> None:
        self._records.rerouted(self.position.stop.route, step.position.stop, step.why)
