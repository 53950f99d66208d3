"""The gate of one route: may a call go there now, and if not, when should it come back?

Rule 1: a provider that asks for a pause (429 or 503 with Retry-After) asks it of everybody: the
        route is closed to all until then, and what they wait for is one date.
Rule 2: a pause only grows. One longer than `believed` is not taken at its word, since one broken or
        hostile header would close the route to everybody: the route is closed for that long,
        and then one call is let through. If its answer asks for a long pause again, that is
        believed, up to `MAX_PAUSE`; anything else opens the route.
Rule 3: who waits for the same date takes the gate's own dice, so that all come back spread out.
Rule 4: a 429 without a date is the affair of the request that met it, which backs off. `_STORM` of
        them without an answer in between speak to everybody: the route is closed for as long as
        each of those requests waits.
"""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TypeAlias

import attrs

from streamnursery.core.recovery import backoff
from streamnursery.core.recovery.breaker import (
    Breaker,
    BreakerPolicy,
    BreakerStatistics,
    Circuit,
    Generation,
    verdict,
)
from streamnursery.core.recovery.error_policy import CallOutcome
from streamnursery.values.errors import EngineError, RateLimitedError, ServerError

BELIEVED = 120.0
"""Seconds of a pause that are taken at their word, at least."""
MAX_PAUSE = 86_400.0
"""Seconds after which a paused route is tried again, whatever was asked for and how often."""
_STORM = 5
"""Refusals in a row. Where every tenth request is refused by chance, five in a row come once in
100,000; a provider that refuses everything has them at once."""
_PROBE_SECONDS = 5.0
"""After which another call is let through, if the one that was is still silent."""


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


GateView: TypeAlias = Callable[[], GateStatistics]


@attrs.define(eq=False)
class BreakerPermit:
    """One call let through a gate. Its outcome is reported once; the rest is ignored."""

    _gate: "CircuitGate"
    _generation: Generation
    _entered_at: float
    _believed: float = BELIEVED
    probe: bool = False
    """Let through alone, to see whether a long pause is meant."""
    _answered: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def on_first_token(self, now: float) -> None:
        """The first token arrived."""
        if not self._answered and not self._over:
            self._answered = True
            if self.probe:
                self._gate.on_probe_answered()
            self._gate.on_answered()
            self._report(verdict(self._gate.breaker.policy, None, now - self._entered_at), now)

    def ended(self, error: EngineError | None, now: float) -> None:
        """The answer is complete (None), or `error` ended the attempt."""
        if self._over:
            return
        self._over = True
        gate = self._gate
        alone = self.probe and not self._answered
        if alone:
            gate.on_probe_answered()
        if isinstance(error, RateLimitedError | ServerError) and error.retry_after is not None:
            gate.pause(error.retry_after, now, self._believed, again=alone)
        elif error is None:
            gate.on_answered()
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
        if self.probe and not self._answered and not self._over:
            self._gate.on_probe_left()
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
    _doubted: bool = attrs.field(default=False, init=False)
    """The pause was cut short: one call goes first when it is over."""
    _probe_until: float = attrs.field(default=-inf, init=False)
    """Until then the one call has the route to itself."""
    _turn: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)
    """Calls that a rate limit refused since the last answer."""

    def __attrs_post_init__(self) -> None:
        self.breaker = Breaker(self.policy)

    def enter(self, now: float, believed: float = BELIEVED) -> BreakerPermit | Closed:
        """Let a call through, or say when to come back; add jitter from `dice` to that date.

        `believed`: seconds of a pause that it takes at their word.
        """
        if self._doubted or now < self.paused_until:
            paused = self._paused(now)
            if paused is not None:
                return paused
        generation = self.breaker.admit(now)
        if generation is None:
            return Closed(self.breaker.retry_at(now), paused=False)
        if self._doubted:
            self._probe_until = now + _PROBE_SECONDS
        return BreakerPermit(self, generation, now, max(believed, BELIEVED), self._doubted)

    def _paused(self, now: float) -> Closed | None:
        until = max(self.paused_until, self._probe_until) if self._doubted else self.paused_until
        return Closed(until, paused=True) if now < until else None

    def on_probe_answered(self) -> None:
        """The one call was answered: what the answer asks for comes after this."""
        self._doubted, self._probe_until = False, -inf

    def on_probe_left(self) -> None:
        """The one call says nothing; the next one is let through."""
        self._probe_until = -inf

    def peek(self, now: float) -> Closed | None:
        """What `enter` would say, without entering; None: come in."""
        if self._doubted or now < self.paused_until:
            return self._paused(now) or self._opens(now)
        return None if self.breaker.circuit is Circuit.CLOSED else self._opens(now)

    def _opens(self, now: float) -> Closed | None:
        opens_at = self.breaker.retry_at(now)
        return Closed(opens_at, paused=False) if opens_at > now else None

    def on_heartbeat(self, error: EngineError | None, now: float, until: float) -> None:
        """A heartbeat of the route's endpoint was answered (None), or failed; the next one comes
        at `until`."""
        if isinstance(error, RateLimitedError | ServerError) and error.retry_after is not None:
            self.pause(error.retry_after, now)
        self.breaker.on_heartbeat(verdict(self.policy, error, 0.0), now, until)

    def pause(
        self, seconds: float, now: float, believed: float = BELIEVED, *, again: bool = False
    ) -> None:
        """Close the route to all; `again`: asked for by a call that was let through to see."""
        if seconds > believed:
            self._doubted = True
            seconds = min(seconds, MAX_PAUSE) if again else believed
        self.paused_until = max(self.paused_until, now + seconds)

    def on_refused(self, asked: float | None, wait: float, now: float) -> None:
        """A call was refused by a rate limit, and its request comes back after `wait` seconds: so
        does everybody, if a date was `asked` or nothing but refusals came lately (rule 4)."""
        self._refused += 1
        if asked is not None or self._refused >= _STORM:
            self.pause(wait, now)

    def on_answered(self) -> None:
        """A call had its first token, or its end."""
        self._refused = 0

    def dice(self) -> float:
        """Dice for one return to this route (rule 3)."""
        self._turn += 1
        return backoff.turn_dice(self._turn, self.offset)

    def statistics(self, now: float) -> GateStatistics:
        return self.view(now)()

    def view(self, now: float) -> GateView:
        """The values of `statistics`, worked out when it is called."""
        paused = self.paused_until if now < self.paused_until else None
        return partial(_told, paused, self.breaker.view(now))


def _told(paused: float | None, breaker: Callable[[], BreakerStatistics]) -> GateStatistics:
    return GateStatistics(paused, breaker())
