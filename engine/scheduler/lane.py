"""A lane: one model at one endpoint, and every limit that its requests need at once.

Two lanes share a limit by holding the same object. A lane that finds a limit exhausted is parked
there, and looked at again when that limit has room: until then it costs the others nothing.
"""

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from engine.scheduler.limiter import UNLIMITED, Slots
from engine.values.demand import Demand

LaneKey: TypeAlias = tuple[str, str | None]
"""(model, endpoint)"""


@attrs.define(eq=False)
class Limit:
    """Slots with a name, and the lanes that wait for one of them."""

    name: str
    """In words: "of model 'x'"."""
    slots: Slots
    parked: dict["Lane", None] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return f"a slot {self.name} ({self.slots.taken} of {self.slots.max_slots} taken)"


@attrs.frozen(eq=False)
class Lane:
    """The limits that hold for one model at one endpoint, the global one apart."""

    key: LaneKey
    limits: tuple[Limit, ...]

    def blocked_by(self) -> Limit | None:
        """The first limit without room; None: there is room in all of them."""
        for limit in self.limits:
            if not limit.slots.free:
                return limit
        return None

    def take(self, holder: object) -> None:
        """A slot of each limit, after `blocked_by` said None in the same task step."""
        for limit in self.limits:
            limit.slots.take_nowait(holder)

    def give_back(self, holder: object) -> None:
        for limit in self.limits:
            limit.slots.give_back(holder)


class Lanes:
    """Every lane that was used, and the limits that they share."""

    def __init__(
        self,
        *,
        default_max_streams: int,
        model_max_streams: Mapping[str, int],
        endpoint_max_streams: Mapping[str, int],
    ) -> None:
        self.default_max_streams = default_max_streams
        self._models = {name: _of_model(name, n) for name, n in model_max_streams.items()}
        self._endpoints = {name: _of_endpoint(name, n) for name, n in endpoint_max_streams.items()}
        self._lanes: dict[LaneKey, Lane] = {}
        self._of: dict[str, list[Lane]] = {}

    def lane(self, demand: Demand) -> Lane:
        """Where `demand` waits and what it takes."""
        key = (demand.model, demand.endpoint)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._limits(demand))
            self._of.setdefault(demand.model, []).append(lane)
        return lane

    def of_model(self, model: str) -> list[Lane]:
        """The lanes that lead to `model`; only those that were used."""
        return self._of.get(model, [])

    def model(self, name: str) -> Limit:
        """The model's slots; a model nobody has named gets the default limit."""
        limit = self._models.get(name)
        if limit is None:
            limit = self._models[name] = _of_model(name, self.default_max_streams)
        return limit

    def endpoint(self, name: str) -> Limit:
        """The endpoint's slots, of which there is no end unless somebody set a limit."""
        limit = self._endpoints.get(name)
        if limit is None:
            limit = self._endpoints[name] = _of_endpoint(name, UNLIMITED)
        return limit

    def _limits(self, demand: Demand) -> tuple[Limit, ...]:
        model = self.model(demand.model)
        return (model,) if demand.endpoint is None else (model, self.endpoint(demand.endpoint))


def _of_model(name: str, max_streams: int) -> Limit:
    return Limit(f"of model {name!r}", Slots(max_streams))


def _of_endpoint(name: str, max_streams: int) -> Limit:
    return Limit(f"of endpoint {name!r}", Slots(max_streams))
