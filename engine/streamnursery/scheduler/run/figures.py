"""The engine's own figures, put together from whoever holds them."""

from collections.abc import Mapping, Sequence

import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.circuit_gate import CircuitGate
from streamnursery.pipeline.channel import BufferTotal
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.transport.client import HttpTransport
from streamnursery.values.session import HeartbeatStatistics
from streamnursery.values.settings import Route
from streamnursery.values.statistics import (
    ConnectionStatistics,
    EngineStatistics,
    ModelStatistics,
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
    """A snapshot; costs a few microseconds per model and route."""
    now = trio.current_time()
    buffers.refresh()
    total = Meter()
    models: dict[str, ModelStatistics] = {}
    for name, meter in meters.items():
        total.merge(meter)
        models[name] = meter.snapshot(
            active=admission.slots(name).taken,
            queued=admission.queued_for(name),
            limit=admission.limit_of(name),
            max_streams=admission.max_streams(name),
            peak=admission.slots(name).peak,
        )
    whole = total.snapshot(
        active=admission.total.taken,
        queued=admission.queued,
        limit=None,
        max_streams=admission.total.max_slots,
        peak=admission.total.peak,
    )
    return EngineStatistics(
        total=whole,
        models=models,
        routes=route_statistics(gates, now),
        connections=_connections(transports),
        streams=streams,
        buffered_bytes=buffers.current_bytes,
        uptime=now - opened_at,
        sessions=sessions,
        session_connections=session_connections,
        heartbeats=heartbeats or {},
        admission={outcome.value: count for outcome, count in admission.outcomes.items()},
    )


def route_statistics(gates: Mapping[Route, CircuitGate], now: float) -> dict[str, RouteStatistics]:
    """The health of every route that was used, by `endpoint/model`."""
    return {str(route): _route(gate, now) for route, gate in gates.items()}


def _route(gate: CircuitGate, now: float) -> RouteStatistics:
    health = gate.statistics(now)
    return RouteStatistics(
        circuit=health.breaker.circuit,
        paused_until=health.paused_until,
        calls=health.breaker.calls,
        failures=health.breaker.failures,
        slow=health.breaker.slow,
    )


def _connections(transports: Sequence[HttpTransport]) -> ConnectionStatistics:
    pools = [transport.statistics() for transport in transports]
    return ConnectionStatistics(
        idle=sum(pool.idle for pool in pools),
        busy=sum(pool.busy for pool in pools),
        max_idle=sum(pool.max_idle for pool in pools),
        opened=sum(pool.opened for pool in pools),
        http2_streams=sum(pool.http2_streams for pool in pools),
    )
