"""The log is one observer: lifecycle records through the standard `logging` module.

No prompt, answer or key is in a record, so none can be in a log line.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Final

import attrs

from streamnursery.values.errors import AttemptRecord
from streamnursery.values.lifecycle import (
    AttemptEnded,
    BudgetAlert,
    CircuitChanged,
    ConnectionLost,
    EndpointBeat,
    LifecycleRecord,
    Reconnected,
    Reconnecting,
    Resent,
    Retrying,
    RouteChanged,
    SessionRecord,
    StreamEnded,
    StreamStarted,
)
from streamnursery.values.money import dollars
from streamnursery.values.spending import BudgetStanding

_LEVELS: dict[type[LifecycleRecord], int] = {
    Resent: logging.INFO,
    Retrying: logging.WARNING,
    RouteChanged: logging.WARNING,
    BudgetAlert: logging.WARNING,
    CircuitChanged: logging.WARNING,
    EndpointBeat: logging.WARNING,
    StreamEnded: logging.INFO,
    ConnectionLost: logging.WARNING,
    Reconnecting: logging.WARNING,
    Reconnected: logging.INFO,
}


_MOST_TRACES: Final = 100_000
"""Requests whose trace is remembered; those beyond are logged without."""


def log_observer(
    logger: logging.Logger | None = None, *, trace_id: Callable[[], str | None] | None = None
) -> Callable[[LifecycleRecord], None]:
    """An observer for `open_engine(observers=[log_observer()])`; the default logger is
    "streamnursery".

    Retries, route changes, budget alerts and what sessions lose are warnings, ends of streams
    info, failed ones warnings, the rest debug. Every line carries the record's fields as
    `extra={"streamnursery": {...}}`. `trace_id` is asked in the caller's context when a request
    begins, and stands in all its lines: `streamnursery.telemetry.current_trace_id` for one.
    """
    target = logger or logging.getLogger("streamnursery")
    traces: dict[int, str] = {}

    def observe(record: LifecycleRecord) -> None:
        if trace_id is not None and type(record) is StreamStarted and len(traces) < _MOST_TRACES:
            found = trace_id()
            if found is not None:
                traces[record.request] = found
        log(record)
        if type(record) is StreamEnded:
            traces.pop(record.request, None)

    def log(record: LifecycleRecord) -> None:
        level = _LEVELS.get(type(record), logging.DEBUG)
        if isinstance(record, StreamEnded) and record.outcome == "failed":
            level = logging.WARNING
        if target.isEnabledFor(level):
            fields = record_fields(record)
            trace = None if isinstance(record, SessionRecord) else traces.get(record.request)
            if trace is not None:
                fields["trace_id"] = trace
            what = " ".join(f"{k}={v}" for k, v in fields.items() if k != "event")
            target.log(level, "%s %s", fields["event"], what, extra={"streamnursery": fields})

    return observe


def record_fields(record: LifecycleRecord) -> dict[str, Any]:
    """A record as plain JSON values."""
    fields: dict[str, Any] = {"event": type(record).__name__}
    for field in attrs.fields(type(record)):
        value = getattr(record, field.name)
        fields[field.name] = _attempt(value) if isinstance(value, AttemptRecord) else value
    if isinstance(record, AttemptEnded):
        fields |= fields.pop("record")
    if isinstance(record, BudgetAlert):
        fields |= _standing(fields.pop("standing"))
    return {k: v if isinstance(v, str | int | float | None) else repr(v) for k, v in fields.items()}


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "route": attempt.route,
        "state": attempt.state.value,
        "seconds": round(attempt.ended_at - attempt.started_at, 6),
        "status": attempt.status,
        "request_id": attempt.request_id,
        "category": attempt.error.category if attempt.error is not None else None,
    }


def _standing(standing: BudgetStanding) -> dict[str, Any]:
    return {
        "scope": standing.scope,
        "name": standing.name,
        "span": standing.span,
        "window": standing.window,
        "limit_usd": dollars(standing.limit or 0),
        "spent_usd": dollars(standing.spent + standing.uncertain),
    }


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "streamnursery", None) or {"message": record.getMessage()}
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            **fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
