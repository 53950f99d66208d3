"""What stands around the task of a stream: its scope, its one outcome, and who is told at its end.

A context manager, and no coroutine around the one that runs the request: thousands wait in it.
"""

from types import TracebackType
from typing import Protocol

import trio

from streamnursery.pipeline.delivery import Delivery
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.supervisor.course import Course
from streamnursery.values.admission import AdmissionOutcome
from streamnursery.values.errors import (
    BudgetExceededError,
    DeadlineError,
    EngineClosedError,
    EngineError,
    QueueDeadlineError,
    StreamCancelledError,
)


class LiveStreams(Protocol):
    """Who has started the task."""

    admission: Admission

    def broke(self, bug: Exception) -> None:
        """An exception that is no outcome: the engine comes down."""

    def closed_error(self) -> EngineClosedError:
        """What ends a stream that is left without an outcome."""

    def forget(self, delivery: Delivery) -> None:
        """The stream's task is over."""


class StreamTask:
    """To be entered by the stream's task, and left when the request has come to its end."""

    __slots__ = ("_course", "_delivery", "_streams")

    def __init__(self, streams: LiveStreams, delivery: Delivery, course: Course) -> None:
        self._streams = streams
        self._delivery = delivery
        self._course = course

    def __enter__(self) -> None:
        self._delivery.scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        delivery = self._delivery
        try:
            if isinstance(error, EngineError):
                self._failed(error)
                kind = error = traceback = None
            elif error is None and delivery.outcome is None:
                delivery.complete()
            ended = delivery.scope.__exit__(kind, error, traceback) or error is None
            if ended:
                self._settle()
            elif isinstance(error, Exception):
                self._streams.broke(error)
        except Exception as bug:
            self._streams.broke(bug)
            raise
        finally:
            self._over()
        return ended

    def _settle(self) -> None:
        """The scope has ended without a bug: by itself, by its deadline, or cancelled."""
        delivery = self._delivery
        if delivery.outcome is None and delivery.counts_when_put and delivery.finished:
            delivery.complete()
        if delivery.outcome is None:
            delivery.revoke(self._deadline_error())

    def _over(self) -> None:
        """Whatever else goes wrong, those who wait for the task must not wait for ever."""
        delivery = self._delivery
        try:
            if delivery.outcome is None:
                delivery.revoke(self._streams.closed_error())
            if delivery.draining:
                self._course.meter.usage(delivery.usage, delivery.timings())
        finally:
            self._streams.forget(delivery)

    def _failed(self, error: EngineError) -> None:
        delivery = self._delivery
        if isinstance(error, BudgetExceededError):
            self._over_budget()
        late = delivery.callers_scope and trio.current_time() >= delivery.deadline
        cancelled = late and isinstance(error, QueueDeadlineError)
        delivery.fail(_cancelled_by_caller() if cancelled else error)

    def _over_budget(self) -> None:
        course, delivery = self._course, self._delivery
        demand = course.demand(course.plan.stops[0], delivery.deadline)
        waited = trio.current_time() - delivery.started_at
        self._streams.admission.refused(demand, AdmissionOutcome.REJECTED_BUDGET, waited)

    def _deadline_error(self) -> EngineError:
        course, delivery = self._course, self._delivery
        if delivery.callers_scope:
            return _cancelled_by_caller()
        if delivery.admitted_at is None:
            demand = course.demand(course.plan.stops[0], delivery.deadline)
            return QueueDeadlineError(self._streams.admission.deadline_message(demand))
        msg = (
            f"{course.model}: the deadline passed after "
            f"{trio.current_time() - delivery.started_at:.3f} s, while waiting for "
            f"{delivery.waiting_for or 'the consumer'}; allow more time with timeout= or deadline="
        )
        return DeadlineError(msg)


def _cancelled_by_caller() -> StreamCancelledError:
    return StreamCancelledError("the cancel scope around the caller has ended")
