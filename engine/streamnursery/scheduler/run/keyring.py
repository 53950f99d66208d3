"""Which key of an endpoint goes first: the one that is least used, of those that do not rest.

Rule 1: a key that was refused (401), that its command did not print, or whose quota is spent,
        rests for a minute: it comes last.
Rule 2: it only listens: what became of a key is taken from the records that every observer gets.
"""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from streamnursery.values.errors import AuthError, QuotaError
from streamnursery.values.keys import names_of
from streamnursery.values.lifecycle import AttemptEnded, LifecycleRecord
from streamnursery.values.settings import Endpoint, Route

REST: Final = 60.0
"""Seconds."""
_UNAUTHORIZED = 401


class Keyring:
    """The keys of the endpoints that have several."""

    def __init__(self) -> None:
        self.used: Callable[[str], int] = _nothing
        """Slots that are taken of the endpoint that a key is."""
        self.closed: Callable[[Route], bool] = _open
        """Whether a route may not be used now."""
        self._names: dict[str, tuple[str, ...]] = {}
        self._endpoints: Mapping[str, Endpoint] = {}
        self._rests: dict[str, float] = {}
        """Until when, by the endpoint that a key is."""
        self._chosen: dict[str, int] = {}
        """The latest turn in which it went first."""
        self._turn = 0

    def apply_config(self, endpoints: Mapping[str, Endpoint]) -> None:
        """The keys of a configuration; those that rest go on resting, unless they were replaced."""
        self._names = {name: names_of(e) for name, e in endpoints.items() if e.more_keys}
        known = {name for names in self._names.values() for name in names}
        same = {name for name in known if endpoints.get(name) == self._endpoints.get(name)}
        self._rests = {name: until for name, until in self._rests.items() if name in same}
        self._endpoints = endpoints

    def __bool__(self) -> bool:
        """Whether any endpoint has several."""
        return bool(self._names)

    def spread(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """`routes` with one for each key in the place of each."""
        if not self._names:
            return routes
        return tuple(one for route in routes for one in self._by_key(route))

    def ready(self, routes: tuple[Route, ...]) -> tuple[list[Route], list[Route]]:
        """The same, parted into those that may be used now and those that rest or are closed."""
        spread, now = self.spread(routes), trio.current_time()
        late = [one for one in spread if any(self._place(one, now)[:2])]
        return [one for one in spread if one not in late], late

    def _by_key(self, route: Route) -> list[Route]:
        found = [Route(name, route.model) for name in self._names.get(route.endpoint, ())]
        if not found:
            return [route]
        now = trio.current_time()
        found.sort(key=lambda one: self._place(one, now))
        self._turn += 1
        self._chosen[found[0].endpoint] = self._turn
        return found

    def _place(self, route: Route, now: float) -> tuple[float, bool, int, int]:
        name = route.endpoint
        until = self._rests.get(name, 0.0)
        rest = until if until > now else 0.0
        # Requests that are planned in one instant have taken nothing yet: they take turns.
        return rest, self.closed(route), self.used(name), self._chosen.get(name, 0)

    def observe(self, record: LifecycleRecord) -> None:
        """An observer of the engine's own."""
        if not isinstance(record, AttemptEnded):
            return
        name, error = record.record.route.partition("/")[0], record.record.error
        refused = isinstance(error, AuthError) and error.status in (_UNAUTHORIZED, None)
        if refused or isinstance(error, QuotaError):
            self._rests[name] = record.at + REST
        elif error is None:
            self._rests.pop(name, None)


def _nothing(_: str) -> int:
    return 0


def _open(_: Route) -> bool:
    return False
