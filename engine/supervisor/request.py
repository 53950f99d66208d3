"""One request: its attempts, and the one outcome they come to.

Rule 1: `core/recovery` decides, this file acts: it waits, asks for slots and sends.
Rule 2: a lease lives as long as one attempt; no slot is held through a backoff.
Rule 3: a request keeps its rank in the queue through all its attempts.
Rule 4: every attempt tells its route's gate exactly once what became of it.
"""

import random
from collections.abc import Callable, Mapping

import attrs
import trio

from engine.core.meter import Meter
from engine.core.patience import PatienceClock
from engine.core.recovery import Failure, GiveUp, NextRoute, Position, Step, TryAgain, next_step
from engine.core.retry_budget import RetryBudget
from engine.core.route_gate import Closed, RouteGate, Visit
from engine.core.route_plan import Plan, Stop
from engine.pipeline.delivery import Delivery
from engine.supervisor.attempt import Attempt
from engine.supervisor.endpoint import Outlet
from engine.supervisor.ports import Admission, Recorder
from engine.values.errors import (
    EngineError,
    OverloadedError,
    RateLimitedError,
    ServerError,
)
from engine.values.events import Rerouted
from engine.values.http import Header
from engine.values.lifecycle import (
    Admitted,
    AttemptEnded,
    AttemptStarted,
    FirstToken,
    Retrying,
    RouteChanged,
)
from engine.values.settings import Route


@attrs.frozen
class Course:
    """What a request may do, decided when it was accepted."""

    model: str
    """The name that limits and statistics go by."""
    plan: Plan
    rank: tuple[int, int]
    meter: Meter

    @property
    def number(self) -> int:
        """The request's number within its engine."""
        return self.rank[1]


