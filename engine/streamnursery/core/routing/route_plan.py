"""Where a request may go, in order, decided before it goes anywhere.

Rule 1: the routes of the model asked for come first, in the order given; then those of its
        fallback models, in the order given; then those of their fallback models.
Rule 2: each model and each route stands there once, so that A -> B -> A is A -> B.
Rule 3: a plan is walked forwards only: a route that was left is not returned to.
"""

from collections.abc import Callable
from enum import Enum

import attrs

from streamnursery.values.errors import ConfigError
from streamnursery.values.models import KNOWN
from streamnursery.values.policy import (
    AssistantPrefix,
    HedgeAfter,
    OnAbort,
    OnInterrupt,
    Patience,
    Retries,
    ladder,
)
from streamnursery.values.request import ChatRequest
from streamnursery.values.secret import Secret
from streamnursery.values.settings import EngineConfig, ModelSettings, Route


class Role(Enum):
    """Why a route is on a plan."""

    PRIMARY = "primary"
    BACKUP = "backup"
    FALLBACK = "fallback model"


@attrs.frozen
class PlannedRoute:
    """A route on a plan, with the policies that hold there."""

    route: Route
    model: str
    """The model whose limits and statistics count here."""
    role: Role
    account: str
    """The first endpoint of the plan that has the same credential; its own name otherwise."""
    retries: Retries
    patience: Patience
    assistant_prefix: AssistantPrefix = "off"
    hedge_after: HedgeAfter = "off"
    downgrade_after: float | None = None
    """Seconds in this model's queue after which the next model of the plan is asked."""
    downgrade_to_higher_price: bool = False
    context: int | None = None
    """Tokens of input and output that the model takes together; None: not known."""
    reasoning: bool = False
    """Also where a request does not ask for it, the answer may begin with unseen thinking."""

    @property
    def endpoint(self) -> str:
        return self.route.endpoint

    def __str__(self) -> str:
        why = {
            Role.PRIMARY: "primary",
            Role.BACKUP: f"backup of {self.model}",
            Role.FALLBACK: f"fallback model {self.model}",
        }[self.role]
        attempts = self.retries.attempts
        return f"{self.route} ({why}, {attempts} attempt{'s' * (attempts > 1)})"


@attrs.frozen
class RoutePlan:
    """All that may be tried for one request; printable."""

    model: str
    stops: tuple[PlannedRoute, ...]
    """Never empty."""
    passed_over: tuple[Route, ...] = ()
    """Routes before the first stop, whose endpoints have no key."""
    left_out: tuple[str, ...] = ()
    """What the configuration names and the plan does not take, with the reason."""
    on_interrupt: tuple[OnInterrupt, ...] = ("fail",)
    """What is tried, in order, when the stream breaks after content was delivered."""
    on_abort: OnAbort = "cancel"

    max_exchanges: int = attrs.field(init=False)
    """HTTP exchanges that the request may lead to at most."""

    @max_exchanges.default
    def _sum(self) -> int:
        return sum(stop.retries.attempts for stop in self.stops)

    def __str__(self) -> str:
        lines = [f"{self.model}: at most {self.max_exchanges} exchanges"]
        lines += [f"  {number}. {stop}" for number, stop in enumerate(self.stops, 1)]
        lines += [f"  left out: {what}" for what in self.left_out]
        if self.on_interrupt != ("fail",):
            lines.append(f"  if it breaks in the middle: {', then '.join(self.on_interrupt)}")
        return "\n".join(lines)


def plan(
    request: ChatRequest,
    config: EngineConfig,
    *,
    routes: Callable[[str], tuple[Route, ...]],
    name: Callable[[str], str],
) -> RoutePlan:
    """The plan for `request`.

    `routes` says where a model is served, primary first, and raises if nowhere; `name` what its
    settings, limits and statistics call it. Routes to an endpoint that lacks its key are left out.

    Raises:
        ConfigError: there is no other route.
    """
    models, left_out = _models(request.model, config, name)
    stops: dict[Route, PlannedRoute] = {}
    accounts: dict[str, frozenset[Secret]] = {}
    passed_over: list[Route] = []
    for model in models:
        settings = config.models.get(name(model)) or ModelSettings(name(model))
        role = Role.PRIMARY if model == request.model else Role.FALLBACK
        for route in routes(model):
            if route in stops:
                left_out.append(f"{route} for {model}: already on the plan")
                continue
            missing = _missing_key(route, config)
            if missing:
                left_out.append(f"{route} for {model}: {missing}")
                if not stops:
                    passed_over.append(route)
                continue
            stops[route] = PlannedRoute(
                route,
                settings.name,
                role,
                _account(route.endpoint, config, accounts),
                request.retries or settings.retries or config.retries,
                request.patience or settings.patience or config.patience,
                settings.assistant_prefix or _prefix_at(route.endpoint, config),
                request.hedge_after or settings.hedge_after,
                settings.downgrade_after,
                settings.downgrade_to_higher_price,
                settings.context or _known_context(settings.name),
                settings.reasoning,
            )
            role = Role.BACKUP
    if not stops:
        raise ConfigError(_missing_key(passed_over[0], config))
    own = config.models.get(name(request.model)) or ModelSettings(name(request.model))
    return RoutePlan(
        request.model,
        tuple(stops.values()),
        tuple(passed_over),
        tuple(left_out),
        on_interrupt=(
            ladder(request.on_interrupt)
            if request.on_interrupt is not None
            else own.on_interrupt or config.on_interrupt
        ),
        on_abort=request.on_abort or own.on_abort or config.on_abort,
    )


def _missing_key(route: Route, config: EngineConfig) -> str:
    """Why the endpoint of a route cannot be used; empty where it can."""
    endpoint = config.endpoints.get(route.endpoint)
    if endpoint is None or not endpoint.missing_key:
        return ""
    return f"no key for endpoint {endpoint.name!r}: {endpoint.missing_key}"


def is_usual(request: ChatRequest) -> bool:
    """Whether its plan is that of every other request for its model."""
    return (
        request.retries is None
        and request.patience is None
        and request.hedge_after is None
        and request.on_interrupt is None
        and request.on_abort is None
    )


def _known_context(model: str) -> int | None:
    known = KNOWN.get(model)
    return known.context if known is not None else None


def _prefix_at(name: str, config: EngineConfig) -> AssistantPrefix:
    endpoint = config.endpoints.get(name)
    return endpoint.assistant_prefix if endpoint is not None else "off"


def _models(
    first: str, config: EngineConfig, name: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """The models of a plan, nearest first, and the fallbacks left out."""
    order, left_out = [first], []
    for model in order:  # grows while it is walked
        settings = config.models.get(name(model))
        for other in settings.fallback if settings is not None else ():
            if other in order:
                left_out.append(f"fallback {model} -> {other}: already on the plan")
            else:
                order.append(other)
    return order, left_out


def _account(name: str, config: EngineConfig, accounts: dict[str, frozenset[Secret]]) -> str:
    """The account behind an endpoint: two that share a credential fail together."""
    if name in accounts:
        return name
    endpoint = config.endpoints.get(name)
    held = (endpoint.key, *endpoint.headers.values()) if endpoint is not None else ()
    secrets = frozenset(value for value in held if isinstance(value, Secret))
    for account, others in accounts.items():
        if secrets & others:
            return account
    accounts[name] = secrets
    return name
