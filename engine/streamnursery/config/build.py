"""From layers of settings to one `EngineConfig`, and the checks that need to see the whole.

Rule 1: a value that was broken is not reported again as missing.
Rule 2: a credential that is absent is not a mistake: it disables its endpoint, which keeps the
        reason in `missing_key`. One file serves people who have different keys.
"""

import graphlib
from typing import Any

import attrs

from streamnursery.config.credentials import Absent
from streamnursery.config.layer import SIMULATOR, Found, Groups, Layer
from streamnursery.config.providers import DEFAULT, PROVIDERS
from streamnursery.config.report import Place, Report, nearest, quoted, suggestion
from streamnursery.values.budgets import Budget, Budgets, GroupBudget
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.policy import Adaptive, Patience, Retries
from streamnursery.values.rates import Rates
from streamnursery.values.request_defaults import RequestDefaults
from streamnursery.values.routing_rules import DEFAULT_RULES
from streamnursery.values.secret import Secret
from streamnursery.values.session import (
    EndpointHeartbeat,
    Heartbeat,
    Pending,
    Reconnect,
    SessionSettings,
)
from streamnursery.values.settings import (
    Endpoint,
    EngineConfig,
    ModelSettings,
    ProviderNames,
    Route,
)
from streamnursery.values.tenant import Group, Tenant
from streamnursery.wire.registry import DEFAULT as PRIMARY_DIALECT
from streamnursery.wire.registry import Dialects

MAX_CYCLES = 10


def check(layer: Layer, dialects: Dialects, report: Report) -> None:
    """Report everything that is wrong between settings."""
    groups = layer.grouped()
    for name in layer.named("endpoints"):
        _check_url(name, layer, report)
        _check_http(name, layer, report)
        _check_certificate(name, layer, report)
        _check_token(name, layer, report)
        _check_keys(name, layer, report)
        _check_options(name, layer, dialects, report)
    for name in layer.named("groups"):
        _check_group(name, layer, report)
    _check_buffers(layer, groups, report)
    for place in (("defaults",), *(("models", name) for name in layer.named("models"))):
        _check_retries(place, layer, groups, report)
    for name in layer.named("models"):
        _check_adaptive(name, layer, groups, report)
    _check_routes(layer, report)
    _check_fallbacks(layer, report)
    _check_budgets(layer, groups, report)


def _check_url(name: str, layer: Layer, report: Report) -> None:
    place = ("endpoints", name, "url")
    if place not in layer.values and place not in layer.broken:
        origin = layer.names[place[:2]]
        report.add(origin, place, 'is missing; write url = "https://api.example.com/v1"')


def _check_http(name: str, layer: Layer, report: Report) -> None:
    url = layer.values.get(("endpoints", name, "url"))
    place = ("endpoints", name, "http")
    http = layer.values.get(place)
    if url is None or http is None:
        return
    secure = url.value.origin.secure
    if http.value == "2" and not secure:
        report.add(http.origin, place, '"2" needs an https url; over http:// write "h2c"')
    elif http.value == "h2c" and secure:
        report.add(http.origin, place, '"h2c" is HTTP/2 without TLS; for https:// write "2"')


def _check_certificate(name: str, layer: Layer, report: Report) -> None:
    """A certificate is shown over TLS alone, and a key alone shows nothing."""
    cert, key, url = (
        layer.values.get(("endpoints", name, last), Found(None, ""))
        for last in ("client_cert", "client_key", "url")
    )
    if key.value and not cert.value and ("endpoints", name, "client_cert") not in layer.broken:
        what = "is the key of no certificate; set `client_cert` too"
        report.add(key.origin, ("endpoints", name, "client_key"), what)
    if cert.value and url.value is not None and not url.value.origin.secure:
        what = "is shown over TLS alone, and this endpoint's url is http://; write https://"
        report.add(cert.origin, ("endpoints", name, "client_cert"), what)


