"""Who waits for which date, and which date comes first."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Dates(Generic[K]):
    """One date for each key; O(log n), whatever is changed how often."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._dates: dict[K, float] = {}
        self._entries = 0

    def __len__(self) -> int:
        return len(self._dates)

    def __contains__(self, key: K) -> bool:
        return key in self._dates

    def set(self, key: K, date: float) -> None:
        """`key` waits for `date` and for no other."""
        if self._dates.get(key) == date:
            return
        self._dates[key] = date
        self._entries += 1
        heapq.heappush(self._heap, (date, self._entries, key))
        if len(self._heap) > 2 * len(self._dates) + 16:
            self._heap = [(date, n, key) for n, (key, date) in enumerate(self._dates.items())]
            heapq.heapify(self._heap)

    def drop(self, key: K) -> None:
        """`key` waits for no date; nothing happens where it did not."""
        self._dates.pop(key, None)

    def earliest(self) -> tuple[float, K] | None:
        """The first date and whose it is."""
        while self._heap:
            date, _, key = self._heap[0]
            if self._dates.get(key) == date:
                return date, key
            heapq.heappop(self._heap)
        return None
