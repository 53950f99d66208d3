"""No window of 60 s sees more than the limit: the bucket against a list of what was taken."""

from math import inf

import attrs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamnursery.core.limits.bucket import WINDOW, Bucket, Taken

limits = st.integers(1, 200) | st.integers(201, 40_000)
bursts = st.sampled_from([0.01, 0.1, 0.3, 0.5, 1.0])
pauses = st.sampled_from([0.0, 0.03, 0.5, 1.0, 7.0, 59.9, 60.0, 61.0]) | st.floats(0, 70)


@attrs.define
class Use:
    at: float
    units: int
    taken: Taken


class BucketMachine(RuleBasedStateMachine):
    """Takes when the bucket says so, gives back and debits at will, and lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = 100
        self.bucket = Bucket(self.limit)
        self.uses: list[Use] = []
        self.debited_at = -inf
        """Debits and lower limits may exceed what was allowed: for 60 s nothing is asserted."""

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(part=st.floats(0, 1))
    def take_when_it_may(self, part: float) -> None:
        units = max(1, round(self.limit * part))
        date = self.bucket.date(units, self.now)
        assert date < inf
        self.now = max(self.now, date)
        assert self.bucket.date(units, self.now) <= self.now, "a date must hold when it comes"
        self.uses.append(Use(self.now, units, self.bucket.take(units, self.now)))

    @rule(part=st.floats(0, 0.2))
    def take_if_it_may_now(self, part: float) -> None:
        units = max(1, round(self.limit * part))
        if self.bucket.date(units, self.now) <= self.now:
            self.uses.append(Use(self.now, units, self.bucket.take(units, self.now)))

    @precondition(lambda self: self.uses)
    @rule(data=st.data(), part=st.floats(0, 1))
    def give_back(self, data: st.DataObject, part: float) -> None:
        use = data.draw(st.sampled_from(self.uses[-20:]))
        fewer = round(use.units * part)
        self.bucket.correct(use.taken, -fewer, self.now)
        use.units -= fewer

    @precondition(lambda self: self.uses)
    @rule(data=st.data(), more=st.integers(1, 50))
    def debit(self, data: st.DataObject, more: int) -> None:
        use = data.draw(st.sampled_from(self.uses[-20:]))
        before = self.bucket.date(1, self.now)
        self.bucket.correct(use.taken, more, self.now)
        use.units += more
        self.debited_at = self.now
        assert self.bucket.date(1, self.now) >= before

    @rule(limit=limits, burst=bursts)
    def change(self, limit: int, burst: float) -> None:
        self.bucket.change(limit, burst, self.now)
        if limit < self.limit:
            self.debited_at = self.now
        self.limit = limit

    @invariant()
    def no_window_sees_more_than_the_limit(self) -> None:
        if self.debited_at + WINDOW > self.now:
            return
        recent = sum(use.units for use in self.uses if use.at + WINDOW > self.now)
        assert recent <= self.limit

    @invariant()
    def the_log_is_bounded(self) -> None:
        assert len(self.bucket._log) <= 1700


TestBucket = BucketMachine.TestCase
TestBucket.settings = settings(stateful_step_count=40)


@given(limit=limits, burst=bursts, gaps=st.lists(pauses, min_size=1, max_size=60), data=st.data())
def test_the_pace_alone_keeps_the_window_where_nothing_is_larger_than_the_burst(
    limit: int, burst: float, gaps: list[float], data: st.DataObject
) -> None:
    bucket = Bucket(limit, burst)
    assume(bucket.paced)
    now = 0.0
    taken: list[tuple[float, int]] = []
    for gap in gaps:
        now += gap
        units = data.draw(st.integers(1, max(1, int(bucket.burst))))
        now = max(now, bucket._pace_date(units, now))
        bucket.take(units, now)
        taken.append((now, units))
        assert sum(n for at, n in taken if at + WINDOW > now) <= limit


@given(limit=st.integers(3, 300))
def test_an_endless_queue_gets_the_refill_and_the_burst(limit: int) -> None:
    bucket = Bucket(limit)
    now, count = 0.0, 0
    while now < 600:
        bucket.take(1, now)
        count += 1
        now = max(now, bucket.date(1, now))
    refill = (limit - bucket.burst) / WINDOW if bucket.paced else limit / WINDOW
    assert count >= int(600 * refill)
    assert count <= 10 * limit + 1
