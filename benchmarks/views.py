"""python -m benchmarks.views [--json]: how long looking at an engine holds up everything else.

The longest slice, CPU time from one checkpoint to the next, of `statistics()` with 500 models that
have all been used, and of `snapshot()` with 2,000 streams of 500 models; in milliseconds, medians
of five calls. Against the load server: needs `benchmarks/compare/setup` to have run.
"""

import argparse
import gc
import inspect
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import attrs
import trio

import streamnursery as sn
from benchmarks.compare.measure import server

MODELS, STREAMS = 500, 2000
USES = 4
"""Streams of each model before its statistics are asked for."""
REPEATS = 5


@attrs.define(eq=False)
class Slices(trio.abc.Instrument):
    """The longest step of any task, seconds of CPU."""

    longest: float = 0.0
    _began: float = attrs.field(factory=time.thread_time)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, time.thread_time() - self._began)


async def longest(view: Callable[[], Any]) -> list[float]:
    """Milliseconds, of each call of `view`; it may be a coroutine function one day."""
    found = []
    await view_once(view)
    for _ in range(REPEATS):
        gc.collect()
        slices = Slices()
        await trio.lowlevel.checkpoint()
        trio.lowlevel.add_instrument(slices)
        await view_once(view)
        await trio.lowlevel.checkpoint()  # ends the step that the view was called in
        trio.lowlevel.remove_instrument(slices)
        found.append(1000 * slices.longest)
    return found


async def view_once(view: Callable[[], Any]) -> None:
    seen = view()
    if inspect.isawaitable(seen):
        await seen


def config(base: str) -> dict[str, Any]:
    return {
        "engine": {"max_streams": STREAMS},
        "defaults": {"max_streams": STREAMS},
        "endpoints": {"bench": {"url": base}},
        "models": {
            f"m{n}": {"routes": [{"endpoint": "bench", "model": "bench"}]} for n in range(MODELS)
        },
    }


async def statistics(base: str) -> list[float]:
    async with sn.open_engine(config(base)) as eng:

        async def use(model: str) -> None:
            for _ in range(USES):
                async with eng.stream(model, "hi") as stream:
                    async for _ in stream:
                        pass

        for first in range(0, MODELS, 50):
            async with trio.open_nursery() as nursery:
                for number in range(first, first + 50):
                    nursery.start_soon(use, f"m{number}")
        assert eng.statistics().total.succeeded == USES * MODELS
        return await longest(eng.statistics)


async def snapshot(base: str) -> list[float]:
    async with sn.open_engine(config(base)) as eng, trio.open_nursery() as nursery:
        begun, all_begun = 0, trio.Event()

        async def hold(model: str) -> None:
            nonlocal begun
            async with eng.stream(model, "hi") as stream:
                await anext(stream)
                begun += 1
                if begun == STREAMS:
                    all_begun.set()
                await trio.sleep_forever()

        for number in range(STREAMS):
            nursery.start_soon(hold, f"m{number % MODELS}")
        await all_begun.wait()
        assert len(eng.snapshot().streams) == STREAMS
        found = await longest(eng.snapshot)
        nursery.cancel_scope.cancel()
    return found


def figures() -> dict[str, list[float]]:
    with server() as target:
        return {
            f"statistics() of {MODELS} models": trio.run(statistics, target.base("burst-10")),
            f"snapshot() of {STREAMS:,} streams": trio.run(snapshot, target.base("hold-1")),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs: every call's figure")
    options = parser.parse_args()
    found = figures()
    if options.json:
        print(json.dumps(found))
        return
    print("| longest slice, ms of CPU | median | from - to |\n|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {median(values):.2f} | {min(values):.2f} - {max(values):.2f} |")


if __name__ == "__main__":
    main()
