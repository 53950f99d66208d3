"""The breaker against a model that keeps every call it ever saw."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamnursery.core.recovery.breaker import Breaker, BreakerPolicy, Circuit, Generation
from streamnursery.core.recovery.call_window import SLICES
from streamnursery.core.recovery.error_policy import CallOutcome

POLICY = BreakerPolicy(
    window=10,
    min_calls=3,
    failure_rate=0.5,
    slow_rate=0.75,
    slow_after=1,
    quiet=0,
    open_first=4,
    open_for=4,
    probes=2,
)
WIDTH = POLICY.window / SLICES


class Model:
    """What the breaker should be, kept as plainly as possible."""

    def __init__(self) -> None:
        self.circuit = Circuit.CLOSED
        self.generation = 0
        self.since = 0.0
        self.calls: list[tuple[float, str]] = []
        self.out = 0
        self.back: list[CallOutcome] = []

    def admit(self, now: float) -> bool:
        if self.circuit is Circuit.CLOSED:
            return True
        cooled = now >= self.since + POLICY.open_for
        if self.circuit is Circuit.OPEN:
            if not cooled:
                return False
            self.turn(Circuit.HALF_OPEN, now)
        elif cooled:
            self.since, self.out = now, 0
        if self.out + len(self.back) >= POLICY.probes:
            return False
        self.out += 1
        return True

    def report(self, outcome: CallOutcome, now: float) -> None:
        if self.circuit is Circuit.CLOSED:
            if outcome is not CallOutcome.IGNORED:
                self.calls += [(now, "call"), (now, outcome.value)]
                self.judge(now)
            return
        self.out = max(0, self.out - 1)
        if outcome is CallOutcome.FAILURE:
            self.turn(Circuit.OPEN, now)
        elif outcome is not CallOutcome.IGNORED:
            self.back.append(outcome)
            if len(self.back) == POLICY.probes:
                slow = self.back.count(CallOutcome.SLOW) / POLICY.probes
                bad = slow >= POLICY.slow_rate
                self.turn(Circuit.OPEN if bad else Circuit.CLOSED, now)

    def on_stream_failed(self, now: float) -> None:
        if self.circuit is Circuit.CLOSED:
            self.calls.append((now, "failure"))
            self.judge(now)
        else:
            self.turn(Circuit.OPEN, now)

    def count(self, now: float) -> Counter[str]:
        first = now // WIDTH - SLICES + 1
        return Counter(what for when, what in self.calls if when // WIDTH >= first)

    def judge(self, now: float) -> None:
        count = self.count(now)
        enough = count["call"] >= POLICY.min_calls
        failing = count["failure"] >= POLICY.failure_rate * count["call"]
        slow = count["slow"] >= POLICY.slow_rate * count["call"]
        if enough and (failing or slow):
            self.turn(Circuit.OPEN, now)

    def turn(self, circuit: Circuit, now: float) -> None:
        self.circuit, self.since, self.out = circuit, now, 0
        self.generation += 1
        self.calls, self.back = [], []


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.model = Model()
        self.now = 0.0
        self.calls: list[Generation] = []
        self.answered: list[Generation] = []

    @rule(quarters=st.integers(1, 60))
    def wait(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule()
    def admit(self) -> None:
        expected_at = self.breaker.retry_at(self.now)
        generation = self.breaker.admit(self.now)
        assert (generation is not None) == self.model.admit(self.now)
        assert (generation is not None) == (expected_at <= self.now)
        if generation is not None:
            self.calls.append(generation)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 1000), outcome=st.sampled_from(CallOutcome))
    def report(self, which: int, outcome: CallOutcome) -> None:
        generation = self.calls.pop(which % len(self.calls))
        if generation == self.model.generation:
            self.model.report(outcome, self.now)
        self.breaker.report(generation, outcome, self.now)
        if outcome in (CallOutcome.SUCCESS, CallOutcome.SLOW):
            self.answered.append(generation)

    @precondition(lambda self: self.answered)
    @rule(which=st.integers(0, 1000))
    def break_after_answer(self, which: int) -> None:
        generation = self.answered.pop(which % len(self.answered))
        if generation == self.model.generation:
            self.model.on_stream_failed(self.now)
        self.breaker.on_stream_failed(generation, self.now)

    @invariant()
    def they_agree(self) -> None:
        assert self.breaker.circuit is self.model.circuit
        assert self.breaker.generation == self.model.generation
        count, seen = self.model.count(self.now), self.breaker.statistics(self.now)
        assert (seen.calls, seen.failures, seen.slow) == (
            count["call"],
            count["failure"],
            count["slow"],
        )

    @invariant()
    def an_open_circuit_opens_again_in_time(self) -> None:
        if self.breaker.circuit is not Circuit.CLOSED:
            assert self.now <= self.breaker.retry_at(self.now)
            assert self.breaker.retry_at(self.now) <= self.now + POLICY.open_for


TestBreaker = BreakerMachine.TestCase
