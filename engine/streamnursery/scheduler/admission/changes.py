"""Limits that change while requests run and wait.

Rule 1: nothing that runs is ended. What it has taken it gives back to whom it took it from.
Rule 2: who waits goes by the limits that are now. Where other limits hold for somebody than before,
        all who wait stand anew, in their order; who can never pass any more is refused.
"""

from collections.abc import Iterable, Mapping

import trio

from streamnursery.core.limits.rate_buckets import RateBuckets
from streamnursery.scheduler.admission.lane import LaneLimit, LaneTable
from streamnursery.scheduler.admission.queue import AdmissionQueue, QueuedDemand
from streamnursery.scheduler.admission.refusals import too_large
from streamnursery.scheduler.admission.slots import UNLIMITED, Slots
from streamnursery.values.rates import Rates
from streamnursery.values.tenant import Group, Tenant


class LimitChanges:
    """Part of `Admission`."""

    total: Slots
    lanes: LaneTable
    tenants: dict[str, Tenant]
    _queue: AdmissionQueue

    def set_limit(
        self,
        max_streams: int,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Change the slots of one of these, or the global ones, under load."""
        limit = self._limit(model, endpoint, group, tenant)
        if limit is None:
            self.total.max_slots = max_streams
            self._queue.hand_out()
            return
        if model is not None:
            self.lanes.state(model)
        self._change_slots(limit, max_streams)

    def set_rates(
        self,
        rates: Rates,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Change the limits per minute of one of these under load."""
        limit = self._limit(model, endpoint, group, tenant)
        assert limit is not None
        self._change_rates(limit, rates)

    def set_shared(self, tenants: Mapping[str, Tenant], groups: Mapping[str, Group]) -> None:
        """Go by these tenants and groups from now on."""
        self.tenants = dict(tenants)
        grouped = self.lanes.state_groups(groups)
        if self.lanes.state_tenants(tenants) or grouped:
            self._stand_anew()
        for limit, value in self.lanes.shared(tenants, groups):
            self._change_rates(limit, value.rates)
            self._change_slots(limit, UNLIMITED if value.max_streams is None else value.max_streams)

    def _limit(
        self, model: str | None, endpoint: str | None, group: str | None, tenant: str | None
    ) -> LaneLimit | None:
        """The limits of the one that is named.

        Raises:
            LookupError: there is no such group.
        """
        if model is not None:
            return self.lanes.model(model)
        if endpoint is not None:
            return self.lanes.endpoint(endpoint)
        if group is not None:
            return self.lanes.group(group)
        if tenant is None:
            return None
        if self.lanes.limit_tenant(tenant):
            self._stand_anew()
        return self.lanes.tenant(tenant)

    def _change_slots(self, limit: LaneLimit, max_streams: int) -> None:
        limit.slots.max_slots = max_streams
        self._queue.wake(limit)
        self._queue.hand_out()

    def _change_rates(self, limit: LaneLimit, rates: Rates) -> None:
        assert isinstance(limit.rates, RateBuckets)
        limit.rates.change(rates, trio.current_time())
        self._refuse_too_large(w for w in self._queue.waiters if limit in w.path.limits)
        self._queue.wake(limit)
        self._queue.hand_out()

    def _stand_anew(self) -> None:
        lanes = self.lanes
        lanes.forget()
        self._queue.stand_anew(
            lambda d: lanes.lane(d.model, d.endpoint, d.tenant), shared=lanes.weighted
        )
        self._refuse_too_large(self._queue.waiters)
        self._queue.hand_out()

    def _refuse_too_large(self, waiters: Iterable[QueuedDemand]) -> None:
        for waiter in tuple(waiters):
            if waiter.lease is None and not waiter.cancelled:
                refusal = too_large(waiter.path, waiter.demand)
                if refusal is not None:
                    self._queue.refuse(waiter, refusal)
