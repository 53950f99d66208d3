"""All that an engine has counted, as plain values: for a scrape, and for another process.

It is taken in slices, between which streams go on: figures of different models may be some
milliseconds apart.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import msgspec
import trio

from streamnursery.core.measure.histogram import Histogram
from streamnursery.core.measure.meter_view import COUNTERS, itl_of, keep
from streamnursery.scheduler.run.figures import connection_statistics, load_of, route_statistics

if TYPE_CHECKING:
    from streamnursery.facade.engine import Engine

AT_ONCE: Final = 10
"""Models of a slice: some 0.3 ms."""

Figures: TypeAlias = dict[str, Any]
Slices: TypeAlias = Generator[None, None, Figures]


def figures(engine: "Engine") -> Slices:
    """Gives way after each slice, and returns the figures.

    `models` has counters, `billed` in nano-dollars, and histograms of seconds: `duration` of whole
    answers, `queue_time`, `ttft`, `itl`. `routes` has the state of each breaker and for how many
    seconds its provider wants to be left alone, `budgets` money in nano-dollars.
    """
    models: dict[str, Figures] = {}
    for number, name in enumerate(list(engine._catalogue.meters), 1):
        models[name] = _model(engine, name)
        if number % AT_ONCE == 0:
            yield
    return {**_whole(engine), "models": models}


def _model(engine: "Engine", name: str) -> Figures:
    meter = engine._catalogue.meters[name]
    kept = keep(meter)
    active, queued, _, max_streams, _ = load_of(engine._admission, name)
    counted = {field: int(n) for field, n in zip(COUNTERS, kept.counters, strict=False)}
    return {
        **counted,
        "billed": int(kept.counters[len(COUNTERS)]),
        "active": active,
        "queued": queued,
        "max_streams": max_streams,
        "errors": dict(kept.errors),
        "duration": Histogram.of_kept(meter.latency.keep()),
        "queue_time": Histogram.of_kept(kept.queue_time),
        "ttft": Histogram.of_kept(kept.ttft),
        "itl": itl_of(kept),
    }


def totals(engine: "Engine") -> Figures:
    """The counters of all models together, their `ttft` as quantiles in seconds, and what was spent
    in nano-dollars. Some 4 ms at 500 models."""
    meters = list(engine._catalogue.meters.values())
    first = Histogram()
    first.merge_all([meter.ttft for meter in meters])
    return {
        **{field: sum(int(getattr(meter, field)) for meter in meters) for field in COUNTERS},
        "ttft": {"p50": first.quantile(0.5), "p99": first.quantile(0.99)},
        "spent": engine.usage_report().total.spent,
    }


def _whole(engine: "Engine") -> Figures:
    engine._buffers.refresh()
    now, spending = trio.current_time(), engine._spending
    routes = route_statistics(engine._supervisor.routes.gates, now)
    return {
        "uptime": now - engine._opened_at,
        "streams": len(engine._dispatcher.live),
        "buffered_bytes": engine._buffers.current_bytes,
        "queued": engine._admission.queued,
        "max_streams": engine._admission.total.max_slots,
        "sessions": 0 if engine._sessions is None else len(engine._sessions.live),
        "connections": attrs.asdict(connection_statistics(engine._transports)),
        "admission": {outcome.value: n for outcome, n in engine._admission.outcomes.items()},
        "routes": {
            name: (route.circuit, max(0.0, (route.paused_until or 0.0) - now))
            for name, route in routes.items()
        },
        "heartbeats": {
            name: (beat.alive, beat.missed)
            for name, beat in engine._heartbeats.statistics().items()
        },
        "budgets": [
            (b.scope, b.name, b.span, b.spent + b.uncertain, b.limit)
            for b in spending.ledger.standings(spending.wall())
        ],
    }


async def packed(engine: "Engine") -> bytes:
    """The same as one line of JSON, which `unpacked` reads."""
    slices = figures(engine)
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return msgspec.json.encode(end.value, enc_hook=_packed_histogram) + b"\n"
        await trio.lowlevel.checkpoint()


def _packed_histogram(value: object) -> object:
    assert isinstance(value, Histogram)
    return value.packed()


def unpacked(line: bytes) -> Figures:
    """The inverse of `packed`.

    Raises:
        ValueError: it is something else.
    """
    try:
        found: Figures = msgspec.json.decode(line)
        for model in found["models"].values():
            for name in ("duration", "queue_time", "ttft", "itl"):
                model[name] = Histogram.unpacked(model[name])
    except (LookupError, TypeError, AttributeError, msgspec.DecodeError) as error:
        msg = "these are no figures of an engine"
        raise ValueError(msg) from error
    return found
