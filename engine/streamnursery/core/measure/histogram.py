"""Durations in O(1) memory: a histogram with buckets that grow by 5 %.

A quantile is right to within 2.5 % of its value, from 10 us to 2.7 hours; shorter times count as
zero, longer ones as the longest. (The idea of HdrHistogram, with logarithmic buckets.)
"""

import sys
from array import array
from collections.abc import Mapping, Sequence
from math import log
from typing import Any, TypeAlias

KeptHistogram: TypeAlias = "tuple[array[int], int, float, float, float]"

_FLOOR = 1e-5
_GROWTH = 1.05
_SCALE = 1 / log(_GROWTH)
_BUCKETS = 426


def _middle(index: int) -> float:
    return 0.0 if index == 0 else _FLOOR * _GROWTH ** (index - 0.5)


class Histogram:
    """Counts of durations in seconds."""

    __slots__ = ("_counts", "_shared", "count", "largest", "smallest", "total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self._shared = False
        """Another histogram has the same counts: they are copied before one of the two changes."""
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
        if self._shared:
            self._counts, self._shared = self._counts[:], False
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

    def keep(self) -> KeptHistogram:
        """What is recorded now, for `of_kept`; nothing is copied yet."""
        self._shared = True
        return self._counts, self.count, self.total, self.smallest, self.largest

    @classmethod
    def of_kept(cls, kept: KeptHistogram) -> "Histogram":
        histogram = cls.__new__(cls)
        histogram._shared = True
        (
            histogram._counts,
            histogram.count,
            histogram.total,
            histogram.smallest,
            histogram.largest,
        ) = kept
        return histogram

    def merge(self, other: "Histogram") -> None:
        """Add everything that `other` has recorded."""
        self.merge_all([other])

    def merge_all(self, others: Sequence["Histogram"]) -> None:
        """Add what several have recorded."""
        filled = [other for other in others if other.count]
        # As one long number each: no bucket of 64 bits comes near to carrying into the next.
        numbers = (int.from_bytes(h._counts.tobytes(), sys.byteorder) for h in (self, *filled))
        self._counts = array("Q", sum(numbers).to_bytes(8 * _BUCKETS, sys.byteorder))
        self._shared = False
        for other in filled:
            self._add_figures(other)

    def _add_figures(self, other: "Histogram") -> None:
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
