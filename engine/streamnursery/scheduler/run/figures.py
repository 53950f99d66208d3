"""The engine's own figures, put together from the parts that hold them."""

from collections.abc import Mapping, Sequence
from functools import cache

import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.core.measure.meter_view import (
    Load,
    keep,
    model_statistics,
    total_statistics,
)
from streamnursery.core.recovery.circuit_gate import CircuitGate, GateView
from streamnursery.pipeline.channel import BufferTotal
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.transport.client import HttpTransport
from streamnursery.values.lazy import LazyMapping
from streamnursery.values.session import HeartbeatStatistics
from streamnursery.values.settings import Route
from streamnursery.values.statistics import (
    ConnectionStatistics,
    EngineStatistics,
    RouteStatistics,
)


def engine_statistics(
    *,
    admission: Admission,
    meters: Mapping[str, Meter],
    gates: Mapping[Route, CircuitGate],
    transports: Sequence[HttpTransport],
    buffers: BufferTotal,
    streams: int,
    opened_at: float,
    sessions: int = 0,
    session_connections: int = 0,
    heartbeats: Mapping[str, HeartbeatStatistics] | None = None,
) -> EngineStatistics:
    """A snapshot; costs a few microseconds per model and route, and the rest when it is read."""
    now = trio.current_time()
    buffers.refresh()
    total = admission.total
    whole: Load = (total.taken, admission.queued, None, total.max_slots, total.peak)
    taken = {name: (keep(meter), load_of(admission, name)) for name, meter in meters.items()}
    return EngineStatistics(
        total=cache(lambda: total_statistics([kept for kept, _ in taken.values()], whole)),
        models=LazyMapping(taken, lambda taken: model_statistics(*taken)),
        routes=route_statistics(gates, now),
        connections=connection_statistics(transports),
        streams=streams,
        buffered_bytes=buffers.current_bytes,
        uptime=now - opened_at,
        sessions=sessions,
        session_connections=session_connections,
        heartbeats=heartbeats or {},
        admission={outcome.value: count for outcome, count in admission.outcomes.items()},
    )


def load_of(admission: Admission, model: str) -> Load:
    slots = admission.slots(model)
    queued = admission.queued_for(model) if admission.queued else 0
    limit = admission.limit_of(model) if queued else None
    return slots.taken, queued, limit, admission.max_streams(model), slots.peak


def route_statistics(
    gates: Mapping[Route, CircuitGate], now: float
) -> Mapping[str, RouteStatistics]:
    """The health of every route that was used, by `endpoint/model`."""
    taken = {str(route): gate.view(now) for route, gate in gates.items()}
    return LazyMapping(taken, _route)


def _route(view: GateView) -> RouteStatistics:
    health = view()
    return RouteStatistics(
        circuit=health.breaker.circuit,
        paused_until=health.paused_until,
        calls=health.breaker.calls,
        failures=health.breaker.failures,
        slow=health.breaker.slow,
    )


def connection_statistics(transports: Sequence[HttpTransport]) -> ConnectionStatistics:
    pools = [transport.statistics() for transport in transports]
    return ConnectionStatistics(
        idle=sum(pool.idle for pool in pools),
        busy=sum(pool.busy for pool in pools),
        max_idle=sum(pool.max_idle for pool in pools),
        opened=sum(pool.opened for pool in pools),
        http2_streams=sum(pool.http2_streams for pool in pools),
    )
