"""Records of each request while it happens. No prompt, no answer, no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from streamnursery.values.errors import AttemptRecord
    from streamnursery.values.spending import BudgetStanding


@attrs.frozen
class LifecycleRecord:
    """Base of all records."""

    at: float
    """On trio's clock."""
    request: int
    """Number of the request within its engine, from 1."""
    model: str


@attrs.frozen
class StreamStarted(LifecycleRecord):
    """A request was accepted: the first record of every request that has a `StreamEnded`. It is
    emitted in the caller's own context (`contextvars`), also from another event loop."""

    tenant: str


@attrs.frozen
class Admitted(LifecycleRecord):
    """An attempt has its slots."""

    waited: float
    """Seconds in the queue for this attempt."""


@attrs.frozen
class NotAdmitted(LifecycleRecord):
    """An attempt or a call was refused, or gave up waiting."""

    outcome: str
    """Of `AdmissionOutcome`: "rejected: capacity", "evicted: expired" and the like."""
    waited: float
    """Seconds in the queue."""


@attrs.frozen
class AttemptStarted(LifecycleRecord):
    """An HTTP exchange begins."""

    attempt: int
    route: str


@attrs.frozen
class FirstToken(LifecycleRecord):
    """The stream is committed."""

    attempt: int
    ttft: float
    """Seconds since the entry of `stream()`."""


@attrs.frozen
class Retrying(LifecycleRecord):
    """The same route will be asked again."""

    delay: float
    why: str
    attempt: int = 0
    """Which attempt at the route that will be, from 1; 0 is not known."""
    attempts: int = 0
    """How many it may have."""


@attrs.frozen
class Resent(LifecycleRecord):
    """An attempt's request goes out once more: no server has looked at it."""

    attempt: int
    route: str
    why: str
    delay: float
    """Seconds from now."""


@attrs.frozen
class Hedged(LifecycleRecord):
    """A second attempt is made beside one that has not answered yet."""

    attempt: int
    """Number of the second one."""
    route: str
    after: float
    """Seconds since the first one began."""


@attrs.frozen
class Interrupted(LifecycleRecord):
    """The stream broke after content was delivered."""

    how: str
    """fail, restart, continue or resume: what is done about it."""
    why: str
    """What broke it, and why the other ways were not taken."""


@attrs.frozen
class RouteChanged(LifecycleRecord):
    """The request goes on elsewhere; the stream says so with `Rerouted`."""

    source: str
    target: str
    why: str


@attrs.frozen
class AttemptEnded(LifecycleRecord):
    """An HTTP exchange is over."""

    record: AttemptRecord


@attrs.frozen
class StreamEnded(LifecycleRecord):
    """The request has its outcome."""

    outcome: str
    """complete, failed or cancelled."""
    category: str | None
    """The error's, where there is one."""
    attempts: int
    content_events: int
    seconds: float = 0.0
    """Since the entry of `stream()`."""
    ttft: float | None = None
    """Seconds to the first token; None where there was none."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """Of all attempts, as reported; None where they are not known."""
    cost_usd: float | None = None
    """Of all attempts, as the ledger has it; None where it is not known, as of a model without a
    price."""


@attrs.frozen
class SessionRecord(LifecycleRecord):
    """Base of the records of sessions: `request` is the session's number within its engine, from
    1, and `model` the name of its endpoint."""


@attrs.frozen
class Reconnecting(SessionRecord):
    """A connection will be tried."""

    attempt: int
    """In a row without a connection, from 1."""
    delay: float
    """Seconds until then."""


@attrs.frozen
class Reconnected(SessionRecord):
    """A connection stands in the place of one that broke."""

    attempts: int
    """How many it took."""


@attrs.frozen
class ConnectionLost(SessionRecord):
    """A connection broke, or with `permanent` the session gave up."""

    permanent: bool
    why: str
    """The category of the error."""


@attrs.frozen
class ModelChosen(LifecycleRecord):
    """The engine chose the model for a task."""

    rule: str
    order: tuple[str, ...]
    """All that could do it, the chosen one first."""


@attrs.frozen
class CircuitChanged(LifecycleRecord):
    """The breaker of a route has opened, half opened or closed. It concerns no single request:
    `request` is 0, and `model` is the route's."""

    route: str
    circuit: str
    """"open", "half open" or "closed"."""
    until: float | None
    """When the next call may be let through, on trio's clock; None once it is closed."""


@attrs.frozen
class EndpointBeat(LifecycleRecord):
    """The heartbeat of an endpoint has failed, or is answered again. `request` is 0, and `model`
    the endpoint's name."""

    alive: bool
    why: str
    """What failed; empty when it is answered again."""


@attrs.frozen
class BudgetAlert(LifecycleRecord):
    """A budget has reached one of its thresholds, or has refused a request, for the first time in
    this window."""

    percent: int
    """The threshold; 100 where a request was refused."""
    standing: BudgetStanding
    """As it was then; `request` is the one whose settlement reached it, or that was refused."""
    refused: bool = False
    """A request had no room. A hard budget is at its end then, a little below 100 percent."""


Record: TypeAlias = (
    StreamStarted
    | Admitted
    | NotAdmitted
    | AttemptStarted
    | FirstToken
    | Retrying
    | Resent
    | Hedged
    | Interrupted
    | RouteChanged
    | AttemptEnded
    | StreamEnded
    | Reconnecting
    | Reconnected
    | ConnectionLost
    | BudgetAlert
    | CircuitChanged
    | EndpointBeat
    | ModelChosen
)
