"""One phase of load in this process: its own engine, and what it cost the client."""

import datetime
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs
import trio

from streamnursery.bench.costs import Costs
from streamnursery.bench.load import LoadPhase, Running
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.run_summary import ALL, LoadRun
from streamnursery.bench.samples import Sample, Tally
from streamnursery.bench.shapes import Shape
from streamnursery.core.measure.histogram import Histogram
from streamnursery.facade import Engine, open_engine
from streamnursery.telemetry.endpoint import serve_metrics
from streamnursery.transport.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

_PROBE = 0.01
"""Seconds between two looks at how late the client's own timers are."""
_SETTLED_WITHIN = 1.0


class RunMonitor:
    """What a screen may look at while a benchmark runs."""

    def __init__(self) -> None:
        self.title = ""
        self.running: Running | None = None
        self.tally = Tally()
        """Of the running phase."""
        self.total = 0
        self.done = 0
        """Stretches, over all targets, levels and repetitions."""
        self.broken_off: tuple[str, Shape, LoadRun] | None = None
        """Target, level and what there was of a phase that was cancelled."""
        self.samples: Callable[[str, str, int, Sample], None] | None = None
        """Called with target, level, repetition and each request that counts."""
        self.metrics_port: int | None = None
        """Where the engine of each phase answers Prometheus while it runs."""


async def measure_load(
    target: Target,
    shape: Shape,
    options: Options,
    repetition: int,
    watch: RunMonitor,
    *,
    network: Network | None = None,
) -> LoadRun:
    """Run it and measure it; the engine is opened and closed around it."""
    await trio.lowlevel.checkpoint()
    tallies: dict[str, Tally] = {ALL: Tally()}
    watch.tally = tallies[ALL]

    def on_sample(sample: Sample) -> None:
        tallies[ALL].add(sample, options.slo)
        tallies.setdefault(sample.model, Tally()).add(sample, options.slo)
        if watch.samples is not None:
            watch.samples(target.name, str(shape), repetition, sample)

    phase = LoadPhase(
        shape,
        options.seconds,
        options.count,
        options.warmup,
        options.grace,
        options.cancel_rate,
        options.slow_rate,
        options.slow_pause,
        options.timeout,
    )
    lag = Histogram()
    costs = Costs(target.config, datetime.datetime.now(datetime.UTC).date())
    seed = options.seed * 1_000 + repetition
    async with AsyncExitStack() as stack:
        opened = open_engine(target.config, seed=seed, network=network)
        eng = await stack.enter_async_context(opened)
        if watch.metrics_port is not None:
            await stack.enter_async_context(serve_metrics(eng, port=watch.metrics_port))
        running = Running(eng, phase, target.workload, seed, on_sample, costs)
        watch.running = running
        cpu, wall = time.process_time(), trio.current_time()

        def measured() -> LoadRun:
            return LoadRun(
                tallies,
                running.measured_seconds,
                time.process_time() - cpu,
                trio.current_time() - wall,
                lag.quantile(0.99),
                running.max_lateness,
                eng.statistics().connections.opened,
            )

        whole = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_probe, lag)
                await running.run()
                nursery.cancel_scope.cancel()
            whole = True
        finally:
            watch.running = None
            if not whole:
                watch.broken_off = (target.name, shape, measured())
        load_run = measured()
        return attrs.evolve(load_run, leaks=await _leaks(eng))


async def _probe(lag: Histogram) -> None:
    while True:
        due = trio.current_time() + _PROBE
        await trio.sleep_until(due)
        lag.add(trio.current_time() - due)


async def _leaks(eng: Engine) -> tuple[str, ...]:
    """What is still held a second after everything has ended."""
    found: tuple[str, ...] = ()
    with trio.move_on_after(_SETTLED_WITHIN):
        while True:
            held = eng.statistics()
            counts = {
                "slots": held.active,
                "queued requests": held.queued,
                "stream tasks": held.streams,
                "buffered bytes": held.buffered_bytes,
                "busy connections": held.connections.busy,
            }
            found = tuple(f"{n} {what}" for what, n in counts.items() if n)
            if not found:
                break
            await trio.sleep(_PROBE)
    return found
