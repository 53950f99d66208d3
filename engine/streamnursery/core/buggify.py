"""Points where a simulated world may disturb the engine, so that rare schedules become common.

Rule 1: off, which is always but in such a world, a point costs one look at `world`.
Rule 2: a point lies where the engine may be slow, be interrupted or be woken for nothing in any
        case. What a disturbance breaks is a defect of the engine.
Rule 3: the world decides, by its dice; here are only names.
Rule 4: here is only what no seam of the world reaches: the network, the disk and the admission are
        disturbed from outside (`testing/disturbed.py`). No point is on the path of a token.
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
    "admission.woken": "who waits looks at the queue at no particular date",
    "attempt.watch": "the watchdog wakes before the clock's date",
    "budget.woken": "who waits for money looks at the figures at no particular date",
    "bulk.next": "the source's next request starts late",
    "drain.idle": "a drain has seen the streams end, and is slow to look at the queue",
    "ledger.written": "the row is on disk, and its attempt is slow to go on",
    "request.backoff": "a backoff lasts longer",
}
