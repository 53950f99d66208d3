"""The engine's figures in the text format of Prometheus, version 0.0.4.

Labels are `model`, `endpoint`, `outcome`, `category` and what is as bounded; names beyond 200 of a
label are `other`. Units are seconds, bytes and US dollars.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias, TypeVar

import trio

from streamnursery.facade import Engine
from streamnursery.facade.figures import Figures, figures
from streamnursery.telemetry.buckets import BOUNDS
from streamnursery.telemetry.engine_figures import engine_families
from streamnursery.telemetry.engines import AnyEngine, call, call_task, thread_of
from streamnursery.telemetry.families import MetricFamily, MetricSample, labelled
from streamnursery.telemetry.figures import FoldedHistogram, ModelRow, model_rows
from streamnursery.values.money import NANOS_PER_DOLLAR

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LINES: Final = 200
"""Of a slice: some 0.3 ms."""

T = TypeVar("T")
Series: TypeAlias = tuple[str, str, str, str]

_COUNTERS: Sequence[Series] = (
    ("requests_started_total", "requests", "counter", "Requests that were accepted."),
    ("retries_total", "retries", "counter", "Attempts on a route that had failed the request."),
    ("reroutes_total", "reroutes", "counter", "Changes to another endpoint or model."),
    ("hedges_total", "hedges", "counter", "Attempts made beside a slow one."),
    ("hedges_won_total", "hedges_won", "counter", "Hedges that answered first."),
    ("input_tokens_total", "input_tokens", "counter", "Input tokens, as reported."),
    ("output_tokens_total", "output_tokens", "counter", "Output tokens, as reported."),
    ("content_events_total", "content_events", "counter", "Content events delivered."),
    ("active_streams", "active", "gauge", "Slots in use now."),
    ("queued_requests", "queued", "gauge", "Requests that wait for a slot now."),
    ("max_streams", "max_streams", "gauge", "Slots of the model."),
)
_HISTOGRAMS = (
    ("request_duration_seconds", "duration", "Time from the call to the end of a whole answer."),
    ("queue_time_seconds", "queue_time", "Time from the call to the first slot."),
    ("time_to_first_token_seconds", "ttft", "Time from the call to the first token."),
    ("inter_token_latency_seconds", "itl", "Time between content events of a stream."),
)


def prometheus_text(eng: AnyEngine) -> str:
    """What `eng` has measured, for a scrape. It returns at once for a trio engine, at some
    70 us a model; `serve_metrics` answers scrapes without holding up streams for as long. For an
    engine of `aio` or `sync` the text is made in the engine's thread, between its streams' own
    steps, and the caller waits.

    Raises:
        EngineClosedError: the engine of `aio` or `sync` has ended.
        RequestError: `eng` is not an engine.
    """
    thread = thread_of(eng)
    if thread is not None:
        return call_task(thread, scrape)
    return call(eng, lambda engine: "".join(pieces(engine)))


async def scrape(engine: Engine) -> str:
    """The text, in the engine's own run, with a checkpoint after each slice."""
    return await _with_checkpoints(pieces(engine))


async def text_of(found: Figures) -> str:
    """The text for figures that came from another process."""
    return await _with_checkpoints(_pieces_of(found))


async def _with_checkpoints(made: Iterator[str]) -> str:
    text = []
    for piece in made:
        text.append(piece)
        await trio.lowlevel.checkpoint()
    return "".join(text)


def pieces(engine: Engine) -> Iterator[str]:
    """The text in pieces; making one of them takes some milliseconds at most."""
    slices = figures(engine)
    while (found := _next(slices)) is None:
        yield ""
    yield from _pieces_of(found)


def _pieces_of(found: Figures) -> Iterator[str]:
    rows = model_rows(found["models"])
    while (made := _next(rows)) is None:
        yield ""
    for family in (*engine_families(found), *_model_families(made)):
        lines = family.lines()
        while some := "".join(islice(lines, _LINES)):
            yield some


def _next(slices: Generator[None, None, T]) -> T | None:
    """What they return, once all are done."""
    try:
        next(slices)
    except StopIteration as end:
        made: T = end.value
        return made
    return None


def _model_families(rows: Sequence[ModelRow]) -> Iterator[MetricFamily]:
    for name, field, kind, help_text in _COUNTERS:
        yield MetricFamily(name, kind, help_text, _values(rows, field))
    yield MetricFamily(
        "cost_usd_total",
        "counter",
        "US dollars that answers cost, as the ledger has it.",
        (
            MetricSample(labelled(model=row.label), row.values["billed"] / NANOS_PER_DOLLAR)
            for row in rows
        ),
    )
    yield MetricFamily(
        "requests_ended_total", "counter", "Requests that have their outcome.", _ended(rows)
    )
    yield MetricFamily(
        "request_errors_total",
        "counter",
        "Requests that failed, by the category of the error.",
        (
            MetricSample(labelled(model=row.label, category=category), count)
            for row in rows
            for category, count in row.errors.items()
        ),
    )
    for name, field, help_text in _HISTOGRAMS:
        yield MetricFamily(name, "histogram", help_text, _histogram(rows, field))


def _values(rows: Iterable[ModelRow], field: str) -> Iterator[MetricSample]:
    for row in rows:
        yield MetricSample(labelled(model=row.label), row.values[field])


def _ended(rows: Iterable[ModelRow]) -> Iterator[MetricSample]:
    outcomes = (("complete", "succeeded"), ("failed", "failed"), ("cancelled", "cancelled"))
    for row in rows:
        for outcome, field in outcomes:
            yield MetricSample(labelled(model=row.label, outcome=outcome), row.values[field])


def _histogram(rows: Iterable[ModelRow], field: str) -> Iterator[MetricSample]:
    for row in rows:
        distribution: FoldedHistogram = getattr(row, field)
        model = labelled(model=row.label)
        for bound, count in zip(_TEXTS, distribution.counts, strict=True):
            yield MetricSample(f'{model},le="{bound}"', count, "_bucket")
        yield MetricSample(f'{model},le="+Inf"', distribution.count, "_bucket")
        yield MetricSample(model, distribution.total, "_sum")
        yield MetricSample(model, distribution.count, "_count")


_TEXTS = tuple(f"{bound:.4g}" for bound in BOUNDS)
