"""Durations in O(1) memory: a histogram with buckets that grow by 5 %.

A quantile is right to within 2.5 % of its value, from 10 us to 2.7 hours; shorter times count as
zero, longer ones as the longest. (The idea of HdrHistogram, with logarithmic buckets.)
"""

from array import array
from collections.abc import Mapping
from math import log
from typing import Any

_FLOOR = 1e-5
_GROWTH = 1.05
_SCALE = 1 / log(_GROWTH)
_BUCKETS = 426


def _middle(index: int) -> float:
    return 0.0 if index == 0 else _FLOOR * _GROWTH ** (index - 0.5)


class Histogram:
    """Counts of durations in seconds."""

    __slots__ = ("_counts", "count", "largest", "smallest", "total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.total = 0.0
        self.smallest = 0.0
        self.largest = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Record `times` durations of `seconds`; less than zero counts as zero."""
        if seconds <= _FLOOR:
            seconds = max(seconds, 0.0)
            index = 0
        else:
            index = 1 + int(log(seconds / _FLOOR) * _SCALE)
            if index >= _BUCKETS:
                index = _BUCKETS - 1
        self._counts[index] += times
        if not self.count or seconds < self.smallest:
            self.smallest = seconds
        if seconds > self.largest:
            self.largest = seconds
        self.count += times
        self.total += seconds * times

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The duration that a share of `q` does not exceed; None when nothing was recorded."""
        if not self.count:
            return None
        rank = max(1.0, q * self.count)
        seen = 0
        for index, n in enumerate(self._counts):
            seen += n
            if n and seen >= rank:
                return min(max(_middle(index), self.smallest), self.largest)
        return self.largest

    def buckets(self) -> tuple[tuple[float, int], ...]:
        """Those that hold something: the upper bound in seconds, and the count."""
        return tuple((_FLOOR * _GROWTH**i, n) for i, n in enumerate(self._counts) if n)

    def filled(self) -> list[tuple[float, int]]:
        """The buckets that hold something: the middle of each in seconds, and its count."""
        return [(_middle(index), n) for index, n in enumerate(self._counts) if n]

    def merge(self, other: "Histogram") -> None:
        """Add everything that `other` has recorded."""
        if not other.count:
            return
        for index, n in enumerate(other._counts):
            self._counts[index] += n
        self.smallest = min(self.smallest, other.smallest) if self.count else other.smallest
        self.largest = max(self.largest, other.largest)
        self.count += other.count
        self.total += other.total

    def packed(self) -> dict[str, Any]:
        """As JSON values that `unpacked` reads: filled buckets alone."""
        return {
            "buckets": {str(index): n for index, n in enumerate(self._counts) if n},
            "total": self.total,
            "smallest": self.smallest,
            "largest": self.largest,
        }

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> "Histogram":
        """The inverse of `packed`."""
        histogram = cls()
        for index, n in packed["buckets"].items():
            histogram._counts[int(index)] = n
        histogram.count = sum(histogram._counts)
        histogram.total = packed["total"]
        histogram.smallest = packed["smallest"]
        histogram.largest = packed["largest"]
        return histogram
