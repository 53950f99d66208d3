"""The figures of models, folded for a time series database."""

from collections.abc import Generator, Mapping
from operator import add
from typing import Any, Final, TypeAlias

import attrs

from streamnursery.core.measure.histogram import Histogram
from streamnursery.facade.figures import AT_ONCE
from streamnursery.telemetry.buckets import cumulative
from streamnursery.telemetry.labels import MOST_NAMES, OTHER

COUNTED: Final = (
    *("requests", "succeeded", "failed", "cancelled", "retries", "reroutes"),
    *("hedges", "hedges_won", "input_tokens", "output_tokens", "content_events"),
    *("billed", "active", "queued", "max_streams"),
)
"""Figures of a model that can be summed up."""


@attrs.frozen
class FoldedHistogram:
    """A histogram as it is scraped."""

    counts: tuple[int, ...]
    """Cumulative, at each of `BOUNDS`."""
    count: int
    total: float
    """Seconds."""

    @classmethod
    def of(cls, histogram: Histogram) -> "FoldedHistogram":
        return cls(tuple(cumulative(histogram)), histogram.count, histogram.total)

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
    def of(cls, label: str, model: Mapping[str, Any]) -> "ModelRow":
        names = ("duration", "queue_time", "ttft", "itl")
        folded = (FoldedHistogram.of(model[name]) for name in names)
        return cls(label, {name: model[name] for name in COUNTED}, model["errors"], *folded)

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


def model_rows(models: Mapping[str, Mapping[str, Any]]) -> Rows:
    """Gives way between slices, and returns the rows in the order of the models' first use."""
    rows: list[ModelRow] = []
    for number, (name, model) in enumerate(models.items()):
        row = ModelRow.of(name if number < MOST_NAMES else OTHER, model)
        if number <= MOST_NAMES:
            rows.append(row)
        else:
            rows[-1] = rows[-1].plus(row)
        if number % AT_ONCE == AT_ONCE - 1:
            yield
    return rows


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(other.keys() - one)]}
