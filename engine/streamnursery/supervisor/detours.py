"""Where a request goes instead, before anything of it was sent: for money, or for want of slots."""

from collections.abc import Coroutine
from math import inf

import trio

from streamnursery.core.recovery.next_step import NextRoute, Position
from streamnursery.core.routing.downgrade import downgrade
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.ports import Admission, AttemptLease, Money
from streamnursery.values.demand import Demand


def cheaper_step(
    money: Money, course: Course, delivery: Delivery, position: Position
) -> NextRoute | None:
    """To a cheaper model of the plan, where a soft budget is nearly spent."""
    stops = course.plan.stops
    if len(stops) == 1:
        return None
    choices = [(course.demand(stop, delivery.deadline), stop.route) for stop in stops]
    at = money.cheaper(delivery.request, choices)
    if at is None:
        return None
    return NextRoute("budget", position.moved_to(at, position.barred), 0.0)


def queueing(
    admission: Admission,
    money: Money,
    course: Course,
    delivery: Delivery,
    position: Position,
    demand: Demand,
) -> Coroutine[None, None, AttemptLease | NextRoute]:
    """The wait for a lease, which is to be awaited. No coroutine of its own, since thousands wait
    and each frame counts."""
    if position.stop.downgrade_after is None or delivery.committed:
        return admission.acquire(demand)
    return _lease_or_step(admission, money, course, delivery, position, demand)


async def _lease_or_step(
    admission: Admission,
    money: Money,
    course: Course,
    delivery: Delivery,
    position: Position,
    demand: Demand,
) -> AttemptLease | NextRoute:
    """A lease for `demand`, or where to go when the wait for the route gets too long."""
    stop = position.stop

    def dearer(other: PlannedRoute) -> bool:
        there = (course.demand(other, delivery.deadline), other.route)
        return money.dearer(delivery.request, (demand, stop.route), there)

    step = downgrade(position, dearer)
    seconds = inf if step is None or stop.downgrade_after is None else stop.downgrade_after
    with trio.move_on_after(seconds):
        return await admission.acquire(demand)
    assert step is not None
    return step
