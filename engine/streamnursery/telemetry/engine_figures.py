"""Metric families of an engine as a whole: routes, connections, admission, money."""

from collections.abc import Iterator

import trio

from streamnursery.facade import Engine
from streamnursery.scheduler.run.figures import connection_statistics, route_statistics
from streamnursery.telemetry.families import MetricFamily, MetricSample, labelled
from streamnursery.telemetry.labels import LabelNames
from streamnursery.values.money import NANOS_PER_DOLLAR

_CIRCUITS = ("closed", "half_open", "open")


def engine_families(engine: Engine) -> Iterator[MetricFamily]:
    """Each is taken when its turn comes."""
    engine._buffers.refresh()
    sessions = engine._sessions
    yield from _single(
        ("uptime_seconds", "gauge", "Since the engine was opened.", _uptime(engine)),
        ("streams", "gauge", "Stream tasks that run now.", len(engine._dispatcher.live)),
        ("buffered_bytes", "gauge", "Unread bytes of all streams.", engine._buffers.current_bytes),
        ("engine_queued_requests", "gauge", "Requests that wait now.", engine._admission.queued),
        ("engine_max_streams", "gauge", "Slots of all models.", engine._admission.total.max_slots),
        ("sessions", "gauge", "Sessions that are open.", len(sessions.live) if sessions else 0),
    )
    yield from _connections(engine)
    yield _admission(engine)
    yield from _routes(engine)
    yield from _heartbeats(engine)
    yield from _budgets(engine)


def _uptime(engine: Engine) -> float:
    return trio.current_time() - engine._opened_at


def _single(*found: tuple[str, str, str, float]) -> Iterator[MetricFamily]:
    for name, kind, help_text, value in found:
        yield MetricFamily(name, kind, help_text, [MetricSample("", value)])


def _connections(engine: Engine) -> Iterator[MetricFamily]:
    found = connection_statistics(engine._transports)
    yield MetricFamily(
        "connections",
        "gauge",
        "Connections to all endpoints.",
        [
            MetricSample(labelled(state="idle"), found.idle),
            MetricSample(labelled(state="busy"), found.busy),
        ],
    )
    yield from _single(
        ("connections_opened_total", "counter", "Connections that were made.", found.opened),
        ("http2_streams", "gauge", "HTTP/2 streams that are not over.", found.http2_streams),
    )


def _admission(engine: Engine) -> MetricFamily:
    return MetricFamily(
        "admission_total",
        "counter",
        "Attempts and calls by what the admission did with them.",
        [
            MetricSample(labelled(outcome=outcome.value), count)
            for outcome, count in engine._admission.outcomes.items()
        ],
    )


def _routes(engine: Engine) -> Iterator[MetricFamily]:
    now, endpoints, models = trio.current_time(), LabelNames(), LabelNames()
    circuits: dict[tuple[str, str], str] = {}
    paused: dict[tuple[str, str], float] = {}
    for name, route in route_statistics(engine._supervisor.routes.gates, now).items():
        endpoint, _, model = name.partition("/")
        key = endpoints.of(endpoint), models.of(model)
        # Of routes with one label the worst is shown.
        worst = max(circuits.get(key, "closed"), route.circuit, key=_CIRCUITS.index)
        circuits[key] = worst
        rest = max(0.0, (route.paused_until or 0.0) - now)
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


def _heartbeats(engine: Engine) -> Iterator[MetricFamily]:
    found = engine._heartbeats.statistics()
    yield MetricFamily(
        "endpoint_alive",
        "gauge",
        "Whether the latest heartbeat of an endpoint was answered.",
        [
            MetricSample(labelled(endpoint=name), int(beat.alive))
            for name, beat in found.items()
            if beat.alive is not None
        ],
    )
    yield MetricFamily(
        "heartbeats_missed_total",
        "counter",
        "Heartbeats that were not answered.",
        [MetricSample(labelled(endpoint=name), beat.missed) for name, beat in found.items()],
    )


def _budgets(engine: Engine) -> Iterator[MetricFamily]:
    spending, names = engine._spending, LabelNames()
    standings = {
        labelled(scope=found.scope, name=label, span=found.span): found
        for found in spending.ledger.standings(spending.wall())
        if (label := names.of(found.name)) == found.name
    }
    yield MetricFamily(
        "budget_spent_dollars",
        "gauge",
        "Spent in the budget's current window, uncertain amounts included.",
        [
            MetricSample(labels, (found.spent + found.uncertain) / NANOS_PER_DOLLAR)
            for labels, found in standings.items()
        ],
    )
    yield MetricFamily(
        "budget_limit_dollars",
        "gauge",
        "Limit of a budget in its current window.",
        [
            MetricSample(labels, found.limit / NANOS_PER_DOLLAR)
            for labels, found in standings.items()
            if found.limit is not None
        ],
    )
