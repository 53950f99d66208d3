"""How long an attempt may keep us waiting, as arithmetic on dates.

Rule 1: one clock runs per phase, and beside it the total clock from the response head on.
Rule 2: while we wait on the consumer no clock runs: a pause moves every date by its length.
Rule 3: only content feeds the idle clock; comments, pings and empty deltas do not.
Rule 4: of two clocks that end in the same instant the narrower one is named.
"""

from enum import Enum
from math import inf

import attrs

from streamnursery.values.policy import Patience


class Clock(Enum):
    """Which of the provider's clocks ran out."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    FIRST_TOKEN = "first_token"
    IDLE = "idle"
    TOTAL = "total"


def expected_duration(
    *, output_tokens: float, base_latency: float, tokens_per_second: float
) -> float:
    """Seconds that `patience.total = "auto"` allows: the expected time and 5 s, at least 60 s."""
    return max(base_latency + output_tokens / tokens_per_second + 5.0, 60.0)


@attrs.define
class PatienceClock:
    """The clocks of one attempt. `total` is in seconds, `inf` for none."""

    patience: Patience
    total: float
    _clock: Clock = attrs.field(default=Clock.CONNECT, init=False)
    _ends_at: float = attrs.field(default=inf, init=False)
    _total_at: float = attrs.field(default=inf, init=False)
    _paused_at: float | None = attrs.field(default=None, init=False)

    def connecting(self, now: float) -> None:
        self._start(Clock.CONNECT, self.patience.connect, now)

    def connected(self, now: float) -> None:
        self._start(Clock.FIRST_BYTE, self.patience.first_byte, now)

    def on_head(self, now: float) -> None:
        """The response head is there: the first-token and total clocks start."""
        self._start(Clock.FIRST_TOKEN, self.patience.first_token, now)
        self._total_at = now + self.total

    def content(self, now: float) -> bool:
        """Content arrived; True when this was the first, which changes the clock."""
        first = self._clock is not Clock.IDLE
        self._clock = Clock.IDLE
        idle = self.patience.idle
        self._ends_at = inf if idle is None else now + idle
        return first

    def pause(self, now: float) -> None:
        """We stopped reading because the consumer is behind."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        if self._paused_at is None:
            return
        away = now - self._paused_at
        self._paused_at = None
        self._ends_at += away
        self._total_at += away

    @property
    def deadline(self) -> float:
        """When to look again; `inf` while paused."""
        if self._paused_at is not None:
            return inf
        return min(self._ends_at, self._total_at)

    def expired(self, now: float) -> Clock | None:
        """The clock that has run out, if one has."""
        if self._paused_at is not None or now < self.deadline:
            return None
        return self._clock if self._ends_at <= self._total_at else Clock.TOTAL

    def _start(self, clock: Clock, seconds: float | None, now: float) -> None:
        self._clock = clock
        self._ends_at = inf if seconds is None else now + seconds
