"""Exact quantiles of what a benchmark has timed.

Rule 1: up to `MOST` durations are kept, and a quantile is one of them: the nearest rank.
Rule 2: of more a histogram remains, right to within 2.5 %; `exact` says which it is.
Rule 3: `rough_quantile` never sorts: a screen that looks four times a second must not hold up the
        load.
"""

from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping
from math import ceil
from typing import Any

from streamnursery.core.measure.histogram import Histogram

MOST = 1_000_000
"""Durations that one distribution keeps, in 8 bytes each."""


class ExactQuantiles(Histogram):
    """Durations in seconds; zeros are counted and not kept."""

    __slots__ = ("_sorted", "_values", "_zeros", "exact")

    def __init__(self) -> None:
        super().__init__()
        self._values = array("d")
        self._sorted = True
        self._zeros = 0
        self.exact = True

    def add(self, seconds: float, times: int = 1) -> None:
        super().add(seconds, times)
        if seconds <= 0:
            self._zeros += times
        elif self.exact:
            for _ in range(times):
                self._values.append(seconds)
            self._sorted = False
            self._bound()

    def quantile(self, q: float) -> float | None:
        if not self.exact or not self.count:
            return super().quantile(q)
        rank = max(1, ceil(q * self.count - 1e-9))
        if rank <= self._zeros:
            return 0.0
        if not self._sorted:
            self._values, self._sorted = array("d", sorted(self._values)), True
        return self._values[rank - self._zeros - 1]

    def rough_quantile(self, q: float) -> float | None:
        """The same to within 2.5 %, in constant time."""
        return super().quantile(q)

    def merge(self, other: Histogram) -> None:
        super().merge(other)
        assert isinstance(other, ExactQuantiles)
        self._zeros += other._zeros
        self.exact = self.exact and other.exact
        self._values.extend(other._values)
        self._sorted = False
        self._bound()

    def packed(self) -> dict[str, Any]:
        values = b64encode(self._values.tobytes()).decode() if self.exact else None
        return {**super().packed(), "values": values, "zeros": self._zeros}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> "ExactQuantiles":
        found = cls()
        found._take(Histogram.unpacked(packed))
        found._zeros = packed["zeros"]
        found.exact = packed["values"] is not None
        found._values = array("d", b64decode(packed["values"] or ""))
        found._sorted = False
        return found

    def _take(self, other: Histogram) -> None:
        super().merge(other)

    def _bound(self) -> None:
        if not self.exact or len(self._values) > MOST:
            self.exact, self._values, self._sorted = False, array("d"), True
