"""python -m benchmarks.start_cost [--json]: what a stream costs until its first event, counted.

One stream after the other on a connection that is open, against the load server, with prompts and
answers that differ; needs `benchmarks/compare/setup` to have run. From the call of `stream()` to
its first event, and where it says so to the end of its block:

- functions: different ones, in how many files, and calls, Python's and C's (sys.setprofile);
- memory blocks of all types that the call allocated and that are alive at its first event, and
  their KiB (tracemalloc, which does not see what was freed again);
- task steps, tasks and timers (instruments of trio);
- coroutine frames that a stream holds while it waits for its next event.

Medians of five streams. Sockets are real: a read that finds nothing is a call more now and then.
"""

import argparse
import gc
import json
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from statistics import median
from types import CodeType, FrameType
from typing import Any

import attrs
import trio
import trio.testing

import streamnursery as sn
from benchmarks.compare.measure import server
from benchmarks.compare.prompts import prompts
from benchmarks.steps import Counts

WARM = 30
"""Streams before the first that is counted: connections, caches and specialized bytecode."""
REPEATS = 5
TOKENS, RATE = 3, 50


@attrs.define(eq=False)
class Calls:
    """Counts calls between `start` and `stop`, in all tasks."""

    python: int = 0
    c: int = 0
    functions: set[CodeType] = attrs.Factory(set)

    def start(self) -> None:
        sys.setprofile(self._called)

    def stop(self) -> None:
        sys.setprofile(None)
        self.functions -= {code for code in self.functions if code.co_filename == __file__}

    def _called(self, frame: FrameType, what: str, _: object) -> None:
        if what == "call":
            self.python += 1
            self.functions.add(frame.f_code)
        elif what == "c_call":
            self.c += 1

    def figures(self) -> dict[str, float]:
        written = [code for code in self.functions if not code.co_filename.startswith("<")]
        own = [code for code in written if "streamnursery" in code.co_filename]
        return {
            "functions, the engine's": len(own),
            "functions, trio's and others'": len(written) - len(own),
            "functions, generated": len(self.functions) - len(written),
            "files, the engine's": len({code.co_filename for code in own}),
            "Python calls": self.python,
            "C calls": self.c,
        }


async def calls_to_first_event(eng: sn.Engine, prompt: str) -> dict[str, float]:
    calls = Calls()
    calls.start()
    async with eng.stream("bench", prompt) as stream:
        await anext(stream)
        calls.stop()
        async for _ in stream:
            pass
    return calls.figures()


async def calls_to_end(eng: sn.Engine, prompt: str) -> dict[str, float]:
    calls = Calls()
    calls.start()
    async with eng.stream("bench", prompt) as stream:
        async for _ in stream:
            pass
    calls.stop()
    return {
        "Python calls to the end": calls.python,
        "C calls to the end": calls.c,
    }


async def blocks(eng: sn.Engine, prompt: str) -> dict[str, float]:
    gc.collect()
    gc.disable()  # or it frees what was there before
    tracemalloc.start()
    async with eng.stream("bench", prompt) as stream:
        event = await anext(stream)
        found = tracemalloc.take_snapshot()
        tracemalloc.stop()
        del event
        async for _ in stream:
            pass
    gc.enable()
    sizes = [trace.size for trace in found.traces]
    return {"blocks": len(sizes), "blocks, KiB": sum(sizes) / 1024}


async def steps(eng: sn.Engine, prompt: str) -> dict[str, float]:
    counts = Counts()
    trio.lowlevel.add_instrument(counts)
    async with eng.stream("bench", prompt) as stream:
        await anext(stream)
        trio.lowlevel.remove_instrument(counts)
        sys.setprofile(None)
        async for _ in stream:
            pass
    return {"task steps": counts.steps, "tasks": counts.tasks, "timers": counts.timers}


async def frames(eng: sn.Engine, prompt: str) -> dict[str, float]:
    """Counted while the stream's consumer waits for the second event."""
    before = coroutine_frames()
    begun = trio.Event()

    async def consume() -> None:
        async with eng.stream("bench", prompt) as stream:
            await anext(stream)
            begun.set()
            async for _ in stream:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.005)
        own = 1  # of `consume`
        held = coroutine_frames() - before - own
    return {"coroutine frames held": held}


def coroutine_frames() -> int:
    """Of all tasks."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    total, tasks = 0, [root]
    while tasks:
        task = tasks.pop()
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        awaited: Any = task.coro
        while awaited is not None:
            total += any(hasattr(awaited, name) for name in ("cr_frame", "ag_frame", "gi_frame"))
            awaited = next(
                (
                    getattr(awaited, name)
                    for name in ("cr_await", "ag_await", "gi_yieldfrom")
                    if hasattr(awaited, name)
                ),
                None,
            )
    return total


PARTS: tuple[Callable[[sn.Engine, str], Awaitable[dict[str, float]]], ...] = (
    calls_to_first_event,
    calls_to_end,
    blocks,
    steps,
    frames,
)


async def measure(base: str) -> dict[str, list[float]]:
    """The figures of each of the repeats."""
    config = {
        "endpoints": {"bench": {"url": base}},
        "models": {"bench": {"routes": [{"endpoint": "bench", "model": "bench"}]}},
    }
    numbers = iter(range(1000))

    def prompt() -> str:
        number = next(numbers)
        return f"{number} {prompts()[number % len(prompts())]}"

    found: dict[str, list[float]] = {}
    async with sn.open_engine(config) as eng:
        for _ in range(WARM):
            async with eng.stream("bench", prompt()) as stream:
                async for _ in stream:
                    pass
        for part in PARTS:
            for _ in range(REPEATS):
                for name, value in (await part(eng, prompt())).items():
                    found.setdefault(name, []).append(value)
    return found


def figures() -> dict[str, list[float]]:
    with server() as target:
        return trio.run(measure, target.base(f"paced-{TOKENS}-{RATE}"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_cost", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs: every repeat's figures")
    options = parser.parse_args()
    found = figures()
    if options.json:
        print(json.dumps(found))
        return
    print("| from stream() to its first event | median | from - to |\n|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {median(values):,.0f} | {min(values):,.0f} - {max(values):,.0f} |")


if __name__ == "__main__":
    main()