@attrs.define(eq=False)
class Supervisor:
    """Runs the attempts of every request of an engine."""

    admission: Admission
    outlets: Mapping[str, Outlet]
    meter: Callable[[str], Meter]
    """The meter of a model."""
    recorder: Recorder
    wall: Callable[[], float]
    dice: random.Random
    gates: dict[Route, RouteGate] = attrs.field(factory=dict, init=False)
    budgets: dict[str, RetryBudget] = attrs.field(factory=dict, init=False)
    _at_gates: int = attrs.field(default=0, init=False)

    async def run(self, delivery: Delivery, course: Course) -> None:
        """Bring the request to its answer, all of it put into the delivery.

        Raises:
            EngineError: what ended the request.
        """
        keys: dict[Route, Header] = {}
        position = Position(course.plan)
        last: EngineError | None = None
        while True:
            result = await self._visit(delivery, course, position, keys)
            if result is None:
                return
            now = trio.current_time()
            if isinstance(result, Closed):
                failure = Failure.closed(result, now)
                last = last or _closed_error(position.stop, result, now)
            else:
                failure = Failure.of(result, committed=delivery.committed)
                last = result
            step = self._decide(failure, position, delivery.deadline)
            if isinstance(step, TryAgain) and isinstance(result, RateLimitedError):
                # Also without a date: a 429 speaks to everybody, not to the one who got it.
                self._gate(position.stop.route).pause(step.after, now)
            if isinstance(step, GiveUp):
                last.add_note(str(step))
                raise last
            await self._take(step, delivery, course, position)
            position = step.position

    async def _visit(
        self, delivery: Delivery, course: Course, position: Position, keys: dict[Route, Header]
    ) -> EngineError | Closed | None:
        """Try the route once; None when the answer is whole."""
        stop = position.stop
        gate = self._gate(stop.route)
        closed = gate.peek(trio.current_time())
        if closed is not None:
            return closed  # without queueing first: there may be another route
        queued_at = trio.current_time()
        delivery.waiting_for = self.admission.binding_limit(stop.model)
        lease = await self.admission.acquire(stop.model, course.rank, delivery.deadline)
        try:
            now = trio.current_time()
            visit = gate.enter(now)
            if isinstance(visit, Closed):
                return visit
            if delivery.admitted_at is None:
                delivery.admitted_at = now
                course.meter.queue_time.add(now - delivery.started_at)
            self.recorder.emit(Admitted(now, course.number, course.model, now - queued_at))
            if position.new_here:
                self._budget(stop.endpoint).deposit(now)
            if stop.route not in keys:
                keys[stop.route] = ("idempotency-key", f"sn-{self.dice.getrandbits(128):032x}")
            return await self._attempt(delivery, course, stop, visit, keys[stop.route])
        finally:
            lease.release()

    async def _attempt(
        self, delivery: Delivery, course: Course, stop: Stop, visit: Visit, key: Header
    ) -> EngineError | None:
        delivery.route = str(stop.route)
        meter = self.meter(stop.model)
        number = len(delivery.attempts) + 1

        def first_token(now: float) -> None:
            visit.answered(now)
            ttft = now - delivery.started_at
            self.recorder.emit(FirstToken(now, course.number, course.model, number, ttft))

        attempt = Attempt(
            number=number,
            route=stop.route,
            outlet=self.outlets[stop.endpoint],
            delivery=delivery,
            clock=PatienceClock(
                stop.patience, meter.total_patience(stop.patience, delivery.request)
            ),
            meter=meter,
            wall_time=self.wall(),
            first_token=first_token,
            headers=(key,),
        )
        started = AttemptStarted(
            attempt.started_at, course.number, course.model, number, str(stop.route)
        )
        self.recorder.emit(started)
        error: EngineError | None = None
        try:
            await attempt.run()
        except EngineError as caught:
            error = caught
        finally:
            now = trio.current_time()
            if error is not None or attempt.done:
                visit.ended(error, now)
            visit.left(now)
            record = attempt.record(error)
            if not attempt.done:  # a whole one was put down before its last event could be read
                delivery.attempts.append(record)
            self.recorder.emit(AttemptEnded(now, course.number, course.model, record))
        return error

    def _decide(self, failure: Failure, position: Position, deadline: float) -> Step:
        now = trio.current_time()
        return next_step(
            failure,
            position,
            now=now,
            deadline=deadline,
            dice=self._gate(position.stop.route).dice(),
            budget_left={
                stop.endpoint: self._budget(stop.endpoint).level(now)
                for stop in position.plan.stops
            },
        )

    async def _take(
        self, step: TryAgain | NextRoute, delivery: Delivery, course: Course, position: Position
    ) -> None:
        now = trio.current_time()
        budget = self._budget(step.position.stop.endpoint)
        if step.cost:
            budget.withdraw(now, step.cost)
        if isinstance(step, NextRoute):
            self._reroute(step, delivery, course, position)
            return
        self.recorder.emit(Retrying(now, course.number, course.model, step.after, step.why))
        delivery.waiting_for = f"the end of a backoff of {step.after:.3g} s after {step.why}"
        if step.cost:
            course.meter.retries += 1
            try:
                await trio.sleep(step.after)
            except trio.Cancelled:
                budget.refund(now, step.cost)
                raise
        else:
            await self._wait_at_gate(step.after)

    async def _wait_at_gate(self, seconds: float) -> None:
        """Those who wait for a closed route count as a queue, with the queue's bound."""
        if self._at_gates >= self.admission.max_queued:
            msg = (
                f"{self._at_gates} requests wait already for routes to open again, the limit is "
                f"max_queued = {self.admission.max_queued}; send fewer at once, or raise it"
            )
            raise OverloadedError(msg)
        self._at_gates += 1
        try:
            await trio.sleep(seconds)
        finally:
            self._at_gates -= 1

    def _reroute(
        self, step: NextRoute, delivery: Delivery, course: Course, position: Position
    ) -> None:
        source, target = str(position.stop.route), str(step.position.stop.route)
        course.meter.reroutes += 1
        now = trio.current_time()
        self.recorder.emit(RouteChanged(now, course.number, course.model, source, target, step.why))
        delivery.put([Rerouted(source, target, step.why)], 0)

    def _gate(self, route: Route) -> RouteGate:
        if "?" in route.model:  # a simulated model with its script: one gate for all scripts
            route = attrs.evolve(route, model=route.model.partition("?")[0])
        gate = self.gates.get(route)
        if gate is None:
            gate = self.gates[route] = RouteGate(offset=self.dice.random())
        return gate

    def _budget(self, endpoint: str) -> RetryBudget:
        budget = self.budgets.get(endpoint)
        if budget is None:
            budget = self.budgets[endpoint] = RetryBudget()
        return budget


def _closed_error(stop: Stop, closed: Closed, now: float) -> EngineError:
    """What a request is told that could not be sent anywhere."""
    wait = closed.opens_at - now
    if closed.paused:
        msg = f"{stop.route} asked everybody to wait; it may be used again in {wait:.3g} s"
        error: EngineError = RateLimitedError(msg, retry_after=wait)
    else:
        msg = f"{stop.route} has been failing and is left alone for another {wait:.3g} s"
        error = ServerError(msg, retry_after=wait)
    error.endpoint = stop.endpoint
    return error
