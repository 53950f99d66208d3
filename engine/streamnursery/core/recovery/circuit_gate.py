"""The gate of one route: may a call go there now, and if not, when should it come back?

Rule 1: a provider that asks for a pause (429 or 503 with Retry-After) asks it of everybody: the
        route is closed to all until then, and what they wait for is one date.
Rule 2: a pause only grows, and never reaches further than `MAX_PAUSE` from now: a broken or
        hostile header must not close a route for good.
Rule 3: who waits for the same date takes the gate's own dice, so that all come back spread out.
"""

from math import inf

import attrs

from streamnursery.core.recovery import backoff
from streamnursery.core.recovery.breaker import (
    Breaker,
    BreakerPolicy,
    BreakerStatistics,
    Generation,
    verdict,
)
from streamnursery.core.recovery.error_policy import CallOutcome
from streamnursery.values.errors import EngineError, RateLimitedError, ServerError

MAX_PAUSE = 3600.0
"""Seconds after which a paused route is tried again, whatever was asked for."""


@attrs.frozen
class Closed:
    """The route may not be used now."""

    opens_at: float
    paused: bool
    """True: the provider asked for it; False: the breaker is open."""

    def __str__(self) -> str:
        return "paused by its provider" if self.paused else "breaker open"


@attrs.frozen
class GateStatistics:
    """A snapshot, for debugging and dashboards."""

    paused_until: float | None
    """None unless paused now."""
    breaker: BreakerStatistics


@attrs.define(eq=False)
class BreakerPermit:
    """One call let through a gate. What becomes of it is told once; the rest is ignored."""

    _gate: "CircuitGate"
    _generation: Generation
    _entered_at: float
    _answered: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def on_first_token(self, now: float) -> None:
        """The first token arrived."""
        if not self._answered and not self._over:
            self._answered = True
            self._report(verdict(self._gate.breaker.policy, None, now - self._entered_at), now)

    def ended(self, error: EngineError | None, now: float) -> None:
        """The answer is complete (None), or `error` ended the attempt."""
        if self._over:
            return
        self._over = True
        gate = self._gate
        if isinstance(error, RateLimitedError | ServerError) and error.retry_after is not None:
            gate.pause(error.retry_after, now)
        outcome = verdict(gate.breaker.policy, error, now - self._entered_at)
        if not self._answered:
            self._report(outcome, now)
        elif outcome is CallOutcome.FAILURE:
            gate.breaker.on_stream_failed(self._generation, now)

    def resent(self, now: float) -> None:
        """The call goes out again and again, since no server looks at it; it is not over."""
        if not self._over:
            self._gate.breaker.on_resent(self._generation, now)

    def dice(self) -> float:
        """Dice for a return to the route, as `CircuitGate.dice`."""
        return self._gate.dice()

    def left(self, now: float) -> None:
        """We went away; for a `finally`, since it changes nothing after `ended`."""
        if not self._answered and not self._over:
            self._report(CallOutcome.IGNORED, now)
        self._over = True

    def _report(self, outcome: CallOutcome, now: float) -> None:
        self._gate.breaker.report(self._generation, outcome, now)


@attrs.define(eq=False)
class CircuitGate:
    """Pause and breaker of one route, and the turns of those who come back to it."""

    policy: BreakerPolicy = attrs.field(factory=BreakerPolicy)
    offset: float = 0.0
    """In [0, 1), drawn once: where this route's turns begin."""
    breaker: Breaker = attrs.field(init=False)
    paused_until: float = attrs.field(default=-inf, init=False)
    _turn: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.breaker = Breaker(self.policy)

    def enter(self, now: float) -> BreakerPermit | Closed:
        """Let a call through, or say when to come back; add jitter from `dice` to that date."""
        if now < self.paused_until:
            return Closed(self.paused_until, paused=True)
        generation = self.breaker.admit(now)
        if generation is None:
            return Closed(self.breaker.retry_at(now), paused=False)
        return BreakerPermit(self, generation, now)

    def peek(self, now: float) -> Closed | None:
        """What `enter` would say, without entering; None: come in."""
        if now < self.paused_until:
            return Closed(self.paused_until, paused=True)
        opens_at = self.breaker.retry_at(now)
        return Closed(opens_at, paused=False) if opens_at > now else None

    def on_heartbeat(self, error: EngineError | None, now: float, until: float) -> None:
        """A heartbeat of the route's endpoint was answered (None), or failed; the next one comes
        at `until`."""
        if isinstance(error, RateLimitedError | ServerError) and error.retry_after is not None:
            self.pause(error.retry_after, now)
        self.breaker.on_heartbeat(verdict(self.policy, error, 0.0), now, until)

    def pause(self, seconds: float, now: float) -> None:
        self.paused_until = max(self.paused_until, now + min(seconds, MAX_PAUSE))

    def dice(self) -> float:
        """Dice for one return to this route (rule 3)."""
        self._turn += 1
        return backoff.turn_dice(self._turn, self.offset)

    def statistics(self, now: float) -> GateStatistics:
        paused = self.paused_until if now < self.paused_until else None
        return GateStatistics(paused, self.breaker.statistics(now))
