"""When to ask whether the other side is there, and what its silence means.

Rule 1: a beat is due `interval` after the last one was answered; the first one of a connection
        at a random part of it, so that a thousand sessions do not beat together.
Rule 2: an unanswered ping is a verdict only once everything that has arrived was read: who does
        not read cannot know. How long that is believed is bounded by one more `timeout`.
Rule 3: a wall clock that leaves the monotonic one behind is a machine that slept: whatever was
        connected before is in doubt, and the next beat is due at once.
"""

import attrs

from streamnursery.values.session import Heartbeat

JUMP = 3.0
"""Seconds by which the wall clock may gain or lose unnoticed: clocks are corrected a little at a
time, and a look at both takes a moment."""


class Beat:
    """The beats of one connection."""

    def __init__(self, policy: Heartbeat, now: float, dice: float) -> None:
        self._policy = policy
        self.due_at = now + policy.interval * (0.5 + dice / 2)
        self.sent_at: float | None = None
        """Of the ping that is out."""
        self._behind_since: float | None = None

    @property
    def deadline(self) -> float:
        """When the ping that is out should have been answered."""
        assert self.sent_at is not None
        return self.sent_at + self._policy.timeout

    def sent(self, now: float) -> None:
        self.sent_at = now
        self._behind_since = None

    def on_answer(self, now: float) -> float:
        """Seconds that the round trip took."""
        sent_at = now if self.sent_at is None else self.sent_at
        self.sent_at = None
        self.due_at = now + self._policy.interval
        return now - sent_at

    def is_missed(self, now: float, *, unread: bool) -> bool:
        """The verdict; `unread`: bytes have arrived that were not looked at."""
        if self.sent_at is None or now < self.deadline:
            return False
        if not unread:
            return True
        if self._behind_since is None:
            self._behind_since = now
        return now >= self._behind_since + self._policy.timeout

    def hurry(self, now: float) -> None:
        """Something makes the connection doubtful."""
        self.due_at = min(self.due_at, now)


@attrs.define
class WallWatch:
    """Compares two clocks that should run alike."""

    _offset: float
    """Unix time less the monotonic one."""

    def jumped(self, now: float, wall: float) -> float | None:
        """Seconds by which the wall clock has jumped since the last look; None: it has not."""
        gained = wall - now - self._offset
        self._offset = wall - now
        return gained if abs(gained) > JUMP else None
