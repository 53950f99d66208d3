"""A lane: one model at one endpoint, and every limit that its requests need at once. Requests of a
tenant with limits of its own have lanes of their own.

Rule 1: two lanes share a limit by holding the same object. A lane that finds a limit exhausted is
        parked there, and looked at again when that limit has room or its date comes: until then
        it costs the others nothing.
Rule 2: a request that waits for units per minute has a claim on the limit that is short of them:
        others of no more urgent a priority do not take what it waits for. A claim holds nothing,
        ends with the date at the latest, and a request that waits for a slot as well gives it up.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Protocol, TypeAlias

import attrs
import trio

from streamnursery.core.limits.adaptive import AdaptiveLimit
from streamnursery.core.limits.lane_order import NO_GROUP, Share
from streamnursery.core.limits.learned_rates import LearnedRates, Underway
from streamnursery.core.limits.rate_buckets import RateBuckets, RateReservation, Shortage
from streamnursery.scheduler.admission.slots import UNLIMITED, Slots
from streamnursery.values.demand import Demand
from streamnursery.values.policy import Adaptive
from streamnursery.values.rates import Rates
from streamnursery.values.tenant import Group, Tenant

_AFTER_429 = 0.9
"""Of the streams that a route had when it gave its first 429, so many it has afterwards."""

LaneKey: TypeAlias = tuple[str, str | None, str | None]
"""(model, endpoint, tenant); of a tenant only where it has limits of its own."""


@attrs.define(eq=False)
class LaneLimit:
    """What one model or one endpoint allows, and the lanes that wait for it."""

    name: str
    """In words: "of model 'x'"."""
    slots: Slots
    rates: RateBuckets | LearnedRates
    parked: dict["Lane", None] = attrs.field(factory=dict)
    adaptive: AdaptiveLimit | None = None
    """What the slots follow; of routes only."""
    claimant: "Lane | None" = None
    claim_priority: int = 0

    def claimed_before(self, lane: "Lane", demand: Demand) -> bool:
        """Whether another request has a claim that `demand` may not pass."""
        return self.claimant not in (None, lane) and demand.rank[0] >= self.claim_priority


@attrs.frozen
class Blocked:
    """Why a demand cannot have what it needs now."""

    limit: LaneLimit
    shortage: Shortage | None = None
    """Units per minute that are missing; None: a slot is, or another lane has a claim."""

    @property
    def date(self) -> float:
        """When it may pass if no other comes before it; `inf`: not known, or never."""
        return inf if self.shortage is None else self.shortage.date

    def __str__(self) -> str:
        limit = self.limit
        if self.shortage is not None:
            return f"{self.shortage} {limit.name}"
        if limit.slots.free:
            return f"a share of the rates {limit.name}, behind a larger request"
        return f"a slot {limit.name} ({limit.slots.taken} of {limit.slots.max_slots} taken)"


@attrs.define(eq=False)
class Lane:
    """The limits that hold for one model at one endpoint, the global one apart."""

    key: LaneKey
    limits: tuple[LaneLimit, ...]
    """The model's, its groups', the tenant's, the endpoint's, and those of model and endpoint."""
    route: LaneLimit | None = None
    """The last of them, which is learned; None where there is no endpoint."""
    share: Share = NO_GROUP
    """The group with a weight that it competes for."""
    claims: bool = attrs.field(default=False, init=False)
    """Whether it has a claim at one of its limits."""

    def blocked_by(self, demand: Demand, now: float) -> Blocked | None:
        """The limit that `demand` would wait for; None: there is room in all of them."""
        for limit in self.limits:
            if limit.slots.taken >= limit.slots.limit:
                return Blocked(limit)
        worst: Blocked | None = None
        for limit in self.limits:
            if limit.rates.buckets:
                shortage = limit.rates.shortage(demand, now)
                if shortage is not None and (worst is None or shortage.date > worst.date):
                    worst = Blocked(limit, shortage)
                if worst is None and limit.claimed_before(self, demand):
                    return Blocked(limit)
        return worst

    def claim(self, demand: Demand, now: float) -> None:
        """Keep what `demand` is short of from requests of the same or a lower priority."""
        for limit in self.limits:
            if limit.claimed_before(self, demand) or limit.rates.shortage(demand, now) is None:
                continue
            limit.claimant, limit.claim_priority = self, demand.rank[0]
            self.claims = True

    def unclaim(self) -> list[LaneLimit]:
        """Give up every claim; the limits at which others may pass now."""
        mine = [limit for limit in self.limits if limit.claimant is self]
        for limit in mine:
            limit.claimant = None
        self.claims = False
        return mine

    def take(
        self, holder: object, demand: Demand, now: float
    ) -> tuple[list[Slots], list[RateReservation | Underway]]:
        """All that `demand` needs, after `blocked_by` said None in the same task step."""
        slots: list[Slots] = []
        reserved: list[RateReservation | Underway] = []
        for limit in self.limits:
            if limit is not self.route or limit.adaptive is not None:
                limit.slots.take_nowait(holder, now)
                slots.append(limit.slots)
            if limit.rates.buckets or limit is self.route:
                reserved += limit.rates.reserve(demand, now)
        return slots, reserved


class Holder(Protocol):
    """Something that holds slots."""

    slots: Sequence[Slots]


class LaneTable:
    """Every lane that was used, and the limits that they share."""

    def __init__(
        self,
        *,
        default_max_streams: int,
        model_max_streams: Mapping[str, int],
        endpoint_max_streams: Mapping[str, int],
        model_rates: Mapping[str, Rates],
        endpoint_rates: Mapping[str, Rates],
        adaptive: Mapping[str, Adaptive],
        groups: Mapping[str, Group],
        tenants: Mapping[str, Tenant],
    ) -> None:
        self.default_max_streams = default_max_streams
        self._models = {
            name: _limit("model", name, model_max_streams.get(name, default_max_streams), rates)
            for name, rates in _both(model_max_streams, model_rates).items()
        }
        self._endpoints = {
            name: _limit("endpoint", name, endpoint_max_streams.get(name, UNLIMITED), rates)
            for name, rates in _both(endpoint_max_streams, endpoint_rates).items()
        }
        self._groups: dict[str, tuple[Group, LaneLimit]] = {}
        self.state_groups(groups)
        self._tenants: dict[str, LaneLimit] = {}
        self.state_tenants(tenants)
        for limit, value in self.shared(tenants, groups):
            limit.slots = Slots(UNLIMITED if value.max_streams is None else value.max_streams)
            limit.rates = RateBuckets(value.rates)
        self.stated = {*model_max_streams, *adaptive}
        """Models whose slots were set: they stay as they are whatever the provider says."""
        self._adaptive = dict(adaptive)
        for name in adaptive:
            self.model(name).slots.max_slots = UNLIMITED
        self._lanes: dict[LaneKey, Lane] = {}
        self._routes: dict[tuple[str, str], LaneLimit] = {}
        self._of: dict[str, list[Lane]] = {}

    def lane(self, model: str, endpoint: str | None, tenant: str = "") -> Lane:
        """Where a demand of `tenant` for `model` at `endpoint` waits and what it takes."""
        key = (model, endpoint, tenant if tenant in self._tenants else None)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._new(key)
            self._of.setdefault(model, []).append(lane)
        return lane

    def _new(self, key: LaneKey) -> Lane:
        model, endpoint, tenant = key
        limits = [self.model(model)]
        limits += [limit for group, limit in self._groups.values() if group.has(model)]
        limits += [] if tenant is None else [self._tenants[tenant]]
        if endpoint is None:
            return Lane(key, tuple(limits), share=self._share(model))
        route = self._route(model, endpoint)
        limits += [self.endpoint(endpoint), route]
        return Lane(key, tuple(limits), route, self._share(model))

    def _share(self, model: str) -> Share:
        """That of the first of its groups that has a weight."""
        groups = ((name, g.weight) for name, (g, _) in self._groups.items() if g.has(model))
        return next(((name, w) for name, w in groups if w is not None), NO_GROUP)

    @property
    def weighted(self) -> bool:
        """Whether any group has a weight."""
        return any(group.weight is not None for group, _ in self._groups.values())

    def _route(self, model: str, endpoint: str) -> LaneLimit:
        """One for the lanes of all tenants."""
        route = self._routes.get((model, endpoint))
        if route is None:
            name = f"that endpoint {endpoint!r} states for model {model!r}"
            route = LaneLimit(name, Slots(UNLIMITED), LearnedRates())
            self._routes[model, endpoint] = route
            adapt(route, self._adaptive.get(model))
        return route

    def state_tenants(self, tenants: Mapping[str, Tenant]) -> bool:
        """Give limits to those that have none and should; whether there were any."""
        made = [self.limit_tenant(name) for name, one in tenants.items() if one.limited]
        return any(made)

    def limit_tenant(self, name: str) -> bool:
        """Let a tenant have limits, of nothing at first; whether it had none before."""
        if name in self._tenants:
            return False
        self._tenants[name] = _limit("tenant", name, UNLIMITED, Rates())
        return True

    def state_groups(self, groups: Mapping[str, Group]) -> bool:
        """Have these groups and no others; whether other limits or weights hold for a model now."""
        before = self._groups
        self._groups = {}
        for name, group in groups.items():
            limit = before[name][1] if name in before else None
            limit = limit or _limit("group", name, UNLIMITED, Rates())
            self._groups[name] = (group, limit)
        now, then = (
            [(name, group.models, group.weight) for name, (group, _) in table.items()]
            for table in (self._groups, before)
        )
        return now != then

    def shared(
        self, tenants: Mapping[str, Tenant], groups: Mapping[str, Group]
    ) -> list[tuple[LaneLimit, Tenant | Group]]:
        """The limits of tenants and groups, each with what it should allow."""
        of_tenants = [(one, tenants.get(name, Tenant())) for name, one in self._tenants.items()]
        return [*of_tenants, *((limit, groups[name]) for name, (_, limit) in self._groups.items())]

    def forget(self) -> None:
        """Make every lane anew when it is used. Who holds a lease keeps its lane."""
        self._lanes.clear()
        self._of.clear()

    def routes_of(self, model: str) -> list[LaneLimit]:
        """What is learned of the model's routes."""
        return [route for (name, _), route in self._routes.items() if name == model]

    def set_adaptive(self, model: str, policy: Adaptive | None) -> None:
        """Let the slots of the model's routes follow the provider, or no longer."""
        before = self._adaptive.get(model)
        if policy is None:
            self._adaptive.pop(model, None)
        else:
            self._adaptive[model] = policy
        if policy != before:
            for route in self.routes_of(model):
                adapt(route, policy)

    def begin_to_adapt(self, lane: Lane, holders: Sequence[Holder], most: int) -> None:
        """The route of `lane` gave a 429 with `holders` on it: let its slots follow the provider,
        unless their number was set, for its model or below `most` for all."""
        model, route = lane.key[0], lane.route
        if route is None or model in self.stated or not 1 <= most <= self.default_max_streams:
            return
        start = max(1, int(len(holders) * _AFTER_429))
        adapt(route, Adaptive(min_streams=1, max_streams=most, start=start))
        limit, route.slots.max_slots = route.slots.max_slots, UNLIMITED
        for holder in holders:  # they count from now on, and give back what they hold
            route.slots.take_nowait(holder, trio.current_time())
            holder.slots = [*holder.slots, route.slots]
        route.slots.max_slots = limit

    def state(self, model: str) -> None:
        """The slots of `model` were set."""
        self.stated.add(model)
        if model not in self._adaptive:
            for route in self.routes_of(model):
                adapt(route, None)

    def adaptive(self, model: str) -> bool:
        return model in self._adaptive

    def of_model(self, model: str) -> list[Lane]:
        """The lanes that lead to `model`; only those that were used."""
        return self._of.get(model, [])

    def model(self, name: str) -> LaneLimit:
        """The model's limits; a model that is not configured gets the default slots and no
        rates."""
        limit = self._models.get(name)
        if limit is None:
            limit = self._models[name] = _limit("model", name, self.default_max_streams, Rates())
        return limit

    def endpoint(self, name: str) -> LaneLimit:
        """The endpoint's limits; its slots are unlimited unless a number was set."""
        limit = self._endpoints.get(name)
        if limit is None:
            limit = self._endpoints[name] = _limit("endpoint", name, UNLIMITED, Rates())
        return limit

    def group(self, name: str) -> LaneLimit:
        """The limits of a group.

        Raises:
            LookupError: there is none of this name.
        """
        return self._groups[name][1]

    def tenant(self, name: str) -> LaneLimit:
        """The limits of a tenant that has some."""
        return self._tenants[name]

    @property
    def routes(self) -> tuple[LaneLimit, ...]:
        """What is learned of each route that was used."""
        return tuple(self._routes.values())

    @property
    def used(self) -> tuple[Lane, ...]:
        return tuple(self._lanes.values())

    @property
    def models(self) -> tuple[str, ...]:
        """Those that were named or used."""
        return tuple(self._models)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(self._endpoints)

    def all(self) -> list[LaneLimit]:
        """Every limit of models and endpoints, and of their routes where those are learned."""
        learned = [route for route in self._routes.values() if route.rates.buckets]
        groups = [limit for _, limit in self._groups.values()]
        shared = [*self._models.values(), *groups, *self._tenants.values()]
        return [*shared, *self._endpoints.values(), *learned]

    def by_limit(self) -> dict[LaneLimit, list[Lane]]:
        """The lanes that lead through each limit."""
        found: dict[LaneLimit, list[Lane]] = {}
        for lane in self._lanes.values():
            for limit in lane.limits:
                found.setdefault(limit, []).append(lane)
        return found


def adapt(route: LaneLimit, policy: Adaptive | None) -> None:
    """Slots that follow the provider from now on, or that have no end."""
    route.adaptive = None if policy is None else AdaptiveLimit(policy, trio.current_time())
    route.slots.max_slots = UNLIMITED if route.adaptive is None else route.adaptive.limit


def _limit(kind: str, name: str, max_streams: int, rates: Rates) -> LaneLimit:
    return LaneLimit(f"of {kind} {name!r}", Slots(max_streams), RateBuckets(rates))


def _both(slots: Mapping[str, int], rates: Mapping[str, Rates]) -> dict[str, Rates]:
    return {name: rates.get(name, Rates()) for name in (*slots, *rates)}
