"""Where a request goes that has waited too long in a model's queue.

Rule 1: to the next model of its plan, and forwards only: it does not come back.
Rule 2: never to one that costs more, unless the model it leaves allows that.
Rule 3: only before anything was delivered. Another model gives another answer.
"""

from collections.abc import Callable

from streamnursery.core.recovery.next_step import NextRoute, Position
from streamnursery.core.routing.route_plan import PlannedRoute

WHY = "queue"


def downgrade(position: Position, dearer: Callable[[PlannedRoute], bool]) -> NextRoute | None:
    """The step to the first stop of another model that may be used; None: there is none."""
    here = position.stop
    for at in range(position.at + 1, len(position.plan.stops)):
        stop = position.plan.stops[at]
        if stop.model == here.model or stop.account in position.barred:
            continue
        if here.downgrade_to_higher_price or not dearer(stop):
            return NextRoute(WHY, position.moved_to(at, position.barred), 0.0)
    return None
