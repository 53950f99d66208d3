"""The records of one request, kept until it is over.

A request is over when it has its outcome and no attempt of it runs: the end of an attempt comes
behind the outcome of a request that was left.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from streamnursery.pipeline.delivery import Delivery
from streamnursery.values.errors import AttemptRecord
from streamnursery.values.lifecycle import (
    Admitted,
    AttemptEnded,
    AttemptStarted,
    BudgetAlert,
    Hedged,
    Interrupted,
    LifecycleRecord,
    NotAdmitted,
    Resent,
    Retrying,
    RouteChanged,
    StreamEnded,
    StreamStarted,
)

Attributes: TypeAlias = Mapping[str, Any]

MAX_EVENTS = 100
"""Of one request; what happens after that is counted and not kept."""


@attrs.define(eq=False)
class AttemptTrail:
    """One attempt."""

    number: int
    route: str
    started_at: float
    kind: str
    """first, retry, hedge, fallback, or the way of a recovery: restart, continue, resume."""
    record: AttemptRecord | None = None
    """Once it has ended."""
    span: Any = None
    """Begun already, where its id was needed while the attempt ran."""


@attrs.define(eq=False)
class Trail:
    """One request."""

    started: StreamStarted
    delivery: Delivery | None
    context: Any
    """Of OpenTelemetry, as it was in the caller."""
    wall_offset: float
    """Seconds from trio's clock to Unix time."""
    ended: StreamEnded | None = None
    attempts: dict[int, AttemptTrail] = attrs.field(factory=dict)
    events: list[tuple[float, str, Attributes]] = attrs.field(factory=list)
    """Times on trio's clock, names and attributes."""
    events_dropped: int = 0
    queued: float = 0.0
    """Seconds that its attempts waited for slots."""
    facts: Any = None
    """Of its answer; taken when it is over."""
    span: Any = None
    _running: int = 0
    _next_kind: str = "first"

    def add(self, record: LifecycleRecord) -> bool:
        """Whether the request is over with it."""
        match record:
            case AttemptStarted():
                self._running += 1
                self.attempt(record.attempt, record.route, record.at)
            case AttemptEnded():
                self._running -= 1
                self._attempt_ended(record.record)
            case StreamEnded():
                self.ended = record
            case Admitted():
                self.queued += record.waited
            case _:
                self._event(record)
        return self.ended is not None and not self._running

    def attempt(self, number: int, route: str, now: float) -> AttemptTrail:
        """The attempt of this number, which begins now unless it is known."""
        known = self.attempts.get(number)
        if known is None:
            known = self.attempts[number] = AttemptTrail(number, route, now, self._next_kind)
            self._next_kind = "retry"
        return known

    def _attempt_ended(self, record: AttemptRecord) -> None:
        attempt = self.attempt(record.number, record.route, record.started_at)
        if record.hedge:
            attempt.kind = "hedge"
        attempt.record = record

    def _event(self, record: LifecycleRecord) -> None:
        match record:
            case NotAdmitted():
                self._note(record.at, "not admitted", outcome=record.outcome, waited=record.waited)
            case Retrying():
                self._note(record.at, "retry", delay=record.delay, why=record.why)
            case Resent():
                self._note(record.at, "resent", attempt=record.attempt, why=record.why)
            case Hedged():
                self._note(record.at, "hedged", attempt=record.attempt, after=record.after)
            case Interrupted():
                if record.how != "fail":
                    self._next_kind = record.how
                self._note(record.at, "interrupted", how=record.how)
            case RouteChanged():
                self._next_kind = "fallback"
                what: dict[str, Any] = {
                    "from": record.source,
                    "to": record.target,
                    "why": record.why,
                }
                self._note(record.at, "rerouted", **what)
            case BudgetAlert():
                standing = record.standing
                what = {"percent": record.percent, "scope": standing.scope, "name": standing.name}
                self._note(record.at, "budget alert", **what, refused=record.refused)
            case _:
                pass

    def _note(self, at: float, name: str, /, **what: Any) -> None:
        if len(self.events) >= MAX_EVENTS:
            self.events_dropped += 1
            return
        self.events.append((at, name, {f"streamnursery.{k}": v for k, v in what.items()}))
