"""The live streams, one line each: taken at once, and put into words where it is read."""

from collections.abc import Iterable
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.course import Course
from streamnursery.values.lazy import LazySequence
from streamnursery.values.snapshot import StreamSnapshot

_Taken: TypeAlias = tuple[Any, ...]

_take = attrgetter(
    "started_at",
    "last_token_at",
    "finished",
    "committed",
    "waits",
    "route",
    "attempt",
    "content_events",
    "channel.unread_bytes",
)


def stream_snapshots(
    live: Iterable[tuple[Delivery, Course]], now: float
) -> LazySequence[StreamSnapshot, tuple[Course, _Taken]]:
    """What they do at `now`, in the order of `live`."""
    taken = [(course, _take(delivery)) for delivery, course in live]
    return LazySequence(taken, partial(_snapshot, now))


def _snapshot(now: float, taken: tuple[Course, _Taken]) -> StreamSnapshot:
    course, figures = taken
    started_at, last, finished, committed, waits, route, attempt, events, unread = figures
    return StreamSnapshot(
        request=course.number,
        model=course.model,
        tenant=course.request.tenant,
        state=_state(waits, finished=finished, committed=committed),
        age=now - started_at,
        since_content=None if last is None else now - last,
        route=route,
        attempt=attempt,
        waits_for=waits() if callable(waits) else waits,
        content_events=events,
        unread_bytes=unread,
    )


def _state(waits: object, *, finished: bool, committed: bool) -> str:
    if finished:
        return "delivered"
    if waits == "the consumer":
        return "held back"
    if callable(waits):  # what it waits for changes while it waits: a place in a queue
        return "queued"
    return "streaming" if committed else "waiting"