def _check_token(name: str, layer: Layer, report: Report) -> None:
    """One of two says who asks."""
    command = layer.values.get(("endpoints", name, "token_command"))
    if command is not None and ("endpoints", name, "key") in layer.values:
        what = "prints the endpoint's key, and `key` names another one; leave one of them out"
        report.add(command.origin, ("endpoints", name, "token_command"), what)


def _check_keys(name: str, layer: Layer, report: Report) -> None:
    """One of three says who asks."""
    keys = layer.values.get(("endpoints", name, "keys"))
    for other in ("key", "token_command"):
        found = layer.values.get(("endpoints", name, other))
        if keys is not None and found is not None and not found.origin.startswith("env "):
            what = f"names the endpoint's keys, and `{other}` another one; leave one of them out"
            report.add(keys.origin, ("endpoints", name, "keys"), what)


def _check_options(name: str, layer: Layer, dialects: Dialects, report: Report) -> None:
    """A dialect reads its own options; one of another dialect would do nothing."""
    spoken = layer.values.get(("endpoints", name, "dialect"), Found(PRIMARY_DIALECT, "")).value
    for option, holders in dialects.options().items():
        place = ("endpoints", name, option)
        found = layer.values.get(place)
        if found is not None and spoken not in (holder for holder, _ in holders):
            names = " and ".join(holder for holder, _ in holders)
            what = f"is an option of {names}, and this endpoint speaks {spoken}; leave it out"
            report.add(found.origin, place, what)


def _check_buffers(layer: Layer, groups: Groups, report: Report) -> None:
    names = ("buffer_bytes", "max_buffered_bytes")
    engine = groups.get(("engine",), {})
    one, all_ = (engine.get(n, getattr(attrs.fields(EngineConfig), n).default) for n in names)
    if one > all_:
        origin = _origin(layer, *(("engine", name) for name in names))
        what = f"{one} bytes for one stream are more than the {all_} of `max_buffered_bytes`"
        report.add(origin, ("engine", names[0]), f"{what}; lower it or raise the other")


def _check_retries(place: Place, layer: Layer, groups: Groups, report: Report) -> None:
    given = groups.get((*place, "retries"), {})
    retries = attrs.evolve(_default_retries(groups), **given)
    if given.keys() & {"base", "cap"} and retries.base > retries.cap:
        base, cap = ((*place, "retries", name) for name in ("base", "cap"))
        what = f"must not be above `cap`: {retries.base:g} s is more than {retries.cap:g} s"
        report.add(_origin(layer, base, cap), base, what)


def _check_adaptive(name: str, layer: Layer, groups: Groups, report: Report) -> None:
    given = groups.get(("models", name, "adaptive"), {})
    least, most = (
        given.get(field, getattr(attrs.fields(Adaptive), field).default)
        for field in ("min_streams", "max_streams")
    )
    if least > most:
        places = [("models", name, "adaptive", n) for n in ("min_streams", "max_streams")]
        what = f"must not be above `max_streams`: {least} is more than {most}"
        report.add(_origin(layer, *places), places[0], what)


def _origin(layer: Layer, *places: Place) -> str:
    return next(layer.values[place].origin for place in places if place in layer.values)


def _routed(layer: Layer) -> list[tuple[Place, Found]]:
    return [(p, f) for p, f in layer.values.items() if p[0] == "models" and p[-1] == "routes"]


def _check_routes(layer: Layer, report: Report) -> None:
    endpoints = layer.named("endpoints")
    for place, found in _routed(layer):
        if place[1].startswith(f"{SIMULATOR}/"):
            report.add(found.origin, place, "a sim/ model is served in process; leave `routes` out")
            continue
        for route in found.value:
            known = ("endpoints", route.endpoint) in layer.names or route.endpoint == SIMULATOR
            if not known:
                report.add(found.origin, place, _unknown_endpoint(route, endpoints, report))


def _unknown_endpoint(route: Route, endpoints: list[str], report: Report) -> str:
    what = f"no endpoint is called {quoted(route.endpoint)}"
    return what if report.full else what + suggestion(route.endpoint, endpoints)


