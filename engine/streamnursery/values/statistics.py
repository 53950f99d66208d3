"""Snapshots of what the engine holds and has measured. Durations in seconds."""

from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from streamnursery.values.money import NO_MONEY, Money
from streamnursery.values.one_line import cut, line, seconds, table
from streamnursery.values.session import HeartbeatStatistics


class Distribution(Protocol):
    """What a `Quantiles` reads."""

    count: int
    total: float
    largest: float

    def quantile(self, q: float) -> float | None: ...

    def buckets(self) -> tuple[tuple[float, int], ...]: ...


class Quantiles:
    """A distribution, as it was when the statistics were asked for; right to within 2.5 %, worked
    out when it is read. None where nothing was measured."""

    __slots__ = ("_source",)

    def __init__(self, source: Distribution | Callable[[], Distribution] | None = None) -> None:
        self._source = source

    def _read(self) -> Distribution | None:
        if callable(self._source):
            self._source = self._source()
        return self._source

    def _quantile(self, q: float) -> float | None:
        source = self._read()
        return source.quantile(q) if source is not None else None

    @property
    def count(self) -> int:
        source = self._read()
        return source.count if source is not None else 0

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count else None

    @property
    def p50(self) -> float | None:
        return self._quantile(0.5)

    @property
    def p90(self) -> float | None:
        return self._quantile(0.9)

    @property
    def p99(self) -> float | None:
        return self._quantile(0.99)

    @property
    def max(self) -> float | None:
        source = self._read()
        return source.largest if source is not None and source.count else None

    @property
    def sum(self) -> float:
        """Seconds, of all together."""
        source = self._read()
        return source.total if source is not None else 0.0

    @property
    def buckets(self) -> tuple[tuple[float, int], ...]:
        """What was counted: each bucket that holds something as its upper bound in seconds and its
        count, ascending. The bounds are the same in every engine and grow by 5 %."""
        source = self._read()
        return source.buckets() if source is not None else ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantiles):
            return NotImplemented
        return (self.sum, self.buckets) == (other.sum, other.buckets)

    def __hash__(self) -> int:
        return hash((self.sum, self.buckets))

    def __repr__(self) -> str:
        names = ("count", "mean", "p50", "p90", "p99", "max", "sum")
        return f"Quantiles({', '.join(f'{name}={_digits(getattr(self, name))}' for name in names)})"


_NOTHING = Quantiles()


@attrs.frozen(repr=False)
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
    """What the next of them waits for, in words; None: no request waits."""
    max_streams: int = 0
    peak_active: int = 0
    utilisation: float = 0.0
    """`active / max_streams`; 0 when the limit is 0."""
    average_latency: float | None = None
    """Mean duration of succeeded requests, queue time included."""
    queue_time: Quantiles = _NOTHING
    ttft: Quantiles = _NOTHING
    """Time to first token from the entry of `stream()`."""
    itl: Quantiles = _NOTHING
    """Inter-token latency: events of one read record one gap and zeros."""
    content_events: int = 0
    output_tokens: int = 0
    """As reported by usage, else content events."""
    input_tokens: int = 0
    cost: Money = NO_MONEY
    """Of the attempts that are settled, where the model has a price; see `usage_report()`."""
    tokens_per_second: float | None = None
    """Output tokens by the seconds spent streaming them, per stream."""
    errors: Mapping[str, int] = attrs.field(factory=dict)
    """Failures by category."""

    def __repr__(self) -> str:
        return line("ModelStatistics", _figures(self))


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


@attrs.frozen(repr=False)
class EngineStatistics:
    """A snapshot of the whole engine. What it costs is what is read of it: figures are taken at
    once, and put together where they are looked at."""

    _total: ModelStatistics | Callable[[], ModelStatistics] = attrs.field(repr=False)
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

    def __repr__(self) -> str:
        return line("EngineStatistics", [f"{len(self.models)} models", *_figures(self.total)])

    def table(self) -> str:
        """Text: a line for each model that was used, and one for all together; print it."""
        rows = [*self.models.items(), ("total", self.total)]
        return table(_HEADS, [(cut(name, 40), *_row(model)) for name, model in rows])

    @property
    def queued(self) -> int:
        return self.total.queued

    @property
    def active(self) -> int:
        return self.total.active

    @property
    def total(self) -> ModelStatistics:
        """All models together."""
        return self._total() if callable(self._total) else self._total


_HEADS = (
    "model",
    "requests",
    "ok",
    "failed",
    "cancelled",
    "active",
    "queued",
    "ttft p50",
    "ttft p99",
    "tokens/s",
    "in",
    "out",
    "cost",
)


def _digits(value: float | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else repr(value)


def _row(model: ModelStatistics) -> tuple[str, ...]:
    pace = model.tokens_per_second
    counts = (model.requests, model.succeeded, model.failed, model.cancelled)
    return (
        *map(str, (*counts, model.active, model.queued)),
        seconds(model.ttft.p50),
        seconds(model.ttft.p99),
        "-" if pace is None else f"{pace:.3g}",
        str(model.input_tokens),
        str(model.output_tokens),
        str(model.cost),
    )


def _figures(model: ModelStatistics) -> list[str]:
    return [
        f"{model.requests} requests",
        f"{model.succeeded} ok",
        f"{model.failed} failed" if model.failed else "",
        f"{model.active} active",
        f"{model.queued} queued" if model.queued else "",
        f"ttft p50 {seconds(model.ttft.p50)}" if model.ttft.count else "",
        str(model.cost) if model.cost else "",
    ]
