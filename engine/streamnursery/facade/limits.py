"""The verbs about limits: what binds, what runs, and how to change it under load."""

from collections.abc import Mapping
from math import inf
from os import PathLike
from typing import Any, Unpack

import attrs
import trio

from streamnursery.config import config_from_mapping, load_config
from streamnursery.core.limits.bucket import BURST
from streamnursery.facade.assembly import Outside, apply_limits, outlet_of
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.run.calls import Calls
from streamnursery.scheduler.run.catalogue import Catalogue
from streamnursery.scheduler.run.dispatcher import Dispatcher
from streamnursery.scheduler.run.figures import route_statistics
from streamnursery.scheduler.run.model_choice import ModelChoice
from streamnursery.scheduler.run.observers import Observers
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.transport.client import HttpTransport
from streamnursery.values.admission import Explanation
from streamnursery.values.errors import RequestError
from streamnursery.values.keys import alone, base_name, with_keys
from streamnursery.values.policy import Priority
from streamnursery.values.rates import Rates
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.values.request_fields import Prompt, RequestFields
from streamnursery.values.settings import EngineConfig, Route
from streamnursery.values.snapshot import EngineSnapshot
from streamnursery.wire.registry import Dialects

ConfigSource = EngineConfig | Mapping[str, Any] | str | PathLike[str] | None

_AT_OPENING = (
    "max_buffered_bytes",
    "max_idle_connections",
    "trust_env",
    "budgets",
    "sessions",
    "http2",
    "max_added_latency",
    "top_socket",
)
"""Settings that an engine reads once."""


@attrs.frozen
class Reload:
    """What a reload did."""

    changed: tuple[str, ...]
    """Settings, models, endpoints and tenants that are different now."""
    at_next_start: tuple[str, ...]
    """Settings that are different in the configuration and wait for the next engine."""


