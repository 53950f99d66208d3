"""One request: its attempts, and the one outcome they come to.

Rule 1: `core/recovery/next_step` decides, this file acts: it waits, asks for slots and sends.
Rule 2: a lease lives as long as one attempt; no slot is held through a backoff.
Rule 3: a request keeps its rank in the queue through all its attempts (`request_entry.py`).
Rule 4: what an attempt does is reported by its `Booking`; a request may own several at once.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.recovery.circuit_gate import BreakerPermit, Closed
from streamnursery.core.recovery.hedging import hedge_delay, hedge_stops
from streamnursery.core.recovery.interruption import Usable
from streamnursery.core.recovery.next_step import (
    Failure,
    GiveUp,
    NextRoute,
    Step,
    TryAgain,
    next_step,
)
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.supervisor.allowance import NOTHING_SENT
from streamnursery.supervisor.attempt import Attempt
from streamnursery.supervisor.detours import cheaper_step
from streamnursery.supervisor.hedge import Race
from streamnursery.supervisor.hopeless import after_all, after_refusal, after_silence
from streamnursery.supervisor.ports import (
    AttemptLease,
    Hold,
)
from streamnursery.supervisor.renewal import KeyRenewal
from streamnursery.supervisor.request_entry import RequestEntry
from streamnursery.supervisor.request_records import RequestRecords
from streamnursery.supervisor.routes import closed_error
from streamnursery.values.errors import AdmissionError, EngineError, RateLimitedError, StorageError

Unanswered: TypeAlias = Attempt | Closed
"""Why a visit to a route brought no whole answer."""


@attrs.define(eq=False)
class RequestRun(RequestEntry):
    """One request under way."""

    _last: EngineError | None = attrs.field(default=None, init=False)
    """The latest failure of an attempt, or what stands for it while none was sent."""
    _renewal: KeyRenewal | None = attrs.field(default=None, init=False)

    @property
    def _records(self) -> RequestRecords:
        supervisor = self.supervisor
        return RequestRecords(supervisor.recorder, self.delivery, self.course, supervisor.outlets)

    @trio.lowlevel.enable_ki_protection
    async def run(self, task: AbstractContextManager[object]) -> None:
        """To the whole answer, inside of `task`; raises there what ended the request."""
        with task:
            self._set_out()
            while True:
                stop, committed = self.position.stop, self.delivery.committed
                found: Unanswered | NextRoute | None = self._closed(stop)
                # All in one frame, of which thousands wait: for room, a slot, an answer.
                try:
                    if found is None:
                        demand = self._demand(stop)
                        self._hold = await self._for_money(stop, demand)
                        lease = await self._for_slots(demand)
                        found = lease if isinstance(lease, NextRoute) else await self._enter(lease)
                    if isinstance(found, Attempt):
                        race = None if committed or stop.hedge_after == "off" else self._race(stop)
                        if race is None:
                            self._hold = self._reservation = self._lease = None  # the attempt's now
                            await found.run()
                        else:
                            found = await race.run(found)
                            self._move_to(found)
                        self._note_first_token(found, committed=committed)
                        if found.allowance.withheld:
                            await found.hand_out_end()
                finally:
                    self._give_back()
                whole = isinstance(found, Attempt) and found.error is None
                if whole or await self._ends(found):
                    break
            if self.delivery.counts_when_taken:
                await self.delivery.wait_settled()

    def _set_out(self) -> None:
        """Say which routes have no key, and begin with a cheaper model where money is short."""
        if len(self.course.plan.stops) == 1 and not self.course.plan.passed_over:
            return
        for route in self.course.plan.passed_over:
            self._records.rerouted(route, self.position.stop, "no key")
        cheaper = cheaper_step(self.supervisor.money, self.course, self.delivery, self.position)
        if cheaper is not None:
            self._reroute(cheaper)
            self.position = cheaper.position

    async def _ends(self, unanswered: Unanswered | NextRoute) -> bool:
        """Decide what comes next, and wait for its time; raises where nothing does. Whether the
        request is over: what broke may have no reader to go on for."""
        if isinstance(unanswered, NextRoute):
            self._reroute(unanswered)
            self.position = unanswered.position
            return False
        failure = self._failure(unanswered)
        if self.delivery.draining:
            return True
        step = self._decide(failure, unanswered)
        limited = isinstance(unanswered, Attempt) and isinstance(unanswered.error, RateLimitedError)
        if isinstance(step, TryAgain) and limited:
            gate = self.supervisor.routes.gate(self.position.stop.route)
            gate.on_refused(failure.retry_after, step.after, self.supervisor.current_time())
        if isinstance(step, GiveUp):
            error = self._going_on().error or self._last
            assert error is not None
            error.add_note(str(step))
            raise error
        await self._take(step)
        self.position = step.position
        return False

    def _failure(self, unanswered: Unanswered) -> Failure:
        now = self.supervisor.current_time()
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
        now, routes = self.supervisor.current_time(), self.supervisor.routes
        return next_step(
            failure,
            self.position,
            now=now,
            deadline=self.delivery.deadline,
            dice=routes.gate(self.position.stop.route).dice(),
            budget_left=routes.budget_left(self.course.plan, now),
            usable=usable,
        )

    # A second attempt beside the first. -----------------------------------------------------

    def _race(self, stop: PlannedRoute) -> Race | None:
        delay = hedge_delay(stop.hedge_after, self._meter(stop).first_tokens)
        return None if delay is None else Race(delay, partial(self._hedge, delay))

    def _note_first_token(self, attempt: Attempt, *, committed: bool) -> None:
        at = attempt.first_token_at
        if at is not None and not committed:
            self._meter(attempt.stop).first_tokens.add(at - self._entered_at)

    async def _hedge(self, delay: float, wanted: Callable[[], bool]) -> Attempt | None:
        """A second attempt, if everything for it is free now and it is still wanted then."""
        supervisor, now = self.supervisor, self.supervisor.current_time()
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
            attempt = await self._begin_hedge(stop, hold, lease, wanted)
            if attempt is not None:
                self.position = self.position.having_visited(stop.endpoint)
                self._records.hedged(attempt, delay)
            return attempt
        return None

    async def _begin_hedge(
        self, stop: PlannedRoute, hold: Hold, lease: AttemptLease, wanted: Callable[[], bool]
    ) -> Attempt | None:
        attempt, reservation = None, None
        try:
            reservation = await hold.reserve(self._outgoing.attempts + 1)
            now, routes = self.supervisor.current_time(), self.supervisor.routes
            cap = stop.retries.retry_after_cap
            visit = routes.gate(stop.route).enter(now, cap) if wanted() else None
            if isinstance(visit, BreakerPermit):
                routes.budget(stop.endpoint).withdraw(now)
                attempt = self._attempt(stop, visit, lease, reservation, now, hedge=True)
        except (AdmissionError, StorageError):
            pass  # the first attempt has all it needs
        finally:
            hold.drop()
            if attempt is None:
                lease.release()
                if reservation is not None:
                    reservation.settle(NOTHING_SENT, 0)
        return attempt

    def _move_to(self, counts: Attempt) -> None:
        """A hedge that owns the stream is where the request stands now."""
        if counts.hedge:
            self.course.meter.hedges_won += 1
            self.position = self.position.at_stop(counts.stop)

    async def _take(self, step: TryAgain | NextRoute) -> None:
        supervisor, course = self.supervisor, self.course
        now = self.supervisor.current_time()
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
