"""What an engine is doing at one moment, stream by stream. No prompt, no answer, no key."""

from collections.abc import Mapping, Sequence

import attrs

from streamnursery.values.statistics import RateStatistics, RouteStatistics


@attrs.frozen
class StreamSnapshot:
    """One live stream. Seconds."""

    request: int
    """Number of the request within its engine."""
    model: str
    tenant: str
    state: str
    """queued, waiting (for a connection, an answer, the end of a backoff), streaming, held back
    (by its consumer), or delivered (all of it, and not read to its end yet)."""
    age: float
    since_content: float | None
    """Since the last content; None before the first."""
    route: str | None
    attempt: int
    """Number of the latest attempt; 0 before the first."""
    waits_for: str | None
    content_events: int
    unread_bytes: int


@attrs.frozen
class LimitSnapshot:
    """One model, one endpoint, or the engine as a whole."""

    name: str
    """model 'x', endpoint 'y' or engine."""
    taken: int
    max_streams: int | None
    """None: no limit of its own."""
    queued: int
    waits_for: str | None = None
    """What the next in the queue waits for."""
    rates: tuple[RateStatistics, ...] = ()


@attrs.frozen
class EngineSnapshot:
    """Everything at one moment. It is taken at once, and put together where it is read; what a
    queued stream or limit waits for is said as of then."""

    at: float
    """On trio's clock."""
    uptime: float
    streams: Sequence[StreamSnapshot]
    """The oldest first."""
    calls: int
    """Calls of the caller's own that wait or run."""
    limits: Sequence[LimitSnapshot]
    """The engine's, then those of models and endpoints that were named or used."""
    routes: Mapping[str, RouteStatistics] = attrs.field(factory=dict)
    """The health of the routes that were used, by `endpoint/model`."""
