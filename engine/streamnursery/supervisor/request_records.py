"""What observers, the statistics and the stream get of one request."""

from collections.abc import Mapping

import attrs
import trio

from streamnursery.core.recovery.next_step import Position
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.attempt import Attempt
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.ports import Recorder
from streamnursery.values.events import Rerouted
from streamnursery.values.lifecycle import Admitted, Hedged, Interrupted, Retrying, RouteChanged
from streamnursery.values.policy import OnInterrupt
from streamnursery.values.returned import foreign_kinds
from streamnursery.values.settings import Route


def admitted(
    recorder: Recorder, delivery: Delivery, course: Course, now: float, queued_at: float
) -> None:
    """An attempt has its slots and its money: what happens to every request."""
    if delivery.admitted_at is None:
        delivery.admitted_at = now
        course.meter.queue_time.add(now - delivery.started_at)
    if recorder.listening:
        recorder.emit(Admitted(now, course.number, course.model, now - queued_at))


@attrs.frozen
class RequestRecords:
    """A method for each thing that happens to a request besides its attempts, which `Booking`
    records."""

    recorder: Recorder
    delivery: Delivery
    course: Course
    outlets: Mapping[str, Outlet]

    def interrupted(self, how: OnInterrupt, why: str) -> None:
        now, course = trio.current_time(), self.course
        self.recorder.emit(Interrupted(now, course.number, course.model, how, why))

    def retrying(self, now: float, after: float, why: str, position: Position) -> None:
        course, most = self.course, position.stop.retries.attempts
        of = (after, why, position.attempts + 1, most)
        self.recorder.emit(Retrying(now, course.number, course.model, *of))
        self.delivery.waits = f"the end of a backoff of {after:.3g} s after {why}"

    def hedged(self, attempt: Attempt, delay: float) -> None:
        course, now = self.course, trio.current_time()
        course.meter.hedges += 1
        route = str(attempt.stop.route)
        self.recorder.emit(Hedged(now, course.number, course.model, attempt.number, route, delay))

    def rerouted(self, left: Route, stop: PlannedRoute, why: str) -> None:
        course = self.course
        course.meter.reroutes += 1
        source, target = str(left), str(stop.route)
        outlet = self.outlets.get(stop.endpoint)
        dropped = (
            ()
            if outlet is None
            else foreign_kinds(self.delivery.request.messages, outlet.dialect.name)
        )
        about = (trio.current_time(), course.number, course.model)
        self.recorder.emit(RouteChanged(*about, source, target, why))
        self.delivery.put([Rerouted(source, target, why, dropped)], 0)
