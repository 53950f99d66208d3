"""The routes of an engine and what all its requests share there: gates, retry budgets, the queue
in front of a closed gate."""

import random
from functools import partial

import attrs
import trio

from streamnursery.core.recovery.breaker import Circuit
from streamnursery.core.recovery.circuit_gate import CircuitGate, Closed
from streamnursery.core.recovery.retry_budget import RetryBudget
from streamnursery.core.routing.route_plan import PlannedRoute, RoutePlan
from streamnursery.supervisor.ports import Recorder
from streamnursery.values.errors import (
    EngineError,
    OverloadedError,
    RateLimitedError,
    ServerError,
)
from streamnursery.values.lifecycle import CircuitChanged
from streamnursery.values.refused import MANY_AT_ONCE
from streamnursery.values.settings import Route

_MOST_SCRIPTED = 200
"""Gates of simulated models with scripts."""


@attrs.define(eq=False)
class Routes:
    """Made as they are used."""

    dice: random.Random
    recorder: Recorder
    gates: dict[Route, CircuitGate] = attrs.field(factory=dict, init=False)
    budgets: dict[str, RetryBudget] = attrs.field(factory=dict, init=False)
    _silent: dict[str, tuple[EngineError, float, float]] = attrs.field(factory=dict, init=False)
    """Endpoints whose last heartbeat failed: why, when, and when the next one comes."""
    _at_gates: int = attrs.field(default=0, init=False)
    _waiting: dict[Route, trio.lowlevel.ParkingLot] = attrs.field(factory=dict, init=False)
    """Those who wait for a route to open."""

    def gate(self, route: Route) -> CircuitGate:
        gate = self.gates.get(route)
        if gate is None:
            if "?" in route.model:
                self._make_room()
            gate = self.gates[route] = CircuitGate(offset=self.dice.random())
            gate.breaker.on_change = partial(self._tell, route, gate)
            if route.endpoint in self._silent:
                error, at, until = self._silent[route.endpoint]
                gate.on_heartbeat(error, at, until)
        return gate

    def _make_room(self) -> None:
        """A simulated model with a script is a model by itself, whose faults say nothing of the
        others. There may be any number of scripts, so the oldest gates go."""
        scripted = [route for route in self.gates if "?" in route.model]
        for route in scripted[: max(0, len(scripted) - _MOST_SCRIPTED + 1)]:
            del self.gates[route]

    def on_heartbeat(
        self, endpoint: str, error: EngineError | None, now: float, until: float
    ) -> None:
        """What a heartbeat of `endpoint` found, for all of its routes; the next one comes at
        `until`."""
        if error is None:
            self._silent.pop(endpoint, None)
        else:
            self._silent[endpoint] = error, now, until
        for route, gate in self.gates.items():
            if route.endpoint == endpoint:
                gate.on_heartbeat(error, now, until)
                if gate.peek(now) is None and route in self._waiting:
                    # As many as it lets through; the others come at their own dates.
                    self._waiting[route].unpark(count=gate.policy.probes)

    def _tell(self, route: Route, gate: CircuitGate, circuit: Circuit, now: float) -> None:
        if self.recorder.listening:
            until = None if circuit is Circuit.CLOSED else gate.breaker.retry_at(now)
            about = (now, 0, route.model, str(route), circuit.value, until)
            self.recorder.emit(CircuitChanged(*about))

    def budget(self, endpoint: str) -> RetryBudget:
        budget = self.budgets.get(endpoint)
        if budget is None:
            budget = self.budgets[endpoint] = RetryBudget()
        return budget

    def budget_left(self, plan: RoutePlan, now: float) -> dict[str, float]:
        """Retries left at every endpoint of `plan`, in tokens."""
        return {stop.endpoint: self.budget(stop.endpoint).level(now) for stop in plan.stops}

    async def wait_at_gate(self, route: Route, seconds: float, max_waiting: int) -> None:
        """Those who wait for a closed route count as a queue, with the queue's bound. A heartbeat
        that is answered ends the wait of the first ones.

        Raises:
            OverloadedError: `max_waiting` wait already.
        """
        if self._at_gates >= max_waiting:
            msg = (
                f"{self._at_gates} requests wait already for routes to open again, the limit is "
                f"max_queued = {max_waiting}; {MANY_AT_ONCE}"
            )
            raise OverloadedError(msg)
        self._at_gates += 1
        lot = self._waiting.setdefault(route, trio.lowlevel.ParkingLot())
        try:
            with trio.move_on_after(seconds):
                await lot.park()
        finally:
            self._at_gates -= 1
            if not lot and self._waiting.get(route) is lot:
                del self._waiting[route]


def closed_error(stop: PlannedRoute, closed: Closed, now: float) -> EngineError:
    """The error of a request that could not be sent anywhere."""
    wait = closed.opens_at - now
    if closed.paused:
        msg = f"{stop.route} asked everybody to wait; it may be used again in {wait:.3g} s"
        error: EngineError = RateLimitedError(msg, retry_after=wait)
    else:
        msg = f"{stop.route} has been failing and is left alone for another {wait:.3g} s"
        error = ServerError(msg, retry_after=wait)
    error.endpoint = stop.endpoint
    return error
