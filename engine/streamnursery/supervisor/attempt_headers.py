"""The headers that one request adds to an endpoint's: its own, and an idempotency key."""

import random

from streamnursery.core.routing.route_plan import RoutePlan
from streamnursery.values.http import Header
from streamnursery.values.request import ChatRequest, headers_at
from streamnursery.values.settings import Route


class AttemptHeaders:
    """One idempotency key for every attempt at a route: a provider may have done what seemed to
    fail."""

    __slots__ = ("_dice", "_first", "_keys", "_request")

    def __init__(self, request: ChatRequest, plan: RoutePlan, dice: random.Random) -> None:
        self._request = request
        self._first = plan.stops[0].route.endpoint
        self._dice = dice
        self._keys: tuple[tuple[Route, Header], ...] = ()
        """Mostly one, so no dictionary."""

    def of(self, route: Route, *, fresh: bool = False) -> tuple[Header, ...]:
        """For an attempt at `route`; `fresh` gives another key, for one beside the others."""
        key = self._fresh() if fresh else self._key(route)
        if not self._request.headers:
            return (key,)
        return (key, *headers_at(self._request, route.endpoint, self._first))

    def _key(self, route: Route) -> Header:
        for known, key in self._keys:
            if known == route:
                return key
        key = self._fresh()
        self._keys = (*self._keys, (route, key))
        return key

    def _fresh(self) -> Header:
        return ("idempotency-key", f"sn-{self._dice.getrandbits(128):032x}")
