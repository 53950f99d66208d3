"""When the reader of many connections should rest: fewer wake-ups, each for more reads.

Waking up costs more than one read does. Above some rate a rest of a few milliseconds lets several
reads come together; below it every read is its own event, and waiting only adds latency.

    reads per second      0 ... 1,000    1,000 ... 5,000    5,000 ...
    rest                  none           2 ms ... 5 ms      5 ms
"""

from math import exp

REST_FROM = 1_000.0
"""Reads per second from which on resting pays."""
REST_MOST_FROM = 5_000.0
MIN_REST = 0.002
MAX_REST = 0.005
_MEMORY = 0.1
"""Seconds over which the rate is averaged."""
_WORTH = 2.0
"""Reads that a rest has to bring together, on average."""


class Moderation:
    """The rests of one pump. No rest is longer than `max_added_latency` seconds."""

    __slots__ = ("_as_of", "_level", "_max_rest")

    def __init__(self, max_added_latency: float, now: float) -> None:
        self._max_rest = max_added_latency
        self._level = 0.0
        self._as_of = now

    def rest(self, reads: int, now: float) -> float:
        """Seconds to rest after a round of `reads`; 0 for not at all."""
        self._level = self._level * exp((self._as_of - now) / _MEMORY) + reads
        self._as_of = now
        rate = self._level / _MEMORY
        if rate < REST_FROM:
            return 0.0
        share = min(1.0, (rate - REST_FROM) / (REST_MOST_FROM - REST_FROM))
        rest = min(self._max_rest, MIN_REST + share * (MAX_REST - MIN_REST))
        return rest if rate * rest >= _WORTH else 0.0
