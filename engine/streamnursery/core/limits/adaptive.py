"""How many streams at once a route takes: as many as do not make its first token late.

After Netflix's Gradient2Limit (concurrency-limits, `limit/Gradient2Limit.java`: the limit follows
the ratio of the long-term to the present response time, and grows by a little while that is near
one; no growth below half of it) and Envoy's gradient controller (`adaptive_concurrency`: the
long-term time is measured anew now and then, at a lower limit). The response time is the TTFT.

Rule 1: a window is a number of first tokens of streams that were all admitted under its limit. One
        window, one step.
Rule 2: the base is measured anew every `_PROBE` windows at seven tenths of the limit, since what
        was measured under pressure is no base. Slower is what chance does not explain.
Rule 3: an overload (429, 503, 529, a first token that never came) takes a tenth off the limit,
        once for all that were admitted before it was known. Bounds are never left.
Rule 4: a route that answers `_FOR_ONE` streams for each that it refuses is not overloaded: such a
        refusal takes a hundredth off, a tenth of a stream at most, and the window goes on. Some
        providers refuse at random, and a tenth of all for each would leave next to nothing.
"""

from math import inf, sqrt

import attrs

from streamnursery.values.policy import Adaptive

_SAMPLES = 16
"""First tokens in a window at least; of a large limit half of it, for a base as many as there were
streams."""
_TOLERANCE = 1.05
"""How much slower than the base is not yet slower."""
_STEEPEST = 0.5
_FAST = 1.5
"""Growth until the first slow window."""
_DROP = 0.9
_FOR_ONE = 10
_LITTLE = 0.1
_KEPT = 100
"""Earlier answers that are kept at most to speak for refusals; of a large limit all of it."""
_STEP = 0.5
"""Streams that it grows by at least."""
_PROBE = 25
_FIRST_PROBE = 4
_PROBE_AT = 0.7


@attrs.define(eq=False)
class _Window:
    since: float
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Of the distances from the mean, summed (B. P. Welford, 1962)."""
    busy: int = 0
    """The most streams at once."""
    probing: bool = False

    def add(self, seconds: float) -> None:
        self.count += 1
        distance = seconds - self.mean
        self.mean += distance / self.count
        self.squares += distance * (seconds - self.mean)

    @property
    def variance(self) -> float:
        """Of the mean."""
        return self.squares / max(1, self.count - 1) / max(1, self.count)


class AdaptiveLimit:
    """The limit of one route, in streams at once."""

    def __init__(self, policy: Adaptive, now: float) -> None:
        self.policy = policy
        self._limit = float(min(policy.max_streams, max(policy.min_streams, policy.start)))
        self._base: float | None = None
        self._base_variance = 0.0
        self._fast = True
        self._windows = _PROBE - _FIRST_PROBE
        self._window = _Window(now)
        self._known_at = -inf
        """When an overload last took a tenth."""
        self._answers = 0
        """Those that no refusal was set off against."""

    @property
    def limit(self) -> int:
        """Streams at once that are let through now."""
        if self._window.probing:
            return max(self.policy.min_streams, int(self._limit * _PROBE_AT))
        return int(self._limit)

    @property
    def base(self) -> float | None:
        """Seconds to the first token without pressure, as far as known."""
        return self._base

    def first_token(self, admitted_at: float, now: float, streams: int) -> None:
        """A stream had its first token while so many streams were there."""
        window = self._window
        self._answers = min(self._answers + 1, max(_KEPT, self.limit))
        if admitted_at < window.since:
            return
        window.add(now - admitted_at)
        window.busy = max(window.busy, streams)
        # The first answers to many streams that began together are the fastest ones: no base.
        streams = window.busy if self._base is None or window.probing else self.limit // 2
        if window.count >= max(_SAMPLES, streams):
            self._close(window)
            self._open(now)

    def on_overload(self, admitted_at: float, now: float) -> None:
        """The route refused a stream, or let it wait for too long."""
        if admitted_at <= self._known_at or admitted_at < self._window.since:
            return
        self._fast = False
        if self._answers >= _FOR_ONE:
            self._answers -= _FOR_ONE
            self._change(self._limit - min(_LITTLE, self._limit / 100))
            return
        self._known_at = now
        self._change(self._limit * _DROP)
        self._open(now)

    def _close(self, window: _Window) -> None:
        if self._base is None or window.probing:
            at, faster = self.limit, self._measure(window)
            if window.probing:
                if faster:  # it was under pressure before: stay down, and look further down
                    self._change(at)
                    self._windows = _PROBE - 2
                return
        assert self._base is not None
        # Slower than chance explains, twice the standard error of the difference.
        surely = window.mean - 2 * sqrt(window.variance + self._base_variance)
        if surely > _TOLERANCE * self._base:
            self._fast = False
            self._change(self._limit * max(_STEEPEST, _TOLERANCE * self._base / surely))
        elif window.busy * 2 >= self.limit:
            more = self._limit * (_FAST - 1) if self._fast else sqrt(self._limit) / 4
            self._change(self._limit + max(_STEP, more))

    def _measure(self, window: _Window) -> bool:
        """Take the base from a window, half of it where there was one that agrees; whether the
        base was longer until now."""
        old, new = self._base, window.mean
        chance = 2 * sqrt(window.variance + self._base_variance)
        if old is None or abs(new - old) > chance + (_TOLERANCE - 1) * old:
            self._base, self._base_variance = new, window.variance
            return old is not None and new < old
        self._base = (old + new) / 2
        self._base_variance = (self._base_variance + window.variance) / 4
        return False

    def _change(self, limit: float) -> None:
        self._limit = min(
            float(self.policy.max_streams), max(float(self.policy.min_streams), limit)
        )

    def _open(self, now: float) -> None:
        self._windows += 1
        probing = self._windows % _PROBE == 0 and not self._window.probing
        self._window = _Window(now, probing=probing)
