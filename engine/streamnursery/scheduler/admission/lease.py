"""What one attempt or one call holds, to its end."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from streamnursery.core.limits.learned_rates import Underway
from streamnursery.core.limits.rate_buckets import RateReservation
from streamnursery.scheduler.admission.lane import Lane
from streamnursery.scheduler.admission.slots import Slots
from streamnursery.values.demand import Demand
from streamnursery.values.rates import RateNews
from streamnursery.values.usage import Usage


class Lessor(Protocol):
    """Who handed the lease out."""

    def give_back(self, lease: "Lease") -> None: ...

    def learned(self, lease: "Lease") -> None:
        """Its route may have more room than before."""

    def limited(self, lease: "Lease") -> None:
        """Its route has refused it by a rate limit, and does not follow the provider yet."""


@attrs.define(eq=False)
class Lease:
    """Slots, and units per minute. Leases compare by identity."""

    demand: Demand
    lane: Lane
    slots: Sequence[Slots]
    reserved: Sequence[RateReservation | Underway]
    _lessor: Lessor
    since: float
    released: bool = attrs.field(default=False, init=False)
    used: bool = attrs.field(default=False, init=False)
    """Something was sent, or may have been."""
    usage: Usage | None = attrs.field(default=None, init=False)
    """What it really used; None: not known."""

    def on_rate_headers(self, news: Sequence[RateNews], now: float) -> None:
        """The head of the answer came; `news` is what it says is left of the provider's limits."""
        for reservation in self.reserved:
            if isinstance(reservation, Underway):
                reservation.on_rate_headers(news, now)
        if news:
            self._lessor.learned(self)

    def on_first_token(self, now: float) -> None:
        """The first token came."""
        route = self.lane.route
        if route is not None and route.adaptive is not None:
            route.adaptive.first_token(self.since, now, route.slots.taken)
            self._lessor.learned(self)

    def on_overload(self, now: float, *, limited: bool = False) -> None:
        """The route refused, by its rate limit where `limited`, or its first token did not come in
        time."""
        route = self.lane.route
        if limited and route is not None and route.adaptive is None:
            self._lessor.limited(self)
        elif route is not None and route.adaptive is not None:
            route.adaptive.on_overload(self.since, now)
            self._lessor.learned(self)

    def settle(self, usage: Usage | None) -> None:
        """Say what was really used, before `release`; None keeps the estimate."""
        self.used = True
        self.usage = usage

    def release(self) -> None:
        """Give the slots back, and the units that were not used; idempotent."""
        if not self.released:
            self.released = True
            self._lessor.give_back(self)

    def correct(self, now: float) -> None:
        """For the admission: book what was used in the place of what was reserved."""
        for reservation in self.reserved:
            if self.used:
                reservation.settle(self.demand, self.usage, now)
            else:
                reservation.void(now)