def _check_budgets(layer: Layer, groups: Groups, report: Report) -> None:
    """A limit on an endpoint that does not exist would never bind."""
    known = [*layer.named("endpoints"), SIMULATOR]
    for place in groups:
        if place[:2] == ("budgets", "endpoints") and place[2] not in known:
            first = next(iter(groups[place]))
            what = f"no endpoint is called {quoted(place[2])}"
            hint = "" if report.full else suggestion(place[2], known)
            report.add(layer.values[*place, first].origin, place, what + hint)
        if (place[0], place[2:]) == ("tenants", ("budget",)):
            elsewhere = ("budgets", "tenants", place[1])
            if elsewhere in groups:
                first = next(iter(groups[place]))
                what = f"is in [{'.'.join(elsewhere)}] too; keep one of the two tables"
                report.add(layer.values[*place, first].origin, place, what)


def _check_fallbacks(layer: Layer, report: Report) -> None:
    models = layer.named("models")
    known = set(models)
    graph: dict[str, tuple[str, ...]] = {}
    for name in models:
        place = ("models", name, "fallback")
        found = layer.values.get(place, Found((), ""))
        graph[name] = tuple(other for other in found.value if other in known)
        for other in found.value:
            if other not in known and not other.startswith(f"{SIMULATOR}/"):
                meant = None if report.full else nearest(other, models, cutoff=0.7)
                hint = f"did you mean {quoted(meant)}?" if meant else "give it a table of its own"
                report.add(found.origin, place, f"[models] has no {quoted(other)}; {hint}")
    _check_cycles(graph, layer, report)


def _check_cycles(graph: dict[str, tuple[str, ...]], layer: Layer, report: Report) -> None:
    for _ in range(MAX_CYCLES):
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            cycle = list(reversed(error.args[1]))
        else:
            return
        place = ("models", cycle[0], "fallback")
        shown = " -> ".join(quoted(name) for name in cycle[:10])
        report.add(
            layer.values[place].origin, place, f"leads back to itself: {shown}; break the circle"
        )
        graph[cycle[0]] = ()


def build(layer: Layer, written: Layer, dialects: Dialects) -> EngineConfig:
    """The configuration that a layer without problems describes.

    `written` is the part of it that does not come from a provider's variables.
    """
    groups = layer.grouped()
    engine = groups.get(("engine",), {})
    if ("defaults", "max_streams") in layer.values:
        engine["default_max_streams"] = layer.values["defaults", "max_streams"].value
    for name in ("on_interrupt", "on_abort"):
        if ("defaults", name) in layer.values:
            engine[name] = layer.values["defaults", name].value
    endpoints = {name: _endpoint(name, groups, dialects) for name in layer.named("endpoints")}
    return EngineConfig(
        **engine,
        default_model=groups.get(("defaults",), {}).get("model", ""),
        request=_request(groups.get(("defaults",), {})),
        patience=_default_patience(groups),
        retries=_default_retries(groups),
        endpoints=endpoints,
        provider_names={
            preset.name: ProviderNames(preset.families, dict(preset.spellings))
            for preset in PROVIDERS
            if preset.name in endpoints and str(endpoints[preset.name].url) == preset.url
        },
        models={name: _model(name, groups) for name in layer.named("models")},
        default_endpoint=_default_endpoint(endpoints, written),
        budgets=_budgets(groups),
        routing_rules=groups.get(("routing",), {}).get("rules", DEFAULT_RULES),
        http2=Http2Settings(**groups.get(("http2",), {})),
        sessions=_sessions(groups),
        tenants={name: _tenant(name, groups) for name in layer.named("tenants")},
        groups={name: _group(name, groups) for name in layer.named("groups")},
    )


def _sessions(groups: Groups) -> SessionSettings:
    return SessionSettings(
        heartbeat=Heartbeat(**groups.get(("sessions", "heartbeat"), {})),
        reconnect=Reconnect(**groups.get(("sessions", "reconnect"), {})),
        pending=Pending(**groups.get(("sessions", "pending"), {})),
        **groups.get(("sessions",), {}),
    )