class LimitVerbs:
    """Part of `Engine`."""

    _config: EngineConfig
    _admission: Admission
    _calls: Calls
    _choice: ModelChoice
    _catalogue: Catalogue
    _dispatcher: Dispatcher
    _hears_loads = False
    _hears_keys = False
    _observers: Observers
    _outside: Outside
    _opened_at: float
    _outlets: dict[str, Outlet]
    _supervisor: Supervisor
    _transports: list[HttpTransport]

    def set_limits(
        self,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        tenant: str | None = None,
        max_streams: int,
    ) -> None:
        """Change the slots of a model, an endpoint, a group or a tenant, or without any of them the
        global ones.

        Nothing running is ended; 0 admits nothing until it is raised again. What a tenant runs when
        it gets its first limit does not count in it.

        Raises:
            RequestError: two of them, no such group, or no whole number.
        """
        whose = (model, endpoint, group, tenant)
        self._check_whose("set_limits", group, sum(name is not None for name in whose), least=0)
        if not isinstance(max_streams, int) or isinstance(max_streams, bool) or max_streams < 0:
            msg = f"max_streams must be a whole number >= 0, not {max_streams!r}"
            raise RequestError(msg)
        self._admission.set_limit(
            max_streams, model=model, endpoint=endpoint, group=group, tenant=tenant
        )

    def set_rates(
        self,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        tenant: str | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        input_tpm: int | None = None,
        output_tpm: int | None = None,
        burst: float = BURST,
    ) -> None:
        """Change the limits per minute of a model, an endpoint, a group or a tenant; None is no
        limit.

        What the last minute has used still counts, and nothing running is ended. A request that
        waits and needs more than the new limit by itself gets `TooManyTokensError`.

        Raises:
            RequestError: none or two of them, no such group, or a limit that cannot be one.
        """
        whose = (model, endpoint, group, tenant)
        self._check_whose("set_rates", group, sum(name is not None for name in whose), least=1)
        try:
            rates = Rates(rpm, tpm, input_tpm, output_tpm, burst)
        except ValueError as error:
            raise RequestError(str(error)) from None
        self._admission.set_rates(rates, model=model, endpoint=endpoint, group=group, tenant=tenant)

    def _check_whose(self, verb: str, group: str | None, named: int, *, least: int) -> None:
        if not least <= named <= 1:
            msg = f"{verb} takes a model, an endpoint, a group or a tenant, one at a time"
            raise RequestError(msg)
        if group is not None and group not in self._config.groups:
            known = ", ".join(map(repr, self._config.groups)) or "none"
            msg = f"no group is called {group!r}; there is {known}. Write [groups.{group}]"
            raise RequestError(msg)

    def explain(
        self, model: str | ChatRequest, prompt: Prompt = "", **fields: Unpack[RequestFields]
    ) -> Explanation:
        """Which limit a request would wait for now, and how long at least; print it.

        Nothing is sent. It speaks of the first route of the request's plan that is open.

        Raises:
            RequestError, ConfigError: as `stream`.
        """
        if isinstance(model, ChatRequest):
            request = make_request(model, **fields)
        else:
            request = make_request(model, prompt, **fields)
        request = self._catalogue.with_defaults(request)
        priority = Priority.INTERACTIVE if request.priority is None else request.priority
        course = self._catalogue.course(request, (priority, 0))
        now, routes = trio.current_time(), self._supervisor.routes
        gates = [(stop, routes.gate(stop.route).peek(now)) for stop in course.plan.stops]
        stop, closed = next((pair for pair in gates if pair[1] is None), gates[0])
        explanation = self._admission.explain(course.demand(stop, inf))
        if closed is None:
            return explanation
        limit = f"route {stop.route} to open again ({closed})"
        return attrs.evolve(explanation, limit=limit, earliest=closed.opens_at - now)

    def _hear(self) -> None:
        """Listen to records, once there is something to balance or a choice of keys."""
        keyring = self._catalogue.keyring
        if keyring and not self._hears_keys:
            keyring.used = lambda name: self._admission.lanes.endpoint(name).slots.taken
            keyring.closed = self._is_closed
            self._observers.add(keyring.observe)
            self._hears_keys = True
        if self._catalogue.balancer and not self._hears_loads:
            self._observers.add(self._catalogue.balancer.observe)
            self._hears_loads = True

    def _is_closed(self, route: Route) -> bool:
        return self._supervisor.routes.gate(route).peek(trio.current_time()) is not None

    def snapshot(self) -> EngineSnapshot:
        """Each live stream with what it does and waits for, and every limit with what it holds."""
        now = trio.current_time()
        return EngineSnapshot(
            at=now,
            uptime=now - self._opened_at,
            streams=self._dispatcher.snapshot(now),
            calls=self._calls.live,
            limits=self._admission.snapshot(),
            routes=route_statistics(self._supervisor.routes.gates, now),
        )

    def reload(self, config: ConfigSource = None) -> Reload:
        """Take over a changed configuration: limits, rates, tenants, models and endpoints.

        `config` is what `open_engine` takes; None reads the usual files and the environment
        again. Nothing running is ended: an attempt under way keeps its endpoint, the next one
        goes by the new settings.

        Raises:
            ConfigError: with every mistake at once; nothing has been changed then.
        """
        new = with_keys(settings_of(config, self._outside.dialects))
        outlets = {
            name: outlet_of(endpoint, self._outside.dialects, self._transports[0])
            for name, endpoint in new.endpoints.items()
            if endpoint != self._config.endpoints.get(name)
        }
        report = _difference(self._config, new)
        # What is gone stays: a request that was planned before may still go there. A key that is
        # gone was withdrawn: in its place goes the first one of its endpoint.
        for name in self._outlets.keys() - new.endpoints.keys():
            first = new.endpoints.get(base_name(name))
            if first is not None:
                one = alone(first, name, first.key or first.token_command)
                outlets[name] = outlet_of(one, self._outside.dialects, self._transports[0])
        self._outlets.update(outlets)
        self._config = new
        self._catalogue.apply_config(new)
        self._hear()
        self._choice = attrs.evolve(self._choice, config=new)
        apply_limits(self._admission, new)
        return report


def settings_of(config: ConfigSource, dialects: Dialects) -> EngineConfig:
    """What `open_engine` and `reload` take, as a value."""
    if isinstance(config, EngineConfig):
        return config
    if isinstance(config, Mapping):
        return config_from_mapping(config, dialects=dialects)
    return load_config(config, dialects=dialects).config


def _difference(old: EngineConfig, new: EngineConfig) -> Reload:
    changed: list[str] = []
    later: list[str] = []
    for field in attrs.fields(EngineConfig):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        if field.name in _AT_OPENING:
            later.append(field.name)
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            names = sorted({*before, *after})
            changed += [f"{field.name}.{n}" for n in names if before.get(n) != after.get(n)]
        else:
            changed.append(field.name)
    if old.default_max_streams == old.max_streams and new.default_max_streams == new.max_streams:
        changed = [name for name in changed if name != "default_max_streams"]  # it follows
    return Reload(tuple(changed), tuple(later))
