"""What the requests of an engine have in common."""

import random
from collections.abc import Callable, Mapping

import attrs
import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.ports import Admission, Money, Recorder
from streamnursery.supervisor.routes import Routes
from streamnursery.values.http import Header


@attrs.define(eq=False)
class SupervisorParts:
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
    current_time: Callable[[], float] = attrs.field(init=False)
    """That of the run that this was made in; asked for many times a request."""

    def __attrs_post_init__(self) -> None:
        self.current_time = trio.lowlevel.current_clock().current_time
        self.routes = Routes(self.dice, self.recorder)
