"""What is scraped of models, taken in slices: none of them keeps the engine's streams waiting.

The figures of different models may be some milliseconds apart.
"""

from collections.abc import Generator, Mapping
from operator import add
from typing import Final, TypeAlias

import attrs

from streamnursery.core.measure.histogram import Histogram
from streamnursery.core.measure.meter_view import keep, model_statistics
from streamnursery.facade import Engine
from streamnursery.scheduler.run.figures import load_of
from streamnursery.telemetry.buckets import cumulative
from streamnursery.telemetry.labels import MOST_NAMES, OTHER
from streamnursery.values.statistics import ModelStatistics, Quantiles

AT_ONCE: Final = 10
"""Models of a slice: some 0.7 ms."""

COUNTED: Final = (
    *("requests", "succeeded", "failed", "cancelled", "retries", "reroutes"),
    *("hedges", "hedges_won", "input_tokens", "output_tokens", "content_events"),
    *("active", "queued", "max_streams"),
)
"""Fields of `ModelStatistics` that can be summed up."""


@attrs.frozen
class FoldedHistogram:
    """A histogram as it is scraped."""

    counts: tuple[int, ...]
    """Cumulative, at each of `BOUNDS`."""
    count: int
    total: float
    """Seconds."""

    @classmethod
    def of(cls, quantiles: Quantiles) -> "FoldedHistogram":
        return cls(tuple(cumulative(quantiles)), quantiles.count, quantiles.sum)

    def plus(self, other: "FoldedHistogram") -> "FoldedHistogram":
        counts = tuple(map(add, self.counts, other.counts))
        return FoldedHistogram(counts, self.count + other.count, self.total + other.total)


@attrs.frozen
class ModelRow:
    """One model, or those beyond `MOST_NAMES` together."""

    label: str
    values: Mapping[str, int]
    errors: Mapping[str, int]
    """By category."""
    duration: FoldedHistogram
    """Of the requests that succeeded."""
    queue_time: FoldedHistogram
    ttft: FoldedHistogram
    itl: FoldedHistogram

    @classmethod
    def of(cls, label: str, statistics: ModelStatistics, duration: Histogram) -> "ModelRow":
        return cls(
            label,
            {name: getattr(statistics, name) for name in COUNTED},
            statistics.errors,
            FoldedHistogram.of(Quantiles(duration)),
            FoldedHistogram.of(statistics.queue_time),
            FoldedHistogram.of(statistics.ttft),
            FoldedHistogram.of(statistics.itl),
        )

    def plus(self, other: "ModelRow") -> "ModelRow":
        return ModelRow(
            self.label,
            _sum(self.values, other.values),
            _sum(self.errors, other.errors),
            self.duration.plus(other.duration),
            self.queue_time.plus(other.queue_time),
            self.ttft.plus(other.ttft),
            self.itl.plus(other.itl),
        )


Rows: TypeAlias = Generator[None, None, list[ModelRow]]


def model_rows(engine: Engine) -> Rows:
    """Gives way between slices, and returns the rows in the order of the models' first use."""
    rows: list[ModelRow] = []
    for number, (name, meter) in enumerate(list(engine._catalogue.meters.items())):
        statistics = model_statistics(keep(meter), load_of(engine._admission, name))
        row = ModelRow.of(name if number < MOST_NAMES else OTHER, statistics, meter.latency)
        if number <= MOST_NAMES:
            rows.append(row)
        else:
            rows[-1] = rows[-1].plus(row)
        if number % AT_ONCE == AT_ONCE - 1:
            yield
    return rows


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(other.keys() - one)]}
