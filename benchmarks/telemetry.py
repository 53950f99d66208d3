"""python -m benchmarks.telemetry [--repeats N] [--json]: what telemetry costs, in CPU.

Needs `benchmarks/compare/setup` to have run. Three engines in turn against the load server, each in
a process that is pinned to a core of its own:

- bare: no observer;
- traced: spans and metrics of OpenTelemetry, batched, to an exporter that serializes and drops;
- everything: traced, a log line per request into a file, and a scrape each second.

And of a scrape of 500 models the longest slice, during which no stream goes on.

Two loads: 100 streams at 50 tokens a second, and short requests, 50 at once. CPU is user and system
time of the whole process, the thread that makes spans included. Medians of the repeats, which are
interleaved, and from - to.
"""

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median
from tempfile import TemporaryFile

import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import streamnursery as sn
from benchmarks.compare.measure import pinned, server
from benchmarks.compare.prompts import prompts
from streamnursery.telemetry.opentelemetry import otel
from streamnursery.telemetry.prometheus import pieces, scrape

MODES = ("bare", "traced", "everything")
STREAMS, TOKENS, RATE = 100, 500, 50
REQUESTS, AT_ONCE, SHORT = 4000, 50, 3
SCRAPE = 1.0
MODELS = 500


class Serializing(SpanExporter):
    """Does what an exporter does but for the network."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            span.to_json(indent=None)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


@asynccontextmanager
async def watched(eng: sn.Engine, mode: str) -> AsyncIterator[None]:
    if mode == "bare":
        yield
        return
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Serializing()))
    meters = MeterProvider([InMemoryMetricReader()])
    told = otel(eng, tracer_provider=provider, meter_provider=meters)
    async with trio.open_nursery() as nursery:
        if mode == "everything":
            nursery.start_soon(scrapes, eng)
        yield
        nursery.cancel_scope.cancel()
    assert told.flush(60)
    provider.force_flush()
    assert told.dropped == 0


async def scrapes(eng: sn.Engine) -> None:
    while True:
        await trio.sleep(SCRAPE)
        await scrape(eng)


async def one(eng: sn.Engine, prompt: str) -> None:
    async with eng.stream("bench", prompt) as stream:
        async for _ in stream:
            pass


async def paced(eng: sn.Engine) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(one, eng, prompts()[number % len(prompts())])


async def starts(eng: sn.Engine) -> None:
    numbers = iter(range(REQUESTS))

    async def worker() -> None:
        for number in numbers:
            await one(eng, prompts()[number % len(prompts())])

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(worker)


async def child(mode: str, load: str, base: str) -> float:
    """CPU seconds of the load."""
    config = {
        "engine": {"max_idle_connections": 200},
        "endpoints": {"bench": {"url": base}},
        "models": {"bench": {"routes": [{"endpoint": "bench", "model": "bench"}]}},
    }
    observers = []
    if mode == "everything":
        logger = logging.getLogger("streamnursery")
        logger.addHandler(handler := logging.StreamHandler(TemporaryFile("w")))  # noqa: SIM115
        handler.setFormatter(sn.JsonFormatter())
        logger.setLevel(logging.INFO)
        observers = [sn.log_observer(trace_id=sn.telemetry.current_trace_id)]
    async with sn.open_engine(config, observers=observers) as eng:
        async with watched(eng, mode):
            await one(eng, "warm")
            began = time.process_time()
            await (paced if load == "paced" else starts)(eng)
        return time.process_time() - began


def run(mode: str, load: str, base: str) -> float:
    command = [
        *pinned(1),
        sys.executable,
        "-m",
        "benchmarks.telemetry",
        "--child",
        mode,
        load,
        base,
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(found.stdout)


def measure(repeats: int) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {load: {} for load in ("paced", "starts")}
    with server() as target:
        bases = {"paced": f"paced-{TOKENS}-{RATE}", "starts": f"burst-{SHORT}"}
        for _ in range(repeats):
            for load, path in bases.items():
                for mode in MODES:
                    seconds = run(mode, load, target.base(path))
                    found[load].setdefault(mode, []).append(seconds)
    return found


async def slices() -> tuple[int, float, float]:
    """How many a scrape of 500 models has, the longest and all of them in seconds."""
    async with sn.open_engine({"endpoints": {}}) as eng:
        for number in range(MODELS):
            meter = eng._catalogue.meter(f"model {number}")
            for step in range(200):
                meter.queue_time.add(0.001 * step)
                meter.ttft.add(0.01 * step)
                meter.latency.add(0.05 * step)
                meter.more_content(0.0007 * step, 1)
        took, made = [], pieces(eng)
        while True:
            began = time.perf_counter()
            if next(made, None) is None:
                return len(took), max(took), sum(took)
            took.append(time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="for programs: every repeat's seconds")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        mode, load, base = options.child
        print(trio.run(child, mode, load, base))
        return
    found = measure(options.repeats)
    if options.json:
        print(json.dumps(found))
        return
    print(
        "| load | engine | us per token or request | from - to | of bare |\n|---|---|---|---|---|"
    )
    for load, modes in found.items():
        units = STREAMS * TOKENS if load == "paced" else REQUESTS
        for mode, seconds in modes.items():
            each = [second / units * 1e6 for second in seconds]
            of_bare = median(seconds) / median(modes["bare"])
            spread = f"{min(each):.1f} - {max(each):.1f}"
            print(f"| {load} | {mode} | {median(each):.1f} | {spread} | {of_bare:.3f} |")
    count, longest, total = median_of([trio.run(slices) for _ in range(options.repeats)])
    print(
        f"scrape of {MODELS} models: {count} slices, the longest {longest * 1e3:.2f} ms, ", end=""
    )
    print(f"{total * 1e3:.0f} ms in all")


def median_of(found: list[tuple[int, float, float]]) -> tuple[int, float, float]:
    """The run whose longest slice is the median."""
    return sorted(found, key=lambda run: run[1])[len(found) // 2]


if __name__ == "__main__":
    main()
