"""A meter as it was at one moment, for figures that are worked out when they are read.

What is taken at that moment is a tuple of counters and a few references: the counts of a histogram
are shared with it until it goes on (`Histogram.keep`), and quantiles are looked for when they are
read. 500 models cost 2 ms to take; their quantiles alone were 100.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import add, attrgetter
from typing import NamedTuple, TypeAlias

from streamnursery.core.measure.histogram import Histogram, KeptHistogram
from streamnursery.core.measure.meter import Meter
from streamnursery.values.money import Money
from streamnursery.values.statistics import ModelStatistics, Quantiles

COUNTERS = (
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
)
"""Counts of a meter, in the order of `KeptMeter.counters`."""
_counters = attrgetter(*COUNTERS, "billed", "streaming_seconds", "streamed_tokens")

Load: TypeAlias = tuple[int, int, str | None, int, int]
"""Active, queued, what the next waits for, slots, peak."""


class KeptMeter(NamedTuple):
    counters: tuple[float, ...]
    errors: Mapping[str, int]
    latency: tuple[int, float]
    """How many, and their seconds together."""
    queue_time: KeptHistogram
    ttft: KeptHistogram
    itl: tuple[KeptHistogram, tuple[float, ...]]


def keep(meter: Meter) -> KeptMeter:
    latency = meter.latency
    return KeptMeter(
        _counters(meter),
        dict(meter.errors) if meter.errors else _NONE,
        (latency.count, latency.total),
        meter.queue_time.keep(),
        meter.ttft.keep(),
        meter.keep_itl(),
    )


_NONE: Mapping[str, int] = {}


def model_statistics(kept: KeptMeter, load: Load) -> ModelStatistics:
    distributions = (
        Quantiles(Histogram.of_kept(kept.queue_time)),
        Quantiles(Histogram.of_kept(kept.ttft)),
        Quantiles(partial(itl_of, kept)),
    )
    return _statistics(kept.counters, dict(kept.errors), kept.latency, load, distributions)


def total_statistics(kept: Sequence[KeptMeter], load: Load) -> ModelStatistics:
    """All of them together."""
    counters: tuple[float, ...] = (0,) * (len(COUNTERS) + 3)
    errors: dict[str, int] = {}
    count, seconds = 0, 0.0
    for meter in kept:
        counters = tuple(map(add, counters, meter.counters))
        count, seconds = count + meter.latency[0], seconds + meter.latency[1]
        for name, n in meter.errors.items():
            errors[name] = errors.get(name, 0) + n
    distributions = (
        Quantiles(lambda: _merged([Histogram.of_kept(meter.queue_time) for meter in kept])),
        Quantiles(lambda: _merged([Histogram.of_kept(meter.ttft) for meter in kept])),
        Quantiles(lambda: _merged([itl_of(meter) for meter in kept])),
    )
    return _statistics(counters, errors, (count, seconds), load, distributions)


def itl_of(kept: KeptMeter) -> Histogram:
    """Seconds between content events."""
    histogram, gaps = kept.itl
    itl = Histogram.of_kept(histogram)
    for gap in gaps:
        itl.add(gap)
    return itl


def _merged(histograms: Sequence[Histogram]) -> Histogram:
    whole = Histogram()
    whole.merge_all(histograms)
    return whole


def _statistics(
    counters: tuple[float, ...],
    errors: Mapping[str, int],
    latency: tuple[int, float],
    load: Load,
    distributions: tuple[Quantiles, Quantiles, Quantiles],
) -> ModelStatistics:
    active, queued, limit, max_streams, peak = load
    *counts, billed, streaming_seconds, streamed_tokens = counters
    count, seconds = latency
    queue_time, ttft, itl = distributions
    return ModelStatistics(
        **dict(zip(COUNTERS, map(int, counts), strict=True)),
        cost=Money(billed),
        active=active,
        queued=queued,
        limit=limit,
        max_streams=max_streams,
        peak_active=peak,
        utilisation=active / max_streams if max_streams else 0.0,
        average_latency=seconds / count if count else None,
        queue_time=queue_time,
        ttft=ttft,
        itl=itl,
        tokens_per_second=streamed_tokens / streaming_seconds if streaming_seconds else None,
        errors=errors,
    )
