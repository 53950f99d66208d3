"""Snapshots of what the engine holds and has measured. Durations in seconds."""

from collections.abc import Mapping

import attrs

from streamnursery.values.session import HeartbeatStatistics


@attrs.frozen
class Quantiles:
    """A distribution; right to within 2.5 %. None where nothing was measured."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None
    sum: float = 0.0
    """Seconds, of all together."""
    buckets: tuple[tuple[float, int], ...] = attrs.field(default=(), repr=False)
    """What was counted: each bucket that holds something as its upper bound in seconds and its
    count, ascending. The bounds are the same in every engine and grow by 5 %."""


@attrs.frozen
class ModelStatistics:
    """One model, or all of them together."""

    requests: int = 0
    """Requests that were accepted, whatever became of them."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    """Attempts on a route that had failed this request before."""
    reroutes: int = 0
    """Changes to a backup endpoint or a fallback model."""
    hedges: int = 0
    """Second attempts made beside a slow first one."""
    hedges_won: int = 0
    """Those of them that answered first."""
    active: int = 0
    """Leases held now."""
    queued: int = 0
    """Requests waiting for a slot now."""
    limit: str | None = None
    """What the next of them waits for, in words; None: nobody waits."""
    max_streams: int = 0
    peak_active: int = 0
    utilisation: float = 0.0
    """`active / max_streams`; 0 when the limit is 0."""
    average_latency: float | None = None
    """Mean duration of succeeded requests, queue time included."""
    queue_time: Quantiles = Quantiles()
    ttft: Quantiles = Quantiles()
    """Time to first token from the entry of `stream()`."""
    itl: Quantiles = Quantiles()
    """Inter-token latency: events of one read record one gap and zeros."""
    content_events: int = 0
    output_tokens: int = 0
    """As reported by usage, else content events."""
    input_tokens: int = 0
    tokens_per_second: float | None = None
    """Output tokens by the seconds spent streaming them, per stream."""
    errors: Mapping[str, int] = attrs.field(factory=dict)
    """Failures by category."""


@attrs.frozen
class RateStatistics:
    """A limit per minute."""

    kind: str
    """rpm, tpm, input_tpm or output_tpm."""
    limit: int
    used: int
    """In the last 60 s."""


@attrs.frozen
class ConnectionStatistics:
    """Connections of all endpoints."""

    idle: int = 0
    busy: int = 0
    max_idle: int = 0
    """The most that may be idle, over all peers."""
    http2_streams: int = 0
    """Streams of HTTP/2 that are not over, on all connections."""
    opened: int = 0
    """Connections made since the engine was opened."""


@attrs.frozen
class RouteStatistics:
    """The health of one route."""

    circuit: str
    """closed, open or half_open."""
    paused_until: float | None
    """The provider asked everybody to wait until then; None: it did not."""
    calls: int
    """In the breaker's window; failures and slow ones are among them."""
    failures: int
    slow: int


@attrs.frozen
class EngineStatistics:
    """A snapshot of the whole engine."""

    total: ModelStatistics
    models: Mapping[str, ModelStatistics]
    routes: Mapping[str, RouteStatistics]
    """By `endpoint/model`; routes that were used."""
    connections: ConnectionStatistics
    streams: int
    """Stream tasks that have not ended."""
    buffered_bytes: int
    """Unread bytes over all streams; those of a session's are in its own statistics."""
    uptime: float
    sessions: int = 0
    """Sessions whose block has not been left, and those that are ending."""
    session_connections: int = 0
    """Their sockets."""
    heartbeats: Mapping[str, HeartbeatStatistics] = attrs.field(factory=dict)
    """By endpoint; those that have a heartbeat."""
    admission: Mapping[str, int] = attrs.field(factory=dict)
    """Attempts and calls by `AdmissionOutcome`: "dispatched", "rejected: capacity" and so on."""

    @property
    def queued(self) -> int:
        return self.total.queued

    @property
    def active(self) -> int:
        return self.total.active
