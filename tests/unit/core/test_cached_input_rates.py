"""What input from a provider's cache counts towards."""

import pytest

from streamnursery.core.limits.rate_buckets import RateBuckets
from streamnursery.values.demand import Demand
from streamnursery.values.rates import Rates
from streamnursery.values.usage import Usage

DEMAND = Demand("m", "e", input_tokens=100, output_tokens=50)


def used(usage: Usage) -> dict[str, int]:
    """Of each bucket, after one request was settled."""
    buckets = RateBuckets(Rates(rpm=10, tpm=10_000, input_tpm=10_000, output_tpm=10_000))
    for reservation in list(buckets.reserve(DEMAND, 0.0)):
        reservation.settle(DEMAND, usage, 0.0)
    return {bucket.kind: bucket.used for bucket in buckets.statistics(0.0)}


@pytest.mark.parametrize("cached", [None, 0, 40, 999])
def test_it_counts_towards_all_tokens_and_not_towards_input_alone(cached: int | None) -> None:
    found = used(Usage(200, 30, cached_tokens=cached))
    assert found["tpm"] == 230
    assert found["input_tpm"] == 200 - min(cached or 0, 200)


def test_input_that_is_not_told_keeps_its_estimate() -> None:
    assert used(Usage(None, 30, cached_tokens=40))["input_tpm"] == 100
