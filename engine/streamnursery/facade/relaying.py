"""The verb that passes requests on as they are; `Engine` has it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import attrs

from streamnursery.config.providers import provider_at
from streamnursery.core.routing.route_plan import PlannedRoute, RoutePlan, plan
from streamnursery.facade.assembly import Outside, outlet_of
from streamnursery.pipeline.relayed import RelayDelivery, RelayedAnswer
from streamnursery.scheduler.run.calls import call_deadline
from streamnursery.scheduler.run.catalogue import SIMULATED, SIMULATOR_ENDPOINT
from streamnursery.scheduler.run.relay_block import RelayBlock
from streamnursery.supervisor.relay import Relayed
from streamnursery.values.errors import ConfigError, RequestError
from streamnursery.values.http import check_header
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import Patience, Priority, PriorityName, Retries
from streamnursery.values.relay import METHODS, SHARED_HEADERS, forwarded, relay_path
from streamnursery.values.request import (
    CREDENTIAL_HEADERS,
    ChatRequest,
    RequestHeaders,
    as_priority,
    headers_at,
    make_request,
)
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint, Route
from streamnursery.wire.json_body import encode_body
from streamnursery.wire.relay_body import RelayBody
from streamnursery.wire.relay_paths import RelayPath, below, family, model_of, read_path

if TYPE_CHECKING:
    from streamnursery.pipeline.channel import BufferTotal
    from streamnursery.scheduler.admission.admission import Admission
    from streamnursery.scheduler.run.catalogue import Catalogue
    from streamnursery.scheduler.run.dispatcher import Dispatcher
    from streamnursery.supervisor.endpoint import Outlet
    from streamnursery.transport.client import HttpTransport
    from streamnursery.values.settings import EngineConfig
    from streamnursery.wire.dialect import Dialect

_ELSEWHERE, _PUBLIC = "elsewhere:", "public:"
"""How the names of endpoints begin that stand in no configuration: of servers that are not
configured, and of providers."""
_MOST_ORIGINS = 1000
_MOST_NAME = 200


class Relaying:
    """Part of `Engine`."""

    _config: "EngineConfig"
    _outside: Outside
    _admission: "Admission"
    _buffers: "BufferTotal"
    _catalogue: "Catalogue"
    _dispatcher: "Dispatcher"
    _have_simulator: "Callable[[], None]"
    _outlets: "dict[str, Outlet]"
    _transports: "list[HttpTransport]"

    def relay(
        self,
        model: str | None,
        path: str,
        body: bytes | Mapping[str, object] = b"",
        *,
        method: str = "POST",
        headers: RequestHeaders | None = None,
        endpoint: str | None = None,
        exact: bool = False,
        tenant: str = "",
        priority: Priority | PriorityName | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        retries: Retries | None = None,
        buffer_bytes: int | None = None,
    ) -> AbstractAsyncContextManager[RelayedAnswer]:
        """Pass a request on, and its answer back, byte for byte: `async with eng.relay("gpt-4.1",
        "/chat/completions", body) as answer:`, then `answer.status`, `answer.headers` and
        `async for data in answer`.

        `path` is a path and a query below the base URL of the model's endpoint, or of `endpoint`,
        which also serves models that the configuration does not name, and requests without one:
        with it `model` may be None, and is then the one that the body or the path names. An origin
        in the place of its name, `https://host`, is passed through with pool and limits alone; a
        provider's own base URL, such as `https://api.openai.com/v1`, is read in its language.
        Limits, rates, tenants, budgets, retries, fallback to routes of the same dialect and hedging
        are those of `stream`, and so is what makes an answer whole. An answer that says no is
        handed on when no attempt is left.

        The model is sent under its name on the wire, and usage is asked for where the caller has
        not; the event that answers it is taken out again. With `exact` nothing is changed, and
        what is not reported is estimated. An answer that does not stream, and `body`, may have
        `engine.max_relayed_bytes`.

        `headers` are as those of `ChatRequest`, but those of the connection are left out, and
        those that say how a body is read (`content-type`, versions of the API) go to every
        endpoint. Entering the block waits for the head of the answer; leaving it ends the request.
        `retries=Retries(attempts=1)` is for what must not be done twice.

        Raises:
            RequestError, ConfigError: path, body, headers or model cannot be used.
            EngineError: on entry, and by iterating: what ended the request.
        """
        data, below_base, query = self._checked(path, method, body)
        private, shared = _sorted_headers(headers or {})
        given = RelayBody.of(data, _text(shared.get("content-type")))
        if model is None and endpoint is not None:
            model = _named(given, below_base)
        first = self._first(model, endpoint)
        ours = given.request(
            model or first.endpoint,
            _for_endpoints(private, first.endpoint),
            tenant,
            None if priority is None else as_priority(priority),
        )
        ours = attrs.evolve(ours, retries=retries)
        make_request(attrs.evolve(ours, messages="", max_tokens=None, n=None, tools=None, extra={}))
        asked = read_path(
            below(below_base, self._outlets[first.endpoint].endpoint.url.path),
            query,
            self._languages(first.endpoint),
            ours,
            given.model,
            streamed=given.fields.get("stream") is True,
        )
        planned = self._relay_plan(ours, first, asked, given if exact else None)
        asking = Relayed(
            ours,
            method,
            asked,
            given,
            tuple(_shared(shared, asked, given).items()),
            first.endpoint,
            exact or _is_elsewhere(first.endpoint),
            self._config.max_relayed_bytes,
            passing=_is_elsewhere(first.endpoint),
        )
        self._admission.check_open()
        rank = self._admission.next_rank(ours.priority or Priority.INTERACTIVE)
        course = attrs.evolve(self._catalogue.course(ours, rank, planned), asking=asking)
        block = self._dispatcher.stream(
            ours,
            course,
            deadline=call_deadline(deadline, timeout),
            buffer_events=self._config.buffer_events,
            buffer_bytes=buffer_bytes or self._config.buffer_bytes,
            kind=RelayDelivery,
        )
        return RelayBlock(block, asking, self._buffers, self._dispatcher.handle)

    def _checked(
        self, path: str, method: str, body: bytes | Mapping[str, object]
    ) -> tuple[bytes, str, str]:
        below_base, query = relay_path(path)
        if method not in METHODS:
            msg = f"method must be one of {', '.join(METHODS)}, not {method!r:.40}"
            raise RequestError(msg)
        data = encode_body(body) if isinstance(body, Mapping) else body
        if isinstance(data, str) and isinstance(body, Mapping):
            raise RequestError(data)
        if not isinstance(data, bytes | bytearray | memoryview):
            msg = f"body must be bytes or a mapping, not a {type(body).__name__}"
            raise RequestError(msg)
        most = self._config.max_relayed_bytes
        if len(data) > most:
            msg = (
                f"the body has {len(data):,} bytes, and engine.max_relayed_bytes allows {most:,}; "
                "raise it if such requests are wanted"
            )
            raise RequestError(msg)
        return bytes(data), below_base, query

    def _first(self, model: str | None, endpoint: str | None) -> Route:
        """Where the request is meant to go: whose base URL, query and headers are the caller's."""
        if model is not None and (not isinstance(model, str) or not model.strip()):
            raise RequestError("relay needs a model's name, or None and an endpoint")
        if endpoint is None:
            if model is None:
                raise RequestError("relay needs a model or an endpoint, to know where to go")
            if model.startswith(SIMULATED):
                self._have_simulator()
            usable = self._catalogue.usable_routes(model)
            return (usable or self._catalogue.routes(model))[0]
        if isinstance(endpoint, str) and "://" in endpoint:
            endpoint = self._elsewhere(endpoint)
        if endpoint == SIMULATOR_ENDPOINT:
            self._have_simulator()
        if endpoint not in self._outlets:
            known = ", ".join(map(repr, self._outlets)) or "none"
            msg = f"there is no endpoint {endpoint!r:.80}; the configuration has {known}"
            raise ConfigError(msg)
        return Route(endpoint, model or endpoint)

    def _elsewhere(self, base: str) -> str:
        """The name of an endpoint without a key for a server of the caller's."""
        try:
            url = BaseUrl.parse(base)
        except ValueError as error:
            raise RequestError(str(error)) from None
        preset = provider_at(url)
        made = Endpoint(
            f"{_ELSEWHERE}{url.origin.scheme}:{url.origin.authority}",
            BaseUrl(url.origin, ""),
            auth="none",
            learn_rates=False,
        )
        if preset is not None:
            options = {k: v for k, v in preset.options if k in self._outside.dialects.options()}
            made = Endpoint(
                f"{_PUBLIC}{preset.name}", url, dialect=preset.dialect, auth="none", options=options
            )
        if made.name not in self._outlets:
            if sum(map(_is_elsewhere, self._outlets)) >= _MOST_ORIGINS:
                msg = f"{_MOST_ORIGINS} servers that the configuration does not know are too many"
                raise RequestError(msg)
            outlet = outlet_of(made, self._outside.dialects, self._transports[0])
            self._outlets[made.name] = outlet
        return made.name

    def _languages(self, endpoint: str) -> "tuple[Dialect, ...]":
        """Those that a path may be in, the endpoint's own first."""
        if _is_elsewhere(endpoint):
            return ()
        own, dialects = self._outlets[endpoint].dialect, self._outside.dialects
        known = [dialects.find(name) for name in dialects.names]
        return (own, *(found for found in known if found is not None and found is not own))

    def _relay_plan(
        self, request: ChatRequest, first: Route, asked: RelayPath, exact: RelayBody | None
    ) -> RoutePlan:
        """The routes that may be asked in the language of the path, in order.

        Raises:
            RequestError: there is none.
        """
        catalogue = self._catalogue
        settings = catalogue.config.models.get(catalogue.name(request.model))
        stated = settings is not None and bool(settings.routes)
        config = _with_the_callers_key(catalogue.config, first.endpoint, request)

        def routes(model: str) -> tuple[Route, ...]:
            # What the configuration says of a model goes before where its caller has sent it.
            if model == request.model and (not stated or _is_elsewhere(first.endpoint)):
                return (first,)
            return catalogue.routes(model)

        made = plan(request, config, routes=routes, name=catalogue.name)
        stops = tuple(
            _planned(stop, asked)
            for stop in made.stops
            if self._speaks(stop.route, first, asked) and _may_stay_exact(stop.route, exact)
        )
        if not stops:
            language = asked.language.name if asked.language is not None else "that path"
            where = ", ".join(str(stop.route) for stop in made.stops)
            msg = (
                f"no route of {request.model!r} takes this request: it is in the language "
                f"{language!r}{' and may not be changed' if exact else ''}, and the routes are "
                f"{where}"
            )
            raise RequestError(msg)
        return attrs.evolve(made, stops=stops, on_interrupt=("fail",))

    def _speaks(self, route: Route, first: Route, asked: RelayPath) -> bool:
        if _is_elsewhere(first.endpoint):
            return route == first
        outlet = self._outlets.get(route.endpoint)
        if outlet is None:
            return False
        if asked.language is not None:
            return asked.dialect_at(outlet.dialect) is not None
        home = self._outlets[first.endpoint].dialect
        return family(outlet.dialect.name) == family(home.name)


