"""Points where a simulated world may disturb the engine, so that rare schedules become common.

Rule 1: off, which is always but in such a world, a point costs one look at `world`.
Rule 2: a point lies where the engine may be slow, be interrupted or be woken for nothing in any
        case. What a disturbance breaks is a defect of the engine.
Rule 3: the world decides, by its dice; here are only names.
"""

from typing import Protocol


class Disturber(Protocol):
    """What a world puts into `world` while it is open."""

    async def pause(self, point: str) -> None:
        """Nothing, a checkpoint, or a few milliseconds; a cancellation is raised."""

    async def give_way(self, point: str) -> None:
        """Nothing, or some steps of other tasks: no time passes, a cancellation waits."""

    def strikes(self, point: str) -> bool:
        """Whether to be woken early, to see less, or to stop sooner, this time."""


world: Disturber | None = None

POINTS = {
    "admission.granted": "who waited has its slots, and is slow to use them",
    "admission.taken": "who did not wait has its slots, and is slow to use them",
    "admission.woken": "who waits looks at the queue at no particular date",
    "attempt.ended": "the answer is over, and its task is slow to see it",
    "attempt.opened": "the head is there, and its task is slow to look at it",
    "attempt.watch": "the watchdog wakes before the clock's date",
    "budget.woken": "who waits for money looks at the figures at no particular date",
    "bulk.next": "the source's next request starts late",
    "channel.receive": "the consumer is slow to ask",
    "dispatcher.left": "a block is left, and its task is slow to be waited for",
    "dispatcher.settled": "the answer is whole, and its task is slow to say so",
    "dispatcher.started": "a stream's task starts late",
    "drain.idle": "a drain has seen the streams end, and is slow to look at the queue",
    "http1.read": "a read brings a byte or a few",
    "http2.read": "the same on a connection with many streams",
    "http2.write": "frames are slow to be written",
    "ledger.write": "the writer is slow to write what has come",
    "ledger.written": "the row is on disk, and its attempt is slow to go on",
    "link.opened": "a session has a connection, and is slow to use it",
    "link.read": "a session is slow to read its connection's next message",
    "link.write": "a message was taken from the outbox and is slow to be written",
    "pump.round": "the round begins late",
    "pump.woken": "a connection is read that has nothing to read",
    "request.backoff": "a backoff lasts longer",
    "request.reserved": "slots and money are there, and the attempt is slow to begin",
    "request.visit": "a route is chosen, and the request is slow to queue for it",
    "transport.connected": "a connection is made, and slow to be used",
    "transport.open": "a request is slow to look for a connection",
    "transport.reuse": "an idle connection was taken, and is slow to be used",
}
