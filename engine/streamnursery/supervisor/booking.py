"""What is reported of one attempt: to its route's gate, its lease, its request and the observers.

Rule 1: a gate hears exactly once what became of the call it let through.
Rule 2: an attempt has one record. A whole one is put down before its last event can be read, since
        the consumer may go on from there before the attempt's task runs again.
"""

import attrs
import trio

from streamnursery.core.money.settlement import AttemptEnd
from streamnursery.core.recovery import backoff
from streamnursery.core.recovery.circuit_gate import BreakerPermit
from streamnursery.core.recovery.retry_budget import RetryBudget
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.allowance import Allowance
from streamnursery.supervisor.attempt_progress import AttemptProgress
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.outgoing import Outgoing
from streamnursery.supervisor.ports import AttemptLease, Recorder
from streamnursery.values.errors import (
    AttemptRecord,
    AttemptState,
    EngineError,
    FirstByteTimeoutError,
    FirstTokenTimeoutError,
    RateLimitedError,
)
from streamnursery.values.lifecycle import AttemptEnded, AttemptStarted, FirstToken, Resent
from streamnursery.values.usage import Usage

_REFUSES = (429, 503, 529)
_TIMES_OUT = (FirstByteTimeoutError, FirstTokenTimeoutError)


def _is_overload(error: EngineError) -> bool:
    return isinstance(error, _TIMES_OUT) or error.status in _REFUSES


@attrs.define(eq=False)
class Booking:
    """The books of one attempt."""

    number: int
    """Of the attempt within its request, from 1."""
    stop: PlannedRoute
    visit: BreakerPermit
    lease: AttemptLease
    allowance: Allowance
    delivery: Delivery
    course: Course
    recorder: Recorder
    outgoing: Outgoing
    budget: RetryBudget
    """Of the route's endpoint."""

    def started(self, attempt: AttemptProgress) -> None:
        """For those who listen, of whom there are some."""
        course, route = self.course, str(self.stop.route)
        self.recorder.emit(
            AttemptStarted(attempt.started_at, course.number, course.model, self.number, route)
        )

    def first_token(self, now: float) -> None:
        self.visit.on_first_token(now)
        self.lease.on_first_token(now)
        if self.recorder.listening:
            course, ttft = self.course, now - self.delivery.started_at
            self.recorder.emit(FirstToken(now, course.number, course.model, self.number, ttft))

    def resent(self, error: EngineError) -> float:
        """The request is about to go out once more, since no server has looked at it; seconds to
        wait before. Raises `error` if it may not."""
        now = trio.current_time()
        if not (self.outgoing.may_resend() and self.budget.withdraw(now)):
            raise error
        wait = 0.0
        if self.outgoing.resent > 1:
            # Once is the way of connections that end; a request that meets it again meets a fault.
            self.visit.resent(now)
            wait = backoff.delay(self.stop.retries, 1, self.visit.dice())
        if self.recorder.listening:
            course, route, why = self.course, str(self.stop.route), type(error).__name__
            about = (now, course.number, course.model, self.number, route)
            self.recorder.emit(Resent(*about, why, wait))
        return wait

    def over(self, attempt: AttemptProgress) -> None:
        """The attempt is over: whole, failed, or left by us."""
        now, done = attempt.current_time(), attempt.state is AttemptState.DONE
        if attempt.error is not None or done:
            self.visit.ended(attempt.error, now)
        else:
            self.visit.left(now)
        record = attempt.whole
        if record is None or attempt.error is not None:
            record = attempt.record(now)
        self._settle(attempt, record)
        self.allowance.settle(AttemptEnd.of(record), attempt.content_events)
        if attempt.error is not None and _is_overload(attempt.error):
            error = attempt.error
            self.lease.on_overload(
                now, limited=isinstance(error, RateLimitedError) and error.retryable
            )
        if not done:
            self.delivery.attempts.append(record)
        if self.recorder.listening:
            self.recorder.emit(AttemptEnded(now, self.course.number, self.course.model, record))

    def _settle(self, attempt: AttemptProgress, record: AttemptRecord) -> None:
        """The lease learns what was used; of an attempt that broke it is not known."""
        if record.state is AttemptState.NOT_SENT:
            return
        usage = record.usage
        reported = _reported(record)
        if attempt.state is not AttemptState.DONE:
            self.lease.settle(reported)
            return
        if reported is not None:
            self.course.learn(self.stop, reported)
        if usage is None or usage.output_tokens is None:
            counted = attempt.content_events
            usage = attrs.evolve(usage or Usage(), output_tokens=counted, estimated=True)
        self.lease.settle(usage)


def _reported(record: AttemptRecord) -> Usage | None:
    """What the provider itself said."""
    return None if record.usage is not None and record.usage.estimated else record.usage
