"""When a pump rests, and how long."""

import pytest

from streamnursery.core.measure.moderation import MAX_REST, MIN_REST, Moderation


def rests(rate: float, *, max_added_latency: float = 1.0, seconds: float = 1.0) -> list[float]:
    """What rests are given to a pump that finds one read per round, `rate` times a second."""
    moderation = Moderation(max_added_latency, now=0)
    return [moderation.rest(1, n / rate) for n in range(round(rate * seconds))]


@pytest.mark.parametrize("rate", [1, 50, 500, 990])
def test_below_a_thousand_reads_per_second_there_is_no_rest(rate: float) -> None:
    assert set(rests(rate)) == {0}


@pytest.mark.parametrize(
    ("rate", "rest"), [(1_100, 0.0021), (3_000, 0.0035), (5_000, MAX_REST), (50_000, MAX_REST)]
)
def test_the_rest_grows_with_the_rate_to_five_milliseconds(rate: float, rest: float) -> None:
    assert rests(rate)[-1] == pytest.approx(rest, rel=0.05)


def test_no_rest_is_longer_than_was_granted() -> None:
    assert max(rests(20_000, max_added_latency=0.003)) == 0.003


def test_a_rest_that_would_bring_less_than_two_reads_together_is_not_taken() -> None:
    assert set(rests(1_500, max_added_latency=0.001)) == {0}
    assert rests(2_500, max_added_latency=0.001)[-1] == 0.001


def test_a_burst_alone_is_no_rate() -> None:
    assert Moderation(1.0, now=0).rest(64, now=0) == 0


def test_the_rests_end_when_the_rush_is_over() -> None:
    moderation = Moderation(1.0, now=0)
    for n in range(1000):
        moderation.rest(10, n / 1000)
    assert moderation.rest(10, 1.0) == MAX_REST
    assert moderation.rest(1, 1.3) == 0
    assert MIN_REST < MAX_REST
