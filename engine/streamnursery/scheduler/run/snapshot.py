"""The live streams, one line each."""

import trio

from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.course import Course
from streamnursery.values.snapshot import StreamSnapshot


def stream_snapshot(delivery: Delivery, course: Course) -> StreamSnapshot:
    now = trio.current_time()
    last = delivery.last_token_at
    return StreamSnapshot(
        request=course.number,
        model=course.model,
        tenant=course.request.tenant,
        state=_state(delivery),
        age=now - delivery.started_at,
        since_content=None if last is None else now - last,
        route=delivery.route,
        attempt=delivery.attempt,
        waits_for=delivery.waiting_for,
        content_events=delivery.content_events,
        unread_bytes=delivery.channel.unread_bytes,
    )


def _state(delivery: Delivery) -> str:
    if delivery.finished:
        return "delivered"
    if delivery.waits == "the consumer":
        return "held back"
    if callable(delivery.waits):  # what it waits for changes while it waits: a place in a queue
        return "queued"
    return "streaming" if delivery.committed else "waiting"
