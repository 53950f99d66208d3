"""One request: its attempts, and the one outcome they come to."""

from collections.abc import Callable, Mapping
from math import inf

import attrs
import trio

from engine.core.meter import Meter
from engine.core.patience import PatienceClock
from engine.pipeline.delivery import Delivery
from engine.supervisor.attempt import Attempt
from engine.supervisor.endpoint import Outlet
from engine.supervisor.ports import Admission
from engine.values.errors import EngineError
from engine.values.policy import Patience
from engine.values.settings import Route


@attrs.frozen
class Course:
    """What a request may do, decided when it was accepted."""

    model: str
    """The name that limits and statistics go by."""
    routes: tuple[Route, ...]
    patience: Patience
    rank: tuple[int, int]
    meter: Meter


@attrs.frozen
class Supervisor:
    """Runs the attempts of every request of an engine."""

    admission: Admission
    outlets: Mapping[str, Outlet]
    wall: Callable[[], float]

    async def run(self, delivery: Delivery, course: Course) -> None:
        """Bring the request to its answer, all of it put into the delivery.

        Raises:
            EngineError: what ended the request.
        """
        delivery.waiting_for = self.admission.binding_limit(course.model)
        lease = await self.admission.acquire(course.model, course.rank, delivery.deadline)
        try:
            now = trio.current_time()
            if delivery.admitted_at is None:
                delivery.admitted_at = now
                course.meter.queue_time.add(now - delivery.started_at)
            await self._attempt(delivery, course, course.routes[0])
        finally:
            lease.release()

    async def _attempt(self, delivery: Delivery, course: Course, route: Route) -> None:
        delivery.route = str(route)
        attempt = Attempt(
            number=len(delivery.attempts) + 1,
            route=route,
            outlet=self.outlets[route.endpoint],
            delivery=delivery,
            clock=PatienceClock(course.patience, _total(delivery, course)),
            meter=course.meter,
            wall_time=self.wall(),
        )
        try:
            await attempt.run()
        except EngineError as error:
            delivery.attempts.append(attempt.record(error))
            raise


def _total(delivery: Delivery, course: Course) -> float:
    total = course.patience.total
    if total is None:
        return inf
    if total == "auto":
        return course.meter.expected_total(delivery.request.max_tokens)
    return total
