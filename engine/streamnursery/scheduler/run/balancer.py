"""Which route of a model goes first, where the configuration asks for the less loaded one.

Rule 1: it only listens: loads are made of the records that every observer gets. With "prefix" they
        are the requests that were sent to each route lately.
Rule 2: the other routes follow in their own order, as backups.
"""

from collections.abc import Callable, Mapping

import trio

from streamnursery.core.routing.peak_ewma import PeakEwma, pick_of_two
from streamnursery.core.routing.prefix_affinity import PrefixAffinity, prefixes
from streamnursery.values.keys import base_name
from streamnursery.values.lifecycle import AttemptEnded, AttemptStarted, FirstToken, LifecycleRecord
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import ModelSettings, Route


class Balancer:
    """The loads of the routes of models with `balance = "p2c"`, and the prefixes of those with
    `balance = "prefix"`."""

    def __init__(self, dice: Callable[[], float]) -> None:
        self._balanced: set[str] = set()
        self._prefixes: dict[str, PrefixAffinity] = {}
        self.loads: dict[str, PeakEwma] = {}
        """By route, as text."""
        self._dice = dice
        self._waiting: dict[tuple[int, int], tuple[str, float]] = {}

    def apply_config(self, models: Mapping[str, ModelSettings]) -> None:
        """Balance these from now on; what is known of routes that stay is kept."""
        self._balanced = {
            name for name, model in models.items() if model.balance == "p2c" and model.routes
        }
        names = [n for n, model in models.items() if model.balance == "prefix" and model.routes]
        self._prefixes = {name: self._prefixes.get(name) or PrefixAffinity() for name in names}
        routes = [str(route) for name in self._balanced for route in models[name].routes]
        self.loads = {route: self.loads.get(route) or PeakEwma() for route in routes}

    def __bool__(self) -> bool:
        """Whether any model is balanced."""
        return bool(self._balanced or self._prefixes)

    def by_prefix(self, model: str) -> bool:
        """Whether it is balanced by what was seen of a prompt."""
        return model in self._prefixes

    def order(
        self, model: str, routes: tuple[Route, ...], request: ChatRequest | None = None
    ) -> tuple[Route, ...]:
        """`routes` with the one to begin with first."""
        affinity = self._prefixes.get(model)
        if affinity is not None and request is not None and len(routes) > 1:
            names = [str(route) for route in routes]
            chosen = affinity.choose(names, prefixes(request), trio.current_time())
            first = routes[names.index(chosen)]
            return (first, *(route for route in routes if route != first))
        if model not in self._balanced or len(routes) < 2:
            return routes
        now = trio.current_time()
        first = pick_of_two(routes, lambda r: self.loads[str(r)].load(now), self._dice)
        return (first, *(route for route in routes if route != first))

    def observe(self, record: LifecycleRecord) -> None:
        """An observer of the engine's own."""
        if isinstance(record, AttemptStarted):
            endpoint, _, model = record.route.partition("/")
            route = f"{base_name(endpoint)}/{model}"
            if route in self.loads:
                self.loads[route].pending += 1
                self._waiting[record.request, record.attempt] = (route, record.at)
        elif isinstance(record, FirstToken):
            self._answered(record.request, record.attempt, record.at)
        elif isinstance(record, AttemptEnded):
            self._answered(record.request, record.record.number, record.at)

    def _answered(self, request: int, attempt: int, now: float) -> None:
        """The first token came, or will not: a failure counts with the time that it took."""
        route, started_at = self._waiting.pop((request, attempt), ("", 0.0))
        load = self.loads.get(route)
        if load is not None:
            load.pending -= 1
            load.add(now - started_at, now)
