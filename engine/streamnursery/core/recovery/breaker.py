"""A circuit breaker for one route, as a table.

            | tripped            | cooled             | proved
    closed  | open               | -                  | -
    open    | -                  | half open          | -
    half    | open               | -                  | closed

tripped:  closed: of at least `min_calls` in the window too many failed or were slow;
          half open: one probe failed, or too many of them were slow.
cooled:   `open_for` has passed, and somebody wants to pass.
proved:   `probes` calls came back in good time.

Rule 1: a call counts towards the generation it was admitted in; every transition begins a new one.
        A stream that began before says nothing about the provider now (sony/gobreaker).
Rule 2: a call is settled at its first token, not at its end: streams last for minutes, and the
        route must not stay half open so long. One that breaks afterwards is reported as broken.
Rule 3: a cancelled call is neither success nor failure; its probe goes to the next caller.
Rule 4: a probe that is not heard of for `open_for` is given up and another let through, so that no
        stuck call keeps the route half open (resilience4j#903).
Rule 5: a heartbeat that nobody answers opens it at once, until the next one: nobody else is there
        to speak for the route. One that is answered ends that, and calls have to prove the rest.

Rates over a window with a least number of calls, and slowness as a second rate, are resilience4j's
(`CircuitBreakerConfig`); the idea is Nygard's, "Release It!".
"""

from enum import Enum
from math import inf
from typing import Any, NewType

import attrs
from attrs.validators import ge, gt

from streamnursery.core.recovery.call_window import CallWindow
from streamnursery.core.recovery.error_policy import CallOutcome
from streamnursery.core.recovery.error_table import policy_of
from streamnursery.values.errors import DeadlineError, EngineError

Generation = NewType("Generation", int)


