"""The models of an engine as they stand now, and the choice among them for a task."""

from collections.abc import Callable
from typing import TypeVar

import attrs

from streamnursery.core.limits.token_estimate import input_tokens
from streamnursery.core.recovery.circuit_gate import CircuitGate
from streamnursery.core.routing.router import (
    Candidate,
    Decision,
    Needs,
    NoCandidateError,
    RoutingPolicy,
    choose,
)
from streamnursery.scheduler.money.bill import Bid
from streamnursery.scheduler.money.spending import Spending
from streamnursery.scheduler.run.catalogue import Catalogue
from streamnursery.values.demand import Demand
from streamnursery.values.errors import (
    BudgetExceededError,
    CallbackError,
    ConfigError,
    RequestError,
)
from streamnursery.values.models import KNOWN
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import EngineConfig, ModelSettings, Route
from streamnursery.values.task import TaskProfile

T = TypeVar("T")
_ENOUGH = 20
"""First tokens before measured times replace configured ones."""


@attrs.frozen
class ModelChoice:
    """Chooses; changes nothing."""

    config: EngineConfig
    catalogue: Catalogue
    spending: Spending
    gate: Callable[[Route], CircuitGate]
    now: Callable[[], float]
    policy: RoutingPolicy | None = None

    def decide(self, task: TaskProfile, request: ChatRequest) -> Decision:
        """The model for `task`, whose request is `request`.

        Raises:
            ConfigError: no model is configured.
            RequestError: no model has room for it, or the tools.
            CallbackError: the policy failed.
        """
        names = [name for name, model in self.config.models.items() if model.max_streams != 0]
        if not names:
            msg = "model 'auto' chooses among the models of the configuration, and there is none"
            raise ConfigError(msg)
        candidates = [self.candidate(name, request) for name in names]
        if not any(candidate.affordable and candidate.available for candidate in candidates):
            # The request itself will say what it waits for, or why it is refused.
            candidates = [attrs.evolve(c, affordable=True, available=True) for c in candidates]
        needs = self.needs(task, request)
        try:
            return choose(needs, candidates, self.policy, self.config.routing_rules)
        except NoCandidateError as error:
            msg = f"no model can do this: {error}"
            raise RequestError(msg) from None
        except Exception as error:
            msg = f"the policy that chooses models failed: {error!r}"
            raise CallbackError(msg) from error

    def needs(self, task: TaskProfile, request: ChatRequest) -> Needs:
        return Needs(
            input_tokens=round(input_tokens(request)),
            output_tokens=request.max_tokens or 0,
            complexity=task.complexity,
            max_latency=task.max_latency,
            budget=task.budget,
            tools=bool(request.tools),
            strategy=task.strategy,
        )

    def candidate(self, name: str, request: ChatRequest) -> Candidate:
        """The model as it stands now, for this request."""
        settings, known = self.config.models[name], KNOWN.get(name)
        routes = self._routes(name)
        bid = self._bid(name, request, routes[0]) if routes else None
        p50, p95, measured = self._times(name, settings)
        has_tools = known.tools if known is not None else True
        return Candidate(
            name,
            quality=_or(settings.quality, known.quality if known else None),
            cost=None if bid is None or bid.price is None else bid.worst,
            ttft_p50=p50,
            ttft_p95=p95,
            measured=measured,
            built_in=not measured and settings.ttft is None,
            context=_or(settings.context, known.context if known else None),
            tools=has_tools if settings.tools is None else settings.tools,
            affordable=bid is not None and self._affordable(bid),
            available=any(self.gate(route).peek(self.now()) is None for route in routes),
        )

    def _routes(self, name: str) -> tuple[Route, ...]:
        try:
            return self.catalogue.usable_routes(name)
        except ConfigError:  # no endpoint serves it
            return ()

    def _bid(self, name: str, request: ChatRequest, route: Route) -> Bid | None:
        raw = input_tokens(request)
        spent, made = self.catalogue.estimates.tokens(name, request, raw)
        demand = Demand(name, route.endpoint, input_tokens=spent, output_tokens=made)
        try:
            return self.spending.bid(attrs.evolve(request, model=name), demand, route)
        except BudgetExceededError:
            return None

    def _affordable(self, bid: Bid) -> bool:
        spending = self.spending
        ledger, wall = spending.ledger, spending.wall()
        if ledger.shortfall(bid.payer, bid.worst, wall) is not None:
            return False
        return not ledger.nearly_spent(bid.payer, bid.worst, wall, spending.budgets.soft_at)

    def _times(self, name: str, settings: ModelSettings) -> tuple[float | None, float | None, bool]:
        """Median and 95th percentile of the time to the first token, and whether measured."""
        meter = self.catalogue.meters.get(name)
        if meter is not None and meter.ttft.count >= _ENOUGH:
            return meter.ttft.quantile(0.5), meter.ttft.quantile(0.95), True
        if settings.ttft is not None:
            return settings.ttft, settings.ttft, False
        known = KNOWN.get(name)
        return (known.ttft_p50, known.ttft_p95, False) if known else (None, None, False)


def _or(value: T | None, instead: T | None) -> T | None:
    return instead if value is None else value