def _budgets(groups: Groups) -> Budgets:
    def scope(name: str) -> dict[str, Budget]:
        return {p[2]: Budget(**f) for p, f in groups.items() if p[:2] == ("budgets", name)}

    def own(table: str) -> dict[str, dict[str, Any]]:
        return {p[1]: f for p, f in groups.items() if (p[0], p[2:]) == (table, ("budget",))}

    return Budgets(
        models=scope("models"),
        tenants={**scope("tenants"), **{n: Budget(**f) for n, f in own("tenants").items()}},
        endpoints=scope("endpoints"),
        groups={
            name: GroupBudget(**fields, models=groups.get(("groups", name), {}).get("models", ()))
            for name, fields in own("groups").items()
        },
        **groups.get(("budgets",), {}),
    )


def _default_patience(groups: Groups) -> Patience:
    return Patience(**groups.get(("defaults", "patience"), {}))


def _default_retries(groups: Groups) -> Retries:
    return Retries(**groups.get(("defaults", "retries"), {}))


def _default_endpoint(endpoints: dict[str, Endpoint], written: Layer) -> str | None:
    """`openai` where it exists, else the only endpoint that is configured."""
    if DEFAULT in endpoints:
        return DEFAULT
    own = [name for name in endpoints if ("endpoints", name, "url") in written.values]
    return own[0] if len(own) == 1 else None


def _endpoint(name: str, groups: Groups, dialects: Dialects) -> Endpoint:
    fields = {"dialect": PRIMARY_DIALECT, **groups.get(("endpoints", name), {})}
    options = {option: fields.pop(option) for option in dialects.options() if option in fields}
    headers = groups.get(("endpoints", name, "headers"), {})
    keys = fields.pop("keys", None)
    if isinstance(keys, tuple):
        fields["more_keys"] = keys[1:]
        fields["key" if isinstance(keys[0], Secret) else "token_command"] = keys[0]
    elif keys is not None:
        fields["key"] = keys
    absent = [v for v in (*fields.values(), *headers.values()) if isinstance(v, Absent)]
    return Endpoint(
        name=name,
        options=options,
        headers=_present(headers),
        query=groups.get(("endpoints", name, "query"), {}),
        missing_key=absent[0].why if absent else "",
        heartbeat=EndpointHeartbeat(**groups.get(("endpoints", name, "heartbeat"), {})),
        rates=_rates(fields),
        **_present(fields),
    )


def _tenant(name: str, groups: Groups) -> Tenant:
    fields = groups.get(("tenants", name), {})
    return Tenant(rates=_rates(fields), **fields)


def _group(name: str, groups: Groups) -> Group:
    fields = groups.get(("groups", name), {})
    return Group(rates=_rates(fields), **{"models": (), **fields})


def _check_group(name: str, layer: Layer, report: Report) -> None:
    """A group of no models limits nothing."""
    place = ("groups", name, "models")
    if place not in layer.values and place not in layer.broken:
        report.add(layer.names[place[:2]], place, 'is missing; write models = ["gpt-4.1*"]')


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not isinstance(value, Absent)}


def _rates(fields: dict[str, Any]) -> Rates:
    """The limits per minute among the settings of a table; they are taken out of it."""
    return Rates(**{n: fields.pop(n) for n in attrs.fields_dict(Rates) if n in fields})


def _request(fields: dict[str, Any]) -> RequestDefaults:
    """The fields of requests among the settings of a table; they are taken out of it."""
    names = attrs.fields_dict(RequestDefaults)
    return RequestDefaults(**{name: fields.pop(name) for name in names if name in fields})


def _model(name: str, groups: Groups) -> ModelSettings:
    fields = groups.get(("models", name), {})
    patience = groups.get(("models", name, "patience"))
    retries = groups.get(("models", name, "retries"))
    return ModelSettings(
        name=name,
        patience=attrs.evolve(_default_patience(groups), **patience) if patience else None,
        retries=attrs.evolve(_default_retries(groups), **retries) if retries else None,
        rates=_rates(fields),
        request=_request(fields),
        adaptive=Adaptive(**groups.get(("models", name, "adaptive"), {})),
        **fields,
    )
