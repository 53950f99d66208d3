"""How long an attempt may keep us waiting, as arithmetic on dates.

Rule 1: one clock runs per phase, and beside it the total clock from the response head on.
Rule 2: while we wait on the consumer no clock runs: a pause moves every date by its length.
Rule 3: only content feeds the idle clock; comments, pings and empty deltas do not. Where the model
        may think unseen, they put off the first token's date, within a bound.
Rule 4: of two clocks that end in the same instant the narrower one is named.
Rule 5: a strike that comes late, because this process did not run, is put off by as much, up to
        the length of its clock in all: for that long the process did not listen.
Rule 6: a total that was derived from the expected output begins with the first content, and the
        stream's own pace extends it: only an answer of twice the tokens asked for is ended by it.
"""

from enum import Enum
from math import inf

import attrs

from streamnursery.values.policy import Patience

LATE = 0.05
"""Seconds after its date at which a strike is late; a loop that runs is there within a few ms."""
_OVERSIZE = 2.0
"""Times the expected tokens that an answer may have: events are counted, and characters."""


class Clock(Enum):
    """Which of the provider's clocks ran out."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    FIRST_TOKEN = "first_token"
    IDLE = "idle"
    PACE = "min_tokens_per_second"
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
    expected_tokens: float | None = None
    """What `total` was derived from; None: it was given, and runs from the response head."""
    reasoning: bool = False
    """The answer may begin with minutes of thinking that are not seen."""
    _clock: Clock = attrs.field(default=Clock.CONNECT, init=False)
    _ends_at: float = attrs.field(default=inf, init=False)
    _total_at: float = attrs.field(default=inf, init=False)
    _pace_at: float = attrs.field(default=inf, init=False)
    _paced: float = attrs.field(default=0.0, init=False)
    """Tokens when the window of the pace began."""
    _began_at: float = attrs.field(default=0.0, init=False)
    """When the head came, and later the first content."""
    _put_off: float = attrs.field(default=0.0, init=False)
    """Seconds by which late strikes were put off since the last of the phases began."""
    _paused_at: float | None = attrs.field(default=None, init=False)

    def connecting(self, now: float) -> None:
        self._start(Clock.CONNECT, self.patience.connect, now)

    def connected(self, now: float) -> None:
        self._start(Clock.FIRST_BYTE, self.patience.first_byte, now)

    def on_head(self, now: float) -> None:
        """The response head is there: the first-token and total clocks start."""
        patience = self.patience
        wait = self.length(Clock.FIRST_TOKEN) if self.reasoning else patience.first_token
        self._start(Clock.FIRST_TOKEN, wait, now)
        self._began_at = now
        if self.expected_tokens is None:
            self._total_at = now + self.total

    def working(self, now: float) -> None:
        """A sign of work before the first content; for models that may think unseen."""
        longest, silence = self.patience.first_token_working, self.length(Clock.FIRST_TOKEN)
        if self._clock is Clock.FIRST_TOKEN and silence is not None:
            most = inf if longest is None else self._began_at + longest
            self._ends_at = max(self._ends_at, min(most, now + silence))

    def content(self, now: float) -> bool:
        """Content arrived; True when this was the first, which changes the clock."""
        first = self._clock is not Clock.IDLE
        self._clock = Clock.IDLE
        idle = self.patience.idle
        self._ends_at = inf if idle is None else now + idle
        if first:
            self._begin_content(now)
        return first

    def _begin_content(self, now: float) -> None:
        self._began_at, self._put_off = now, 0.0
        if self.expected_tokens is not None:
            self._total_at = now + self.total
        if self.patience.min_tokens_per_second is not None:
            self._pace_at = now + self.patience.pace_window

    def pause(self, now: float) -> None:
        """We stopped reading because the consumer is behind."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        if self._paused_at is None:
            return
        away = now - self._paused_at
        self._paused_at = None
        self._shift(away)

    @property
    def deadline(self) -> float:
        """When to look again; `inf` while paused."""
        if self._paused_at is not None:
            return inf
        return min(self._ends_at, self._pace_at, self._total_at)

    def expired(self, now: float) -> Clock | None:
        """The clock that has run out, if one has."""
        if self._paused_at is not None or now < self.deadline:
            return None
        if self._ends_at <= min(self._pace_at, self._total_at):
            return self._clock
        return Clock.PACE if self._pace_at <= self._total_at else Clock.TOTAL

    def measure(self, now: float, tokens: float) -> None:
        """So many tokens have come since the first content: move what goes by the stream's pace.

        For a look at the clocks, before `expired`.
        """
        slowest, window = self.patience.min_tokens_per_second, self.patience.pace_window
        due = slowest is not None and now >= self._pace_at
        if due and tokens - self._paced >= (slowest or 0.0) * window:
            self._pace_at, self._paced = now + window, tokens
        if self.expected_tokens is not None and now >= self._total_at and tokens > 0:
            left = _OVERSIZE * self.expected_tokens - tokens
            if left > 0:
                self._total_at = now + 1.0 + left * (now - self._began_at) / tokens

    def put_off(self, now: float) -> bool:
        """Whether a strike at `now` is late (rule 5); it is put off then."""
        late, most = now - self.deadline, self.length(self.expired(now))
        if late < LATE or most is None or self._put_off >= most:
            return False
        late = min(late, most - self._put_off)
        self._put_off += late
        self._shift(now - self.deadline + late)
        return True

    def length(self, clock: Clock | None) -> float | None:
        """Seconds of a clock; None where it is switched off."""
        patience = self.patience
        match clock:
            case Clock.TOTAL:
                return self.total
            case Clock.PACE:
                return patience.pace_window
            case Clock.FIRST_TOKEN if self.reasoning:
                usual, longer = patience.first_token, patience.first_token_reasoning
                return None if usual is None or longer is None else max(usual, longer)
            case None:
                return None
            case _:
                seconds: float | None = getattr(patience, clock.value)
                return seconds

    def _shift(self, seconds: float) -> None:
        self._ends_at += seconds
        self._pace_at += seconds
        self._total_at += seconds

    def _start(self, clock: Clock, seconds: float | None, now: float) -> None:
        self._clock = clock
        self._ends_at = inf if seconds is None else now + seconds
        self._put_off = 0.0
