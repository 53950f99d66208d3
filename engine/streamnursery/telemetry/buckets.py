"""The engine's own histograms, folded into the few buckets that a time series database wants."""

from collections.abc import Sequence
from math import log
from typing import Final

from streamnursery.values.statistics import Quantiles

_FLOOR, _GROWTH = 1e-5, 1.05
"""Of the engine's buckets: those of `Quantiles.buckets`."""
_NEAR = (
    *(0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


def _own_bound(seconds: float) -> float:
    """The engine's own bound next to `seconds`: counts are exact there, and nowhere between."""
    return float(_FLOOR * _GROWTH ** round(log(seconds / _FLOOR) / log(_GROWTH)))


BOUNDS: Final = tuple(_own_bound(seconds) for seconds in _NEAR)
"""Upper bounds in seconds, within 2.5 % of round numbers."""


def cumulative(quantiles: Quantiles) -> Sequence[int]:
    """How many durations are at most each of `BOUNDS`."""
    counts, seen, filled = [], 0, iter(quantiles.buckets)
    bucket = next(filled, None)
    for bound in BOUNDS:
        while bucket is not None and bucket[0] <= bound * 1.001:
            seen += bucket[1]
            bucket = next(filled, None)
        counts.append(seen)
    return counts