def _planned(stop: PlannedRoute, asked: RelayPath) -> PlannedRoute:
    if _is_elsewhere(stop.endpoint):
        stop = attrs.evolve(stop, retries=attrs.evolve(stop.retries, attempts=1))
    return stop if asked.streams else _hurried_by_nobody(stop)


def _with_the_callers_key(
    config: "EngineConfig", endpoint: str, request: ChatRequest
) -> "EngineConfig":
    """A key that is missing there is not missed by who brings one."""
    found = config.endpoints.get(endpoint)
    brought = {name for name, _ in headers_at(request, endpoint, endpoint)}
    if found is None or not found.missing_key or CREDENTIAL_HEADERS.isdisjoint(brought):
        return config
    endpoints = {**config.endpoints, endpoint: attrs.evolve(found, missing_key="")}
    return attrs.evolve(config, endpoints=endpoints)


def _is_elsewhere(endpoint: str) -> bool:
    return endpoint.startswith(_ELSEWHERE)


def _named(body: RelayBody, path: str) -> str | None:
    """The model that a request names; None where that can be no name."""
    name = (body.model or model_of(path) or "").strip()
    return name if name and len(name) <= _MOST_NAME else None


def _may_stay_exact(route: Route, body: RelayBody | None) -> bool:
    return body is None or body.model is None or body.model == route.model


