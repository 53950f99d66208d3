"""What the client itself costs, measured against a server that costs nothing, in the same run.

A benchmark whose client is the bottleneck measures the client. So before the load the same engine
asks a null server (`null_server.py`), and after it the figures of the load are held against that.
"""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import attrs
import trio

from streamnursery.bench.load_run import RunMonitor, measure_load
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.run_summary import ALL, LoadRun
from streamnursery.bench.samples import OK, statistic
from streamnursery.bench.shapes import Concurrency
from streamnursery.bench.workload import Lengths, Synthetic
from streamnursery.config import config_from_mapping

_TOKENS = 100
_REQUESTS = 200
_AT_ONCE = 8
BUSY = 0.8
"""Share of a core from which on a client is called the bottleneck."""
LATE = 0.1
"""Share of a measured time that the client's own lateness may make up."""
LATE_FLOOR = 0.005
"""Seconds of lateness that are never worth a word."""


class BenchError(Exception):
    """A process of the benchmark itself failed; nothing is known of the target."""


@attrs.frozen
class Calibration:
    """The client against nothing."""

    cpu_us_per_token: float
    """CPU per token, in a stream that comes at once, the request's own cost included."""
    cpu_ms_per_request: float
    added_ttft_p50: float
    """Seconds from the sending to the first token, when the server takes no time."""
    added_ttft_p99: float
    requests: int


@asynccontextmanager
async def null_server(tokens: int) -> AsyncIterator[int]:
    """Its port; it runs in its own process, to the end of the block."""
    words = (sys.executable, "-m", "streamnursery.bench.null_server", str(tokens))
    process = await trio.lowlevel.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = b""
        while not line.endswith(b"\n"):
            more = await process.stdout.receive_some(64)
            if not more:
                raise BenchError("the null server of the calibration did not start")
            line += more
        yield int(line)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def calibrate(*, requests: int = _REQUESTS, tokens: int = _TOKENS) -> Calibration:
    """Measure it; takes about a second."""
    async with null_server(tokens) as port:
        config = config_from_mapping({
            "endpoints": {"null": {"url": f"http://127.0.0.1:{port}/v1", "auth": "none"}},
            "models": {"null": {"routes": [{"endpoint": "null"}]}},
        })
        workload = Synthetic({"null": 1.0}, Lengths(16), None)
        target = Target.of("null", config, workload, max_streams=None, attempts=1)
        warm = Options(count=_AT_ONCE * 2, seed=1)
        await measure_load(target, Concurrency(_AT_ONCE), warm, 0, RunMonitor())
        load_run = await measure_load(
            target, Concurrency(_AT_ONCE), attrs.evolve(warm, count=requests), 1, RunMonitor()
        )
    tally = load_run.tallies[ALL]
    done = max(1, tally.outcomes[OK])
    return Calibration(
        cpu_us_per_token=load_run.cpu_seconds / (done * tokens) * 1e6,
        cpu_ms_per_request=load_run.cpu_seconds / done * 1e3,
        added_ttft_p50=statistic(tally.times["ttft_send"], "p50") or 0.0,
        added_ttft_p99=statistic(tally.times["ttft_send"], "p99") or 0.0,
        requests=tally.outcomes[OK],
    )


@attrs.frozen
class Doubt:
    """Why a figure may be the client's own."""

    about: str
    weight: float
    """The larger, the worse; of doubts about the same."""
    text: str


def doubts(load_run: LoadRun, workers: int) -> list[Doubt]:
    """Why the figures of a phase may be the client's own; empty where nothing says so."""
    found: list[Doubt] = []
    if not load_run.tallies[ALL].outcomes[OK]:
        return found  # what failed at once keeps a client busy, and measures nothing
    wall = load_run.wall_seconds or inf
    busy = load_run.cpu_seconds / (wall * workers)
    if busy > BUSY:
        each = " each" if workers > 1 else ""
        text = (
            f"the client used {busy:.0%} of a core{each}: it is the bottleneck. Use --workers, "
            "or a lower load"
        )
        found.append(Doubt("cpu", busy, text))
    times = load_run.tallies[ALL].times
    lag = load_run.lag_p99 or 0.0
    for name in ("ttft_send", "itl_read"):
        measured = statistic(times[name], "p50")
        if measured and lag > max(LATE * measured, LATE_FLOOR):
            text = (
                f"the client's own timers were late by {lag * 1e3:.1f} ms (p99), against {name} "
                f"p50 of {measured * 1e3:.1f} ms: it adds to what it measures"
            )
            found.append(Doubt("timers", lag, text))
            break
    if load_run.max_lateness > 1.0:
        text = (
            f"the client began requests up to {load_run.max_lateness:.1f} s after their dates; "
            "ttft counts from the dates"
        )
        found.append(Doubt("dates", load_run.max_lateness, text))
    for leak in load_run.leaks:
        text = f"a leak: {leak} a second after the load had ended"
        found.append(Doubt(f"leak {leak}", 1.0, text))
    return found
