"""What is measured of a model: counters and histograms, no object per token."""

from collections import Counter
from math import ceil, inf

from streamnursery.core.measure.histogram import Histogram, KeptHistogram
from streamnursery.core.recovery.hedging import FirstTokens
from streamnursery.core.recovery.patience import expected_duration
from streamnursery.values.policy import Patience
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

_GAPS_AT_ONCE = 100
_ENOUGH = 20
"""Samples before a model's own figures replace the assumed ones."""
_ASSUMED_LATENCY = 1.0
_ASSUMED_TOKENS_PER_SECOND = 45.0
_ASSUMED_OUTPUT = 2048.0


class Meter:
    """The measurements of one model."""

    def __init__(self) -> None:
        self.requests = 0
        self.succeeded = 0
        self.failed = 0
        self.cancelled = 0
        self.retries = 0
        self.reroutes = 0
        self.hedges = 0
        self.hedges_won = 0
        self.content_events = 0
        self.output_tokens = 0
        self.input_tokens = 0
        self.billed = 0
        """Nano-dollars of attempts that are settled."""
        self.streaming_seconds = 0.0
        self.streamed_tokens = 0
        self.errors: Counter[str] = Counter()
        self.queue_time = Histogram()
        self.ttft = Histogram()
        self._itl = Histogram()
        self._gaps: list[float] = []
        """Not in `_itl` yet: one by one they cost three times as much as by the hundred."""
        self.latency = Histogram()
        self.output = Histogram()
        """Thousands of output tokens of an answer."""
        self._most_output = 0
        self._look_again_at = 0
        self.first_tokens = FirstTokens()

    def first_content(self, ttft: float, events: int) -> None:
        """The first read with content: k events have k - 1 gaps of zero between them."""
        self.ttft.add(ttft)
        self.content_events += events
        if events > 1:
            self._itl.add(0.0, events - 1)

    def more_content(self, gap: float, events: int) -> None:
        """A later read: one gap, and zeros between its own events."""
        self.content_events += events
        self._gaps.append(gap)
        if events > 1:
            self._itl.add(0.0, events - 1)
        if len(self._gaps) >= _GAPS_AT_ONCE:
            self._sort_in()

    @property
    def itl(self) -> Histogram:
        """Seconds between the content events of a stream."""
        self._sort_in()
        return self._itl

    def keep_itl(self) -> tuple[KeptHistogram, tuple[float, ...]]:
        """`itl` as it is now, and the gaps that are to be added to it."""
        return self._itl.keep(), tuple(self._gaps)

    def _sort_in(self) -> None:
        for gap in self._gaps:
            self._itl.add(gap)
        self._gaps.clear()

    def usage(self, usage: Usage | None, timings: Timings) -> None:
        """Tokens of a request that has ended, however it did."""
        reported = usage.output_tokens if usage is not None else None
        tokens = timings.content_events if reported is None else reported
        self.output_tokens += tokens
        if tokens:
            self.output.add(tokens / 1000)
        if usage is not None and usage.input_tokens is not None:
            self.input_tokens += usage.input_tokens
        first, last = timings.first_token_at, timings.last_token_at
        if first is not None and last is not None and last > first and tokens > 1:
            self.streaming_seconds += last - first
            self.streamed_tokens += tokens - 1

    def most_output(self, request: ChatRequest) -> int:
        """Output tokens that an answer takes at most: as asked for, else 99 of 100 so far."""
        if request.max_tokens is not None:
            return request.max_tokens * (request.n or 1)
        answers = self.output.count
        if answers < _ENOUGH:
            return int(_ASSUMED_OUTPUT) * (request.n or 1)
        if answers >= self._look_again_at:
            # Each time there are a twentieth more: looking costs a walk along the histogram.
            self._most_output = ceil(1000 * (self.output.quantile(0.99) or 0.0))
            self._look_again_at = answers + answers // 20
        return self._most_output

    def total_patience(self, patience: Patience, request: ChatRequest) -> float:
        """Seconds that an attempt may take; "auto" goes by live figures once there are enough,
        of answers that ended well or not: a slow model must not fail until it has succeeded."""
        if patience.total is None:
            return inf
        if patience.total != "auto":
            return patience.total
        if request.max_tokens is None:
            return inf
        known = self.output.count >= _ENOUGH
        speed = self.streamed_tokens / self.streaming_seconds if self.streaming_seconds else 0.0
        return expected_duration(
            output_tokens=float(self.most_output(request)),
            base_latency=(self.ttft.mean or 0.0) if known else _ASSUMED_LATENCY,
            tokens_per_second=speed if known and speed else _ASSUMED_TOKENS_PER_SECOND,
        )

    def merge(self, other: "Meter") -> None:
        """Add everything that `other` has measured."""
        for name in (
            "requests",
            "succeeded",
            "failed",
            "cancelled",
            "retries",
            "reroutes",
            "hedges",
            "hedges_won",
            "content_events",
            "output_tokens",
            "input_tokens",
            "billed",
            "streaming_seconds",
            "streamed_tokens",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.errors.update(other.errors)
        for name in ("queue_time", "ttft", "itl", "latency", "output"):
            getattr(self, name).merge(getattr(other, name))
