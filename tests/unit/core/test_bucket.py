"""A limit per minute: the burst, the pace behind it, and what corrections do."""

from math import inf

import pytest

from streamnursery.core.limits.bucket import Bucket


def taken_at_once(bucket: Bucket, now: float) -> int:
    count = 0
    while bucket.date(1, now) <= now:
        bucket.take(1, now)
        count += 1
    return count


def test_a_tenth_of_the_limit_may_go_at_once_and_the_rest_is_spread() -> None:
    bucket = Bucket(600)
    assert taken_at_once(bucket, 0.0) == 60
    assert bucket.date(1, 0.0) == pytest.approx(60 / 540)
    assert bucket.date(9, 0.0) == pytest.approx(1.0)
    assert bucket.used(0.0) == 60


def test_a_small_limit_has_a_burst_of_one_request() -> None:
    bucket = Bucket(5)
    assert taken_at_once(bucket, 0.0) == 1
    assert bucket.date(1, 0.0) == pytest.approx(15.0)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_burst_of_half_the_limit_leaves_the_decision_to_the_log(limit: int) -> None:
    bucket = Bucket(limit)
    assert taken_at_once(bucket, 7.0) == limit
    assert bucket.date(1, 8.0) == 67.0
    assert taken_at_once(bucket, 67.0) == limit


def test_a_burst_of_the_whole_limit_is_an_exact_window() -> None:
    bucket = Bucket(10, burst=1)
    for second in range(10):
        assert bucket.date(1, second) <= second
        bucket.take(1, second)
    assert bucket.date(1, 9.0) == 60.0
    assert bucket.date(3, 9.0) == 62.0


def test_what_is_larger_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = Bucket(1000)
    bucket.take(100, 0.0)
    assert bucket.date(500, 0.0) == pytest.approx(100 / 15)
    bucket.take(500, 100 / 15)
    assert bucket.date(1, 100 / 15) == pytest.approx(100 / 15 + 401 / 15)


def test_more_than_the_limit_never_fits() -> None:
    assert Bucket(100).date(101, 0.0) == inf


def test_what_is_given_back_can_be_used_at_once() -> None:
    bucket = Bucket(100)
    taken = bucket.take(10, 0.0)
    assert bucket.date(10, 0.0) > 6
    bucket.correct(taken, -10, 0.0)
    assert bucket.date(10, 0.0) <= 0.0
    assert bucket.used(0.0) == 0


def test_what_is_given_back_late_fills_no_bucket_beyond_its_burst() -> None:
    bucket = Bucket(600)
    taken = bucket.take(60, 0.0)
    bucket.correct(taken, -60, 30.0)
    assert taken_at_once(bucket, 30.0) == 60


def test_a_debit_delays_what_comes_next_also_after_the_window() -> None:
    for at in (1.0, 100.0):
        bucket = Bucket(600)
        taken = bucket.take(1, 0.0)
        bucket.correct(taken, 59, at)
        assert bucket.used(at) >= 59
        assert bucket.date(10, at) > at


def test_a_lower_limit_counts_what_the_last_minute_has_used() -> None:
    bucket = Bucket(100, burst=1)
    bucket.take(60, 0.0)
    bucket.change(50, 1, 10.0)
    assert bucket.date(1, 10.0) == 60.0
    bucket.change(100, 1, 10.0)
    assert bucket.date(40, 10.0) <= 10.0


def test_a_higher_limit_keeps_the_debt_in_units() -> None:
    bucket = Bucket(600)
    bucket.take(60, 0.0)
    bucket.change(6000, 0.1, 0.0)
    # 60 units are owed and the burst is 600 now.
    assert taken_at_once(bucket, 0.0) == 540
