"""Where runs run: in this process, or spread over worker processes.

A worker is the same command line once more, so that keys come to it as they came to us, from
files and environment, and never through a pipe. It reads one JSON line per run and answers
with one.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from streamnursery.bench.calibrate import BenchError
from streamnursery.bench.load_run import RunMonitor, measure_load
from streamnursery.bench.plan import Options, Target, pack_shape, unpack_shape
from streamnursery.bench.run_summary import LoadRun
from streamnursery.bench.samples import Sample
from streamnursery.bench.shapes import Shape

_MAX_LINE = 64 * 1024 * 1024


@attrs.frozen
class InProcess:
    """Runs runs in this process."""

    targets: Sequence[Target]
    options: Options
    watch: RunMonitor

    async def load_run(self, target: int, shape: Shape, repetition: int) -> LoadRun:
        """As `Runner`."""
        watch, chosen = self.watch, self.targets[target]
        watch.title = f"{chosen.name}, {shape}, repetition {repetition + 1}"
        load_run = await measure_load(chosen, shape, self.options, repetition, watch)
        watch.done += 1
        return load_run


@attrs.define(eq=False)
class Workers:
    """Shares each load_run between processes, and joins what they measured."""

    processes: Sequence[trio.Process]
    watch: RunMonitor
    targets: Sequence[str]
    """Names."""
    count: int | None
    """Requests of a load_run, all processes together."""

    async def load_run(self, target: int, shape: Shape, repetition: int) -> LoadRun:
        """As `Runner`; a share without load is left out."""
        self.watch.title = f"{self.targets[target]}, {shape}, repetition {repetition + 1}"
        found: list[LoadRun] = []
        shares = shape.share(len(self.processes))
        counts = shared(self.count, sum(share is not None for share in shares))
        async with trio.open_nursery() as nursery:
            for process, share in zip(self.processes, shares, strict=True):
                if share is not None:
                    order = {
                        "target": target,
                        "shape": pack_shape(share),
                        "repetition": repetition,
                        "count": counts.pop(),
                    }
                    nursery.start_soon(self._order, process, order, found)
        self.watch.done += 1
        joined = found[0]
        for load_run in found[1:]:
            joined = joined.joined(load_run)
        return joined

    async def _order(
        self, process: trio.Process, order: dict[str, Any], found: list[LoadRun]
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(json.dumps(order).encode() + b"\n")
        line = bytearray()
        while not line.endswith(b"\n"):
            more = await process.stdout.receive_some(65536)
            if not more or len(line) > _MAX_LINE:
                raise BenchError("a worker of the benchmark ended before its work did")
            line += more
        answer = json.loads(line)
        if self.watch.samples is not None:
            for target, load, sample in answer["samples"]:
                self.watch.samples(target, load, order["repetition"], Sample(**sample))
        found.append(LoadRun.unpacked(answer["load_run"]))


def shared(count: int | None, among: int) -> list[int | None]:
    """So many requests in parts that differ by one at most; None is no number for each."""
    if count is None:
        return [None] * among
    return [count // among + (index < count % among) for index in range(among)]


@asynccontextmanager
async def worker_processes(words: Sequence[str], count: int) -> AsyncIterator[list[trio.Process]]:
    """`count` processes of this command with `--worker I`, to the end of the block."""
    processes: list[trio.Process] = []
    try:
        for index in range(count):
            command = (sys.executable, "-m", "streamnursery", "bench", *words)
            process = await trio.lowlevel.open_process(
                [*command, "--worker", str(index)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            processes.append(process)
        yield processes
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                process.kill()
                await process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()


async def serve_orders(
    targets: Sequence[Target], options: Options, index: int, samples: bool
) -> None:
    """A worker's life: runs as they are ordered on stdin, until it ends."""
    own = attrs.evolve(options, seed=options.seed + 7919 * (index + 1))
    watch = RunMonitor()
    lines: list[tuple[str, str, dict[str, Any]]] = []
    if samples:
        watch.samples = lambda name, load, _, one: lines.append((name, load, one.line()))
    orders = trio.wrap_file(sys.stdin)
    while True:
        line = await orders.readline()
        if not line:
            return
        order = json.loads(line)
        shape = unpack_shape(order["shape"])
        ordered = attrs.evolve(own, count=order["count"])
        target, repetition = targets[order["target"]], order["repetition"]
        load_run = await measure_load(target, shape, ordered, repetition, watch)
        print(json.dumps({"load_run": load_run.packed(), "samples": lines}), flush=True)
        lines.clear()
