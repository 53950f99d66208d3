"""What an engine does, for the tools that watch services: OpenTelemetry and Prometheus. Log lines
are made by `streamnursery.log_observer`.

Every function takes an engine of `streamnursery`, `streamnursery.aio` or `streamnursery.sync`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamnursery.telemetry.endpoint import MetricsBlock as MetricsBlock
    from streamnursery.telemetry.endpoint import MetricsServer as MetricsServer
    from streamnursery.telemetry.endpoint import serve_metrics as serve_metrics
    from streamnursery.telemetry.opentelemetry import Otel as Otel
    from streamnursery.telemetry.opentelemetry import current_trace_id as current_trace_id
    from streamnursery.telemetry.opentelemetry import otel as otel
    from streamnursery.telemetry.prometheus import prometheus_text as prometheus_text

_HOMES = {
    "MetricsBlock": "streamnursery.telemetry.endpoint",
    "MetricsServer": "streamnursery.telemetry.endpoint",
    "Otel": "streamnursery.telemetry.opentelemetry",
    "current_trace_id": "streamnursery.telemetry.opentelemetry",
    "otel": "streamnursery.telemetry.opentelemetry",
    "prometheus_text": "streamnursery.telemetry.prometheus",
    "serve_metrics": "streamnursery.telemetry.endpoint",
}

__all__ = [
    "MetricsBlock",
    "MetricsServer",
    "Otel",
    "current_trace_id",
    "otel",
    "prometheus_text",
    "serve_metrics",
]


def __getattr__(name: str) -> object:
    # Each is loaded with its first use: Prometheus needs no OpenTelemetry, nor the other way.
    if name not in _HOMES:
        msg = f"module 'streamnursery.telemetry' has no attribute {name!r}"
        raise AttributeError(msg)
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
