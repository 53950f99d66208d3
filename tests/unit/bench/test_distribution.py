"""Quantiles of a benchmark are values that were measured."""

import json
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.bench import distribution
from streamnursery.bench.distribution import ExactQuantiles

DURATIONS = st.lists(st.floats(0, 1e5, allow_nan=False), min_size=1, max_size=60)


def of(values: list[float]) -> ExactQuantiles:
    found = ExactQuantiles()
    for value in values:
        found.add(value)
    return found


@given(DURATIONS, DURATIONS, st.sampled_from([0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0]))
def test_a_quantile_is_the_nearest_rank(a: list[float], b: list[float], q: float) -> None:
    both = of(a)
    both.merge(ExactQuantiles.unpacked(json.loads(json.dumps(of(b).packed()))))
    values = sorted(a + b)
    assert both.quantile(q) == values[max(1, ceil(q * len(values) - 1e-9)) - 1]
    assert (both.count, both.exact) == (len(values), True)
    assert (both.smallest, both.largest) == (values[0], values[-1])


def test_zeros_are_counted_and_not_kept() -> None:
    found = of([0.3])
    found.add(0.0, 10**9)
    assert found.quantile(0.99) == 0.0
    assert found.quantile(1.0) == 0.3


def test_of_too_many_a_histogram_remains_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "MOST", 100)
    values = [0.001 * n for n in range(1, 102)]
    found = of(values)
    assert not found.exact
    assert found.quantile(0.5) == pytest.approx(values[50], rel=0.026)
    again = ExactQuantiles.unpacked(json.loads(json.dumps(found.packed())))
    assert (again.exact, again.quantile(0.5)) == (False, found.quantile(0.5))
    whole = of([0.5])
    whole.merge(again)
    assert (whole.exact, whole.count) == (False, 102)


def test_a_screen_gets_a_rough_quantile_without_sorting() -> None:
    found = of([0.3, 0.1, 0.2])
    assert found.rough_quantile(0.5) == pytest.approx(0.2, rel=0.026)
    assert not found._sorted
