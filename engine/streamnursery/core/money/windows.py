"""The day and the month that a moment belongs to, in a named time zone.

Rule 1: a window is its date. What was spent on a date stays with it, so a clock that jumps ahead or
        is set back finds the same figures again: no budget is handed out twice, none is skipped.
Rule 2: a day is as long as its zone makes it, 23 to 25 hours; it ends where the next date begins.
"""

from datetime import date, datetime, timedelta, tzinfo
from typing import Literal

import attrs

Span = Literal["daily", "monthly"]
SPANS: tuple[Span, ...] = ("daily", "monthly")


@attrs.frozen
class Window:
    """One day or one month."""

    span: Span
    key: str
    """"2026-03-29" or "2026-03"."""
    starts_at: float
    """Unix time."""
    ends_at: float
    """Unix time at which the next window begins and the budget is whole again."""


def day_of(wall: float, zone: tzinfo) -> date:
    """The date on a wall in `zone` at Unix time `wall`."""
    return datetime.fromtimestamp(wall, zone).date()


def key_of(span: Span, day: date) -> str:
    return day.isoformat() if span == "daily" else day.isoformat()[:7]


def window(span: Span, wall: float, zone: tzinfo) -> Window:
    """The window of `span` that Unix time `wall` falls into."""
    day = day_of(wall, zone)
    if span == "daily":
        first, after = day, day + timedelta(days=1)
    else:
        first = day.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    return Window(span, key_of(span, day), _begins(first, zone), _begins(after, zone))


def _begins(day: date, zone: tzinfo) -> float:
    """Unix time of the first moment of `day`. Where its midnight is skipped, the leap over it;
    where it comes twice, the first."""
    return datetime(day.year, day.month, day.day, tzinfo=zone, fold=0).timestamp()


def reset_text(ends_at: float, zone: tzinfo) -> str:
    """When a window ends, for a message: "2026-03-30 00:00 CEST"."""
    return datetime.fromtimestamp(ends_at, zone).strftime("%Y-%m-%d %H:%M %Z").strip()


def elapsed(this: Window, wall: float) -> float:
    """How much of the window is over, from 0 to 1."""
    length = this.ends_at - this.starts_at
    return min(1.0, max(0.0, (wall - this.starts_at) / length))
