"""Metric families of an engine as a whole: routes, connections, admission, money."""

from collections.abc import Iterator, Mapping
from typing import Any

from streamnursery.telemetry.families import MetricFamily, MetricSample, labelled
from streamnursery.telemetry.labels import LabelNames
from streamnursery.values.money import NANOS_PER_DOLLAR

_CIRCUITS = ("closed", "half_open", "open")
_SINGLE = (
    ("uptime_seconds", "uptime", "Since the engine was opened."),
    ("streams", "streams", "Stream tasks that run now."),
    ("buffered_bytes", "buffered_bytes", "Unread bytes of all streams."),
    ("engine_queued_requests", "queued", "Requests that wait now."),
    ("engine_max_streams", "max_streams", "Slots of all models."),
    ("sessions", "sessions", "Sessions that are open."),
)


def engine_families(figures: Mapping[str, Any]) -> Iterator[MetricFamily]:
    """Of what `facade/figures.py` has, all but the models."""
    for name, field, help_text in _SINGLE:
        yield MetricFamily(name, "gauge", help_text, [MetricSample("", figures[field])])
    yield from _connections(figures["connections"])
    yield MetricFamily(
        "admission_total",
        "counter",
        "Attempts and calls by what the admission did with them.",
        [MetricSample(labelled(outcome=name), n) for name, n in figures["admission"].items()],
    )
    yield from _routes(figures["routes"])
    yield from _heartbeats(figures["heartbeats"])
    yield from _budgets(figures["budgets"])


def _connections(found: Mapping[str, int]) -> Iterator[MetricFamily]:
    yield MetricFamily(
        "connections",
        "gauge",
        "Connections to all endpoints.",
        [MetricSample(labelled(state=state), found[state]) for state in ("idle", "busy")],
    )
    opened = [MetricSample("", found["opened"])]
    yield MetricFamily("connections_opened_total", "counter", "Connections that were made.", opened)
    streams = [MetricSample("", found["http2_streams"])]
    yield MetricFamily("http2_streams", "gauge", "HTTP/2 streams that are not over.", streams)


def _routes(routes: Mapping[str, tuple[str, float]]) -> Iterator[MetricFamily]:
    endpoints, models = LabelNames(), LabelNames()
    circuits: dict[tuple[str, str], str] = {}
    paused: dict[tuple[str, str], float] = {}
    for name, (circuit, rest) in routes.items():
        endpoint, _, model = name.partition("/")
        key = endpoints.of(endpoint), models.of(model)
        # Of routes with one label the worst is shown.
        circuits[key] = max(circuits.get(key, "closed"), circuit, key=_CIRCUITS.index)
        paused[key] = max(paused.get(key, 0.0), rest)
    yield MetricFamily(
        "route_circuit",
        "gauge",
        "State of a route's circuit breaker: 0 closed, 1 half open, 2 open.",
        [MetricSample(_route(key), _CIRCUITS.index(circuit)) for key, circuit in circuits.items()],
    )
    yield MetricFamily(
        "route_paused_seconds",
        "gauge",
        "How long the provider asked to be left alone.",
        [MetricSample(_route(key), rest) for key, rest in paused.items()],
    )


def _route(key: tuple[str, str]) -> str:
    return labelled(endpoint=key[0], model=key[1])


def _heartbeats(found: Mapping[str, tuple[bool | None, int]]) -> Iterator[MetricFamily]:
    yield MetricFamily(
        "endpoint_alive",
        "gauge",
        "Whether the latest heartbeat of an endpoint was answered.",
        [
            MetricSample(labelled(endpoint=name), int(alive))
            for name, (alive, _) in found.items()
            if alive is not None
        ],
    )
    yield MetricFamily(
        "heartbeats_missed_total",
        "counter",
        "Heartbeats that were not answered.",
        [MetricSample(labelled(endpoint=name), missed) for name, (_, missed) in found.items()],
    )


def _budgets(
    found: list[tuple[str, str, str, int, int | None]],
) -> Iterator[MetricFamily]:
    names = LabelNames()
    shown = [
        (labelled(scope=scope, name=name, span=span), spent, limit)
        for scope, name, span, spent, limit in found
        if names.of(name) == name
    ]
    yield MetricFamily(
        "budget_spent_dollars",
        "gauge",
        "Spent in the budget's current window, uncertain amounts included.",
        [MetricSample(labels, spent / NANOS_PER_DOLLAR) for labels, spent, _ in shown],
    )
    yield MetricFamily(
        "budget_limit_dollars",
        "gauge",
        "Limit of a budget in its current window.",
        [
            MetricSample(labels, limit / NANOS_PER_DOLLAR)
            for labels, _, limit in shown
            if limit is not None
        ],
    )
