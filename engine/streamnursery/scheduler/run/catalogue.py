"""From a model's name to where it is served, within what limits, measured by what."""

import difflib
from collections.abc import Callable
from functools import partial

import attrs

from streamnursery.core.limits.token_estimate import TokenEstimates, input_tokens
from streamnursery.core.measure.meter import Meter
from streamnursery.core.routing.provider_names import provider_route
from streamnursery.core.routing.route_plan import RoutePlan, is_usual, plan
from streamnursery.scheduler.run.balancer import Balancer
from streamnursery.scheduler.run.keyring import Keyring
from streamnursery.supervisor.course import Course
from streamnursery.values.errors import ConfigError, RequestError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_defaults import NO_DEFAULTS
from streamnursery.values.settings import Endpoint, EngineConfig, ModelSettings, Route

SIMULATED = "sim/"
"""Models under this prefix are served by the built-in simulator."""
SIMULATOR_ENDPOINT = "sim"
SIMULATOR = Endpoint(
    SIMULATOR_ENDPOINT, BaseUrl.parse("http://simulator/v1"), assistant_prefix="message"
)

_MAX_NAME = 80
"""Characters of an unknown model's name that are repeated."""


class Catalogue:
    """The models of a configuration, and their meters."""

    def __init__(self, config: EngineConfig, dice: Callable[[], float]) -> None:
        self.balancer = Balancer(dice)
        self.keyring = Keyring()
        self.apply_config(config)
        self._meters: dict[str, Meter] = {}
        self.estimates = TokenEstimates()

    def apply_config(self, config: EngineConfig) -> None:
        """What is planned from now on goes by this configuration."""
        endpoints = {SIMULATOR_ENDPOINT: SIMULATOR, **config.endpoints}
        self.config = attrs.evolve(config, endpoints=endpoints)
        self.balancer.apply_config(config.models)
        self.keyring.apply_config(config.endpoints)
        self._plans: dict[str, RoutePlan] = {}
        self._defaults = {
            name: model.request.over(config.request) for name, model in config.models.items()
        }
        self._any_defaults = any(
            d != NO_DEFAULTS for d in (config.request, *self._defaults.values())
        )

    def with_defaults(self, request: ChatRequest) -> ChatRequest:
        """`request` with what the configuration says where it says nothing. They are those of the
        model that it asks for, wherever it goes then: a request is one and the same at each of its
        routes."""
        if not self._any_defaults:
            return request
        return self._defaults.get(self.name(request.model), self.config.request).filled(request)

    def default_model(self) -> str:
        """The model of a request that names none.

        Raises:
            RequestError: there is none.
        """
        if not self.config.default_model:
            raise RequestError("no model is named, and `defaults.model` is not set; do one of them")
        return self.config.default_model

    @property
    def meters(self) -> dict[str, Meter]:
        """By model; only models that were used."""
        return self._meters

    def meter(self, model: str) -> Meter:
        """The meter of `model`, new if it has none."""
        meter = self._meters.get(model)
        if meter is None:
            meter = self._meters[model] = Meter()
        return meter

    def name(self, model: str) -> str:
        """What limits and statistics call it: a simulated model without its script."""
        return model.partition("?")[0] if model.startswith(SIMULATED) else model

    def course(
        self, request: ChatRequest, rank: tuple[int, int], given: RoutePlan | None = None
    ) -> Course:
        """What `request` may do; with a plan that was `given`, where it is to go.

        Raises:
            ConfigError: no endpoint serves the model.
        """
        name = self.name(request.model)
        return Course(
            model=name,
            plan=given or self._plan(request),
            rank=rank,
            meter=self.meter(name),
            request=request,
            estimates=self.estimates,
            raw_tokens=input_tokens(request),
        )

    def _plan(self, request: ChatRequest) -> RoutePlan:
        """Made once for each model of the configuration, where neither load nor request matter."""
        if (
            self.balancer
            or self.keyring
            or not is_usual(request)
            or request.model not in self.config.models
        ):
            ordered = partial(self._ordered, request=request)
            return plan(request, self.config, routes=ordered, name=self.name)
        made = self._plans.get(request.model)
        if made is None:
            made = self._plans[request.model] = self.plan(request)
        return made

    def plan(self, request: ChatRequest) -> RoutePlan:
        """Every route that may be tried, in order."""
        return plan(request, self.config, routes=self.routes, name=self.name)

    def _ordered(self, model: str, request: ChatRequest) -> tuple[Route, ...]:
        routes = self._written(model)
        usable = self._usable(routes)
        if self.keyring and self.balancer.by_prefix(model):
            # A provider's cache is an account's: each key is a replica.
            ready, late = self.keyring.ready(usable)
            first = self.balancer.order(model, tuple(ready), request)
            lacking = (route for route in self.keyring.spread(routes) if route not in first)
            return (*first, *late, *(route for route in lacking if route not in late))
        ordered = self.balancer.order(model, usable, request)
        if ordered == usable:
            return self.keyring.spread(routes)
        others = (route for route in routes if route not in usable)
        return self.keyring.spread((*ordered, *others))

    def usable_routes(self, model: str) -> tuple[Route, ...]:
        """Those of its routes whose endpoints do not lack a key."""
        return self._usable(self.routes(model))

    def _usable(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        endpoints = self.config.endpoints
        return tuple(r for r in routes if not _lacks_key(endpoints.get(r.endpoint)))

    def routes(self, model: str) -> tuple[Route, ...]:
        """Where `model` is served, primary first; a route for each key of an endpoint."""
        return self.keyring.spread(self._written(model))

    def _written(self, model: str) -> tuple[Route, ...]:
        settings: ModelSettings | None = self.config.models.get(model)
        if settings is not None and settings.routes:
            return settings.routes
        if model.startswith(SIMULATED):
            return (Route(SIMULATOR_ENDPOINT, model.removeprefix(SIMULATED)),)
        named = provider_route(model, self.config)
        if named is not None:
            return (named,)
        if self.config.default_endpoint is not None:
            return (Route(self.config.default_endpoint, model),)
        raise ConfigError(_unknown(model, self.config))


def _lacks_key(endpoint: Endpoint | None) -> bool:
    return endpoint is not None and bool(endpoint.missing_key)


def _unknown(model: str, config: EngineConfig) -> str:
    model = model if len(model) <= _MAX_NAME else f"{model[:_MAX_NAME]}..."
    near = difflib.get_close_matches(model, config.models, n=1)
    hint = f"did you mean {near[0]!r}? " if near and near[0] != model else ""
    if model in config.models:
        hint = "it has no `routes`, and there is no default endpoint. "
    what = f"no endpoint serves model {model!r}: {hint}"
    if config.unread_variables:
        name, variable = config.unread_variables[0]
        return (
            f"{what}{variable} is set, and a configuration given as a mapping uses only the "
            f'providers that it names: add "endpoints": {{"{name}": {{}}}} to it'
        )
    return (
        f"{what}Set OPENAI_API_KEY or OPENAI_BASE_URL, give "
        f"the model a route in streamnursery.toml, or try without a key: 'sim/fast'"
    )
