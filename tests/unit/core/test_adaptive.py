"""The adaptive limit against a server whose first token gets late beyond a knee."""

import heapq
import random
from statistics import mean

import attrs
import pytest

from streamnursery.core.limits.adaptive import AdaptiveLimit
from streamnursery.values.policy import Adaptive


@attrs.define
class Server:
    """Serves `knee` streams at once in time; more of them wait in proportion."""

    limit: AdaptiveLimit
    knee: int
    noise: float = 0.0
    lasts: float = 5.0
    now: float = 0.0
    limits: list[int] = attrs.field(factory=list)

    def run(self, seconds: float, offered: int = 10_000) -> float:
        """The mean of the limit over that time, with so many streams to be had at most."""
        dice, until = random.Random(1), self.now + seconds
        self.limits = []
        events: list[tuple[float, int, float]] = []
        active = 0
        while self.now < until:
            while active < min(self.limit.limit, offered):
                active += 1
                slower = max(1.0, active / self.knee)
                ttft = 0.5 * slower * dice.lognormvariate(0, self.noise)
                heapq.heappush(events, (self.now + ttft, 0, self.now))
                end = self.now + ttft + self.lasts * dice.uniform(0.5, 1.5)
                heapq.heappush(events, (end, 1, self.now))
            self.now, kind, admitted_at = heapq.heappop(events)
            if kind:
                active -= 1
            else:
                self.limit.first_token(admitted_at, self.now, active)
            self.limits.append(self.limit.limit)
        return mean(self.limits)


@pytest.mark.parametrize("knee", [20, 50, 200])
@pytest.mark.parametrize("start", [5, 100])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_it_finds_the_knee_and_stays_there(knee: int, start: int, noise: float) -> None:
    server = Server(AdaptiveLimit(Adaptive(start=start), 0.0), knee, noise)
    server.run(300)
    for _ in range(3):
        assert server.run(200) == pytest.approx(knee, rel=0.2)


@pytest.mark.parametrize(("before", "after"), [(50, 20), (20, 60)])
def test_it_follows_a_knee_that_moves(before: int, after: int) -> None:
    server = Server(AdaptiveLimit(Adaptive(), 0.0), before, 0.1)
    server.run(300)
    server.knee = after
    server.run(300)
    assert server.run(300) == pytest.approx(after, rel=0.2)


def test_what_is_not_used_does_not_grow() -> None:
    server = Server(AdaptiveLimit(Adaptive(start=40), 0.0), 1000)
    server.run(600, offered=10)
    assert server.limit.limit <= 40


def test_bounds_are_never_left() -> None:
    policy = Adaptive(min_streams=7, max_streams=30, start=10)
    server = Server(AdaptiveLimit(policy, 0.0), 1000)
    server.run(600)
    assert max(server.limits) == 30
    for n in range(200):
        server.limit.on_overload(server.now + n, server.now + n)
    assert server.limit.limit == 7


def test_an_overload_counts_once_for_all_that_were_admitted_before() -> None:
    limit = AdaptiveLimit(Adaptive(start=100), 0.0)
    for n in range(50):
        limit.on_overload(0.0, 1.0 + n)
    assert limit.limit == 90
    limit.on_overload(5.0, 6.0)
    assert limit.limit == 81


@pytest.mark.parametrize("share", [0.04, 0.06])
def test_refusals_by_chance_leave_the_streams_that_there_were(share: float) -> None:
    limit, dice, now = AdaptiveLimit(Adaptive(start=50), 0.0), random.Random(3), 0.0
    found = []
    for _ in range(20_000):
        now += 0.01
        if dice.random() < share:
            limit.on_overload(now - 0.001, now)
        else:
            limit.first_token(now - 0.5 * dice.lognormvariate(0, 0.2), now, limit.limit)
        found.append(limit.limit)
    assert min(found[500:]) >= 30
    assert mean(found) >= 50


def test_more_refusals_than_one_in_ten_bring_it_down() -> None:
    limit, now = AdaptiveLimit(Adaptive(start=50), 0.0), 0.0
    for n in range(2000):
        now += 0.01
        if n % 6 == 0:
            limit.on_overload(now - 0.001, now)
        else:
            limit.first_token(now - 0.5, now, limit.limit)
    assert limit.limit <= 15


def test_the_first_answers_to_a_burst_are_no_base() -> None:
    """The fastest of a hundred that began together come first."""
    limit, dice = AdaptiveLimit(Adaptive(start=100), 0.0), random.Random(3)
    for first in sorted(0.5 * dice.lognormvariate(0, 0.3) for _ in range(100)):
        limit.first_token(0.0, first, 100)
    assert limit.base == pytest.approx(0.5, rel=0.15)


def test_the_bounds_must_make_sense() -> None:
    with pytest.raises(ValueError, match="is above"):
        Adaptive(min_streams=5, max_streams=4)
    with pytest.raises(ValueError, match="whole number >= 1"):
        Adaptive(start=0)
