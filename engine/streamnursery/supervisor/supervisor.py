"""What runs the requests of an engine."""

from collections.abc import Awaitable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs

from streamnursery.core.recovery.next_step import Position
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.parts import SupervisorParts
from streamnursery.supervisor.request import RequestRun


@attrs.define(eq=False)
class Supervisor(SupervisorParts):
    """Runs requests, any number at once."""

    def run(self, delivery: Delivery, course: Course) -> Awaitable[None]:
        """Bring the request to its answer, all of it put into the delivery.

        Raises:
            EngineError: what ended the request.
        """
        return self.run_in(nullcontext(), delivery, course)

    def run_in(
        self, task: AbstractContextManager[object], delivery: Delivery, course: Course
    ) -> Coroutine[Any, Any, None]:
        """The same inside of `task`, as all that the stream's task does. Without a deadline that
        counts to the last event taken, it is over with the answer; with one when that is known."""
        return RequestRun(self, delivery, course, Position(course.plan)).run(task)
