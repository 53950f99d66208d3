"""A circuit breaker for one route, as a table.

            | tripped            | cooled             | proved
    closed  | open               | -                  | -
    open    | -                  | half open          | -
    half    | open               | -                  | closed

tripped:  closed: of at least `min_calls` in the window too many were slow, or too many failed and
          none has come back for `quiet`;
          half open: one probe failed, or too many of them were slow.
cooled:   it was open for long enough, and a request wants to pass: for `open_first` after it was
          closed, longer each time a probe fails, up to `open_for`.
proved:   `probes` calls came back in good time.

Rule 1: a call counts towards the generation it was admitted in; every transition begins a new one.
        A stream that began before says nothing about the provider now (sony/gobreaker).
Rule 2: a call is settled at its first token, not at its end: streams last for minutes, and the
        route must not stay half open so long. One that breaks afterwards is reported as broken.
Rule 3: a cancelled call is neither success nor failure; its probe goes to the next caller.
Rule 4: a probe that is not heard of for `open_for` is given up and another let through, so that no
        stuck call keeps the route half open (resilience4j#903).
Rule 5: a heartbeat without an answer opens it at once, until the next one: no request is there
        to speak for the route. One that is answered ends every wait, and calls have to prove the
        rest.
Rule 6: a provider that is up and down by turns, a fraction of a second each, serves half of what
        it is sent, and 5 s without calls for each bad turn lose nearly all of that. So it opens
        only when nothing comes back any more, and the first wait is short. One that is down stays
        so, and the waits have grown up to `open_for` after a handful of probes.

Rates over a window with a least number of calls, and slowness as a second rate, are resilience4j's
(`CircuitBreakerConfig`); the idea is Nygard's, "Release It!".
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from math import inf
from typing import Any, NewType

import attrs
from attrs.validators import ge, gt

from streamnursery.core.recovery import backoff
from streamnursery.core.recovery.call_window import CallCounts, CallWindow
from streamnursery.core.recovery.error_policy import CallOutcome
from streamnursery.core.recovery.error_table import policy_of
from streamnursery.values.errors import DeadlineError, EngineError

_LONGER = 1.5
"""Times the one before that an opening lasts. They are shortened by up to a half, differently each
time, so that probes do not meet a provider that comes and goes always in the same part of its
turn."""

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
    quiet: float = attrs.field(default=0.5, validator=ge(0))
    """Seconds in which no call came back."""
    slow_rate: float = attrs.field(default=1.0, validator=_rate)
    slow_after: float = attrs.field(default=30.0, validator=gt(0))
    """Seconds to the first token beyond which a call is slow."""
    open_first: float = attrs.field(default=0.25, validator=gt(0))
    """Seconds without calls when it has just opened."""
    open_for: float = attrs.field(default=5.0, validator=gt(0))
    """Seconds without calls at most, and how long a probe may be silent; short, because probes are
    few and a provider that is back must have its full rate within ten seconds."""
    probes: int = attrs.field(default=1, validator=ge(1))
    """Calls that have to come back. One: of a route that serves every other call, three in a row
    are rare."""


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
    _open_for: float = attrs.field(init=False)
    """Seconds of this opening."""
    _silent_until: float = attrs.field(default=-inf, init=False)
    _answered_at: float = attrs.field(default=-inf, init=False)
    """When a call last came back."""
    on_change: Callable[[Circuit, float], None] | None = attrs.field(default=None, init=False)
    """Called with each transition: where to, and when."""

    def __attrs_post_init__(self) -> None:
        self._window = CallWindow(self.policy.window)
        self._open_for = self._first()

    def _first(self) -> float:
        return min(self.policy.open_first, self.policy.open_for)

    def admit(self, now: float) -> Generation | None:
        """A generation to `report` with, exactly once; None: do not call."""
        if self.circuit is Circuit.CLOSED:
            return self.generation
        if self._admits_at(now) > now:
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
        if outcome is CallOutcome.SUCCESS:
            self._answered_at = max(self._answered_at, now)
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
        """A call that has not ended was not looked at yet."""
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
        elif outcome is not CallOutcome.IGNORED:
            self._silent_until = -inf
            if self.circuit is Circuit.OPEN:
                self._since = min(self._since, now - self._opening)

    def retry_at(self, now: float) -> float:
        """When to come back; `now` if `admit` would let a call through now. While probes are out
        that is soon, since their outcome comes soon, and not when the next one may be let
        through."""
        at = self._admits_at(now)
        if at > now and self.circuit is Circuit.HALF_OPEN:
            return min(at, now + self._first())
        return at

    @property
    def _opening(self) -> float:
        """Seconds of this opening; never more than `open_for`."""
        first = self._first()
        if self._open_for <= first:
            return first
        return self._open_for * (1 - backoff.turn_dice(self.generation, 0.0) / 2)

    def _admits_at(self, now: float) -> float:
        if self.circuit is Circuit.CLOSED:
            return now
        if self.circuit is Circuit.OPEN:
            return max(now, self._since + self._opening, self._silent_until)
        out = self._probing + self._proved
        return now if out < self.policy.probes else max(now, self._since + self.policy.open_for)

    def statistics(self, now: float) -> BreakerStatistics:
        return self.view(now)()

    def view(self, now: float) -> Callable[[], BreakerStatistics]:
        """The values of `statistics`, worked out when it is called."""
        retry_at = None if self.circuit is Circuit.CLOSED else self.retry_at(now)
        return partial(_told, self.circuit, self._window.view(now), retry_at, self.generation)

    def _count(self, now: float, *, calls: int = 0, failures: int = 0, slow: int = 0) -> None:
        tally = self._window.add(now, calls=calls, failures=failures, slow=slow)
        policy = self.policy
        if tally.calls >= policy.min_calls and (
            (
                tally.failures >= policy.failure_rate * tally.calls
                and now >= self._answered_at + policy.quiet
            )
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
        if self.circuit is Circuit.HALF_OPEN and signal is BreakerSignal.TRIPPED:
            self._open_for = min(_LONGER * self._open_for, self.policy.open_for)
        elif signal is not BreakerSignal.COOLED:
            self._open_for = self._first()
        self.circuit = TRANSITIONS[self.circuit, signal]
        self.generation = Generation(self.generation + 1)
        self._since = now
        self._probing = self._proved = self._slow = 0
        self._window.clear()
        if self.on_change is not None:
            self.on_change(self.circuit, now)


def _told(
    circuit: Circuit,
    tally: Callable[[], CallCounts],
    retry_at: float | None,
    generation: Generation,
) -> BreakerStatistics:
    counts = tally()
    return BreakerStatistics(
        circuit=circuit.value,
        calls=counts.calls,
        failures=counts.failures,
        slow=counts.slow,
        retry_at=retry_at,
        generation=generation,
    )


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
