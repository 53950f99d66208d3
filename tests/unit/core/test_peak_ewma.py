"""Loads of routes, and the choice of two."""

import random
from collections import Counter

import pytest

from streamnursery.core.routing.peak_ewma import PeakEwma, pick_of_two


def test_a_peak_counts_at_once_and_is_forgotten_slowly() -> None:
    load = PeakEwma()
    load.add(0.1, 0.0)
    load.add(5.0, 1.0)
    assert load.load(1.0) == pytest.approx(5.0)
    load.add(0.1, 2.0)
    assert 4.0 < load.load(2.0) < 5.0
    for second in range(3, 60):
        load.add(0.1, float(second))
    assert load.load(59.0) < 0.2


def test_a_route_that_nobody_asks_is_tried_again_some_day() -> None:
    load = PeakEwma()
    load.add(30.0, 0.0)
    assert load.load(300.0) < 1.0


def test_requests_under_way_make_a_route_heavier() -> None:
    load = PeakEwma(1.0)
    load.pending = 3
    assert load.load(0.0) == 4.0


def test_the_lighter_of_two_different_ones_is_picked() -> None:
    dice = random.Random(1)
    loads = {"a": 1.0, "b": 2.0, "c": 3.0}
    picked = Counter(pick_of_two("abc", loads.__getitem__, dice.random) for _ in range(3000))
    assert picked["c"] == 0, "two different ones are looked at, and one of them is lighter"
    assert picked["a"] == pytest.approx(2000, rel=0.1)
    assert pick_of_two(["only"], lambda _: 9.0, dice.random) == "only"
