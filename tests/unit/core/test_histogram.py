import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.measure.histogram import Histogram

durations = st.floats(0, 1e4, allow_nan=False)


@given(values=st.lists(durations, min_size=1, max_size=200), q=st.floats(0.01, 1))
def test_a_quantile_is_right_to_within_its_bucket(values: list[float], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -(-int(q * len(values) * 1e9) // int(1e9)) - 1)]
    found = histogram.quantile(q)
    assert found is not None
    neighbours = [v for v in values if abs(found - v) <= 0.026 * v + 2e-5]
    assert neighbours, (found, exact)
    below = sum(v <= found * 1.026 + 2e-5 for v in values)
    assert below >= q * len(values) - 1e-6


def test_an_empty_histogram_knows_nothing() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    assert histogram.mean is None


def test_zeros_and_giants_stay_in_range() -> None:
    histogram = Histogram()
    histogram.add(-1.0)
    histogram.add(1e9)
    assert histogram.quantile(0.5) == 0.0
    assert histogram.quantile(1.0) == pytest.approx(1e4, rel=0.06)
    assert histogram.largest == 1e9


@given(a=st.lists(durations, max_size=50), b=st.lists(durations, max_size=50))
def test_merging_is_recording_both(a: list[float], b: list[float]) -> None:
    left, right, both = Histogram(), Histogram(), Histogram()
    for value in a:
        left.add(value)
        both.add(value)
    for value in b:
        right.add(value)
        both.add(value)
    left.merge(right)
    assert left.count == both.count
    assert left.total == pytest.approx(both.total)
    assert (left.smallest, left.largest) == (both.smallest, both.largest)
    assert [left.quantile(q / 10) for q in range(11)] == [both.quantile(q / 10) for q in range(11)]
