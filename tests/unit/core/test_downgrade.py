"""Where a request goes that has waited too long in a queue."""

import attrs
import pytest

from streamnursery.core.recovery.next_step import Position
from streamnursery.core.routing.downgrade import downgrade
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Route


def stop(name: str, model: str) -> PlannedRoute:
    return PlannedRoute(Route(name, model), model, Role.PRIMARY, name, Retries(), Patience())


FIRST, BACKUP, OTHER, THIRD = stop("a", "m"), stop("b", "m"), stop("c", "n"), stop("d", "o")
PLAN = RoutePlan("m", (FIRST, BACKUP, OTHER, THIRD))


def test_the_next_model_is_asked_and_never_a_backup_of_the_same_one() -> None:
    step = downgrade(Position(PLAN), lambda _: False)
    assert step is not None
    assert (step.position.stop, step.why, step.cost) == (OTHER, "queue", 0.0)


@pytest.mark.parametrize(
    ("dearer", "barred", "goes"),
    [
        ({"n"}, set(), THIRD),
        ({"n", "o"}, set(), None),
        (set(), {"c"}, THIRD),
        (set(), {"c", "d"}, None),
    ],
)
def test_dearer_models_and_barred_accounts_are_passed(
    dearer: set[str], barred: set[str], goes: PlannedRoute | None
) -> None:
    position = Position(PLAN, barred=frozenset(barred))
    step = downgrade(position, lambda stop: stop.model in dearer)
    assert (step.position.stop if step else None) == goes


def test_a_model_may_allow_dearer_ones() -> None:
    plan = RoutePlan("m", (attrs.evolve(FIRST, downgrade_to_higher_price=True), OTHER))
    step = downgrade(Position(plan), lambda _: True)
    assert step is not None
    assert step.position.stop == OTHER


def test_the_last_model_has_nowhere_to_go() -> None:
    assert downgrade(Position(PLAN, at=3), lambda _: False) is None