class Circuit(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class BreakerSignal(Enum):
    TRIPPED = "tripped"
    COOLED = "cooled"
    PROVED = "proved"


TRANSITIONS = {
    (Circuit.CLOSED, BreakerSignal.TRIPPED): Circuit.OPEN,
    (Circuit.OPEN, BreakerSignal.COOLED): Circuit.HALF_OPEN,
    (Circuit.HALF_OPEN, BreakerSignal.TRIPPED): Circuit.OPEN,
    (Circuit.HALF_OPEN, BreakerSignal.PROVED): Circuit.CLOSED,
}


def _rate(_: object, field: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 < value <= 1:
        msg = (
            f"{field.name} must be above 0 and at most 1 (0.5 is half of the calls), not {value!r}"
        )
        raise ValueError(msg)


@attrs.frozen
class BreakerPolicy:
    """When a route is left alone, and for how long."""

    window: float = attrs.field(default=30.0, validator=gt(0))
    """Seconds looked back on."""
    min_calls: int = attrs.field(default=10, validator=ge(1))
    failure_rate: float = attrs.field(default=0.5, validator=_rate)
    slow_rate: float = attrs.field(default=1.0, validator=_rate)
    slow_after: float = attrs.field(default=30.0, validator=gt(0))
    """Seconds to the first token beyond which a call is slow."""
    open_for: float = attrs.field(default=5.0, validator=gt(0))
    """Seconds without calls; short, because probes are few and a provider that is back must have
    its full rate within ten seconds."""
    probes: int = attrs.field(default=3, validator=ge(1))


@attrs.frozen
class BreakerStatistics:
    """A snapshot, for debugging and dashboards."""

    circuit: str
    calls: int
    """Calls in the window; failures and slow ones are among them."""
    failures: int
    slow: int
    retry_at: float | None
    """When the next call may be let through; None while closed."""
    generation: int
    """Transitions so far."""


@attrs.define(eq=False)
class Breaker:
    """Admits calls to one route, and learns from what becomes of them."""

    policy: BreakerPolicy = attrs.field(factory=BreakerPolicy)
    circuit: Circuit = attrs.field(default=Circuit.CLOSED, init=False)
    generation: Generation = attrs.field(default=Generation(0), init=False)
    _window: CallWindow = attrs.field(init=False)
    _since: float = attrs.field(default=0.0, init=False)
    """When the circuit opened, or the running probes were let through."""
    _probing: int = attrs.field(default=0, init=False)
    """Probes that have not reported."""
    _proved: int = attrs.field(default=0, init=False)
    _slow: int = attrs.field(default=0, init=False)
    _silent_until: float = attrs.field(default=-inf, init=False)

    def __attrs_post_init__(self) -> None:
        self._window = CallWindow(self.policy.window)

    def admit(self, now: float) -> Generation | None:
        """A generation to `report` with, exactly once; None: do not call."""
        if self.retry_at(now) > now:
            return None
        if self.circuit is Circuit.OPEN:
            self._move(BreakerSignal.COOLED, now)
        if self.circuit is Circuit.HALF_OPEN:
            if now >= self._since + self.policy.open_for:
                self._since, self._probing = now, 0
            self._probing += 1
        return self.generation

    def report(self, generation: Generation, outcome: CallOutcome, now: float) -> None:
        """The call had its first token, or ended without."""
        if generation != self.generation:
            return
        if self.circuit is Circuit.HALF_OPEN:
            self._prove(outcome, now)
        elif outcome is not CallOutcome.IGNORED:
            self._count(
                now,
                calls=1,
                failures=int(outcome is CallOutcome.FAILURE),
                slow=int(outcome is CallOutcome.SLOW),
            )

    def on_stream_failed(self, generation: Generation, now: float) -> None:
        """A call reported as answered has failed after all."""
        if generation != self.generation:
            return
        if self.circuit is Circuit.HALF_OPEN:
            self._move(BreakerSignal.TRIPPED, now)
        else:
            self._count(now, failures=1)

    def on_resent(self, generation: Generation, now: float) -> None:
        """Nobody looked at a call that has not ended, not at the first time."""
        if generation != self.generation:
            return
        if self.circuit is Circuit.HALF_OPEN:
            self._move(BreakerSignal.TRIPPED, now)
        else:
            self._count(now, calls=1, failures=1)

    def on_heartbeat(self, outcome: CallOutcome, now: float, until: float) -> None:
        """What a heartbeat found; its silence holds until the date of the next one."""
        if outcome is CallOutcome.FAILURE:
            if self.circuit is not Circuit.OPEN:
                self._move(BreakerSignal.TRIPPED, now)
            self._silent_until = until
        else:
            self._silent_until = -inf

    def retry_at(self, now: float) -> float:
        """The earliest date at which `admit` may let a call through; `now` if it would now."""
        if self.circuit is Circuit.CLOSED:
            return now
        out = self._probing + self._proved
        if self.circuit is Circuit.HALF_OPEN and out < self.policy.probes:
            return now
        return max(now, self._since + self.policy.open_for, self._silent_until)

    def statistics(self, now: float) -> BreakerStatistics:
        tally = self._window.tally(now)
        return BreakerStatistics(
            circuit=self.circuit.value,
            calls=tally.calls,
            failures=tally.failures,
            slow=tally.slow,
            retry_at=None if self.circuit is Circuit.CLOSED else self.retry_at(now),
            generation=self.generation,
        )

    def _count(self, now: float, *, calls: int = 0, failures: int = 0, slow: int = 0) -> None:
        self._window.add(now, calls=calls, failures=failures, slow=slow)
        tally, policy = self._window.tally(now), self.policy
        if tally.calls >= policy.min_calls and (
            tally.failures >= policy.failure_rate * tally.calls
            or tally.slow >= policy.slow_rate * tally.calls
        ):
            self._move(BreakerSignal.TRIPPED, now)

    def _prove(self, outcome: CallOutcome, now: float) -> None:
        self._probing = max(0, self._probing - 1)
        if outcome is CallOutcome.FAILURE:
            self._move(BreakerSignal.TRIPPED, now)
        elif outcome is not CallOutcome.IGNORED:
            self._proved += 1
            self._slow += outcome is CallOutcome.SLOW
            if self._proved >= self.policy.probes:
                slow = self._slow >= self.policy.slow_rate * self._proved
                self._move(BreakerSignal.TRIPPED if slow else BreakerSignal.PROVED, now)

    def _move(self, signal: BreakerSignal, now: float) -> None:
        self.circuit = TRANSITIONS[self.circuit, signal]
        self.generation = Generation(self.generation + 1)
        self._since = now
        self._probing = self._proved = self._slow = 0
        self._window.clear()


def verdict(policy: BreakerPolicy, error: EngineError | None, waited: float) -> CallOutcome:
    """What a call says about its route.

    `error` is None for one that had its first token or completed; `waited` is the seconds to the
    first token, or to the end when none came. A deadline that ends a wait longer than
    `slow_after` is the provider's slowness all the same.
    """
    outcome = CallOutcome.SUCCESS
    if error is not None:
        outcome = policy_of(error).outcome
    if waited > policy.slow_after and (
        outcome is CallOutcome.SUCCESS or isinstance(error, DeadlineError)
    ):
        return CallOutcome.SLOW
    return outcome
