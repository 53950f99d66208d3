"""What runs the requests of an engine."""

import random
from collections.abc import Awaitable, Callable, Mapping

import attrs

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.next_step import Position
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.ports import Admission, Money, Recorder
from streamnursery.supervisor.request import RequestRun
from streamnursery.supervisor.routes import Routes
from streamnursery.values.http import Header


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
    trace_headers: Callable[[int, int, str], tuple[Header, ...]] | None = None
    """Headers for an attempt of a request, by their numbers and its route; for endpoints that say
    `propagate`."""
    routes: Routes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.routes = Routes(self.dice, self.recorder)

    def run(self, delivery: Delivery, course: Course) -> Awaitable[None]:
        """Bring the request to its answer, all of it put into the delivery.

        Raises:
            EngineError: what ended the request.
        """
        return RequestRun(self, delivery, course, Position(course.plan)).run()
