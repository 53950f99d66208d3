"""What runs the requests of an engine."""

from collections.abc import Awaitable

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
        return RequestRun(self, delivery, course, Position(course.plan)).run()