def _hurried_by_nobody(stop: PlannedRoute) -> PlannedRoute:
    """An answer that does not stream shows no sign of work: all of it may take as long as a stream
    may work without content, so that lateness cannot be seen."""
    patience = stop.patience
    longest = _longest(patience.first_token_working, patience.first_byte)
    calm: Patience = attrs.evolve(
        patience, first_byte=longest, first_token=longest, first_token_reasoning=longest
    )
    return attrs.evolve(stop, patience=calm, hedge_after="off")


def _longest(*clocks: float | None) -> float | None:
    stated = [clock for clock in clocks if clock is not None]
    return max(stated) if len(stated) == len(clocks) else None


def _sorted_headers(
    headers: RequestHeaders,
) -> tuple[dict[str, dict[str, str | Secret]], dict[str, str | Secret]]:
    """Those for one endpoint each, by its name, which is "" for the first one; and those for
    all."""
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping, not a {type(headers).__name__}"
        raise RequestError(msg)
    named = {k: forwarded(v) for k, v in headers.items() if isinstance(v, Mapping)}
    flat = forwarded({k: v for k, v in headers.items() if not isinstance(v, Mapping)})
    shared = {k: v for k, v in flat.items() if k in SHARED_HEADERS}
    for name, value in shared.items():
        wrong = check_header(name, value) if isinstance(value, str | Secret) else "is no text"
        if wrong is not None:
            raise RequestError(wrong)
    return {**named, "": {k: v for k, v in flat.items() if k not in SHARED_HEADERS}}, shared


def _for_endpoints(
    private: dict[str, dict[str, str | Secret]], first: str
) -> dict[str, dict[str, str | Secret]]:
    named = {name: own for name, own in private.items() if name}
    return {**named, first: {**private[""], **named.get(first, {})}}


def _shared(
    given: Mapping[str, str | Secret], asked: RelayPath, body: RelayBody
) -> dict[str, str | Secret]:
    """What a stream's dialect says by itself, said for an answer that does not stream."""
    if asked.streams:
        return dict(given)
    stated: dict[str, str | Secret] = {"accept": "*/*", **given}
    if body.fields:
        stated.setdefault("content-type", "application/json")
    return stated


def _text(value: str | Secret | None) -> str:
    return value if isinstance(value, str) else ""
