"""python -m benchmarks.admission [--waiting N ...] [--time] [--json]: what waiting costs, counted.

With N requests waiting for one model, of ninety-seven tenants and two priorities: task steps,
function calls and comparisons of the queue for one more request that comes, one that goes away
and one that is granted; and the memory of one that waits, its task left out. Rule 3 of
`benchmarks/steps.py` holds here too.
"""

import argparse
import gc
import json
import tracemalloc
from math import inf
from statistics import median
from time import process_time

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from benchmarks.steps import Counts, queue_length
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.values.demand import Demand

TENANTS = 97
OPERATIONS = 200
TIMED = 1000
"""Operations of a run that is timed."""


class Number(int):
    """A request's number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Number.compared += 1
        return int(self) < int(other)

    def __eq__(self, other: object) -> bool:
        Number.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


class Crowd:
    """Tasks that wait at one admission."""

    def __init__(self) -> None:
        self.admission = Admission(
            max_streams=1, max_queued=10**6, default_max_streams=10**6, model_max_streams={}
        )
        self._numbers = 0

    def demand(self) -> Demand:
        self._numbers += 1
        number = Number(self._numbers)
        return Demand("m", "e", (number % 2, number), inf, f"tenant {number % TENANTS}")

    async def wait(self, scope: trio.CancelScope) -> None:
        with scope:
            (await self.admission.acquire(self.demand())).release()


class Counting:
    """Counts between `start` and `figures`."""

    def start(self) -> None:
        self._counts, Number.compared = Counts(), 0
        self._counts.start()

    def figures(self, name: str, operations: int) -> dict[str, float]:
        counts = self._counts
        counts.stop()
        return {
            f"steps_per_{name}": counts.steps / operations,
            f"calls_per_{name}": counts.calls / operations,
            f"comparisons_per_{name}": Number.compared / operations,
        }


class Timing:
    """Measures CPU between `start` and `figures`, with the collector off."""

    def start(self) -> None:
        gc.collect()
        gc.disable()
        self._started = process_time()

    def figures(self, name: str, operations: int) -> dict[str, float]:
        spent = process_time() - self._started
        gc.enable()
        return {f"us_per_{name}": 1e6 * spent / operations}


async def _measured(waiting: int, gauge: Counting | Timing, operations: int) -> dict[str, float]:
    crowd = Crowd()
    operations = min(operations, waiting)
    found: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        first = crowd.admission.acquire_nowait(crowd.demand())
        scopes = [trio.CancelScope() for _ in range(waiting + operations)]
        for scope in scopes[:waiting]:
            nursery.start_soon(crowd.wait, scope)
        await wait_all_tasks_blocked()

        gauge.start()
        for scope in scopes[waiting:]:
            nursery.start_soon(crowd.wait, scope)
        await wait_all_tasks_blocked()
        found |= gauge.figures("arrival", operations)

        gauge.start()
        for scope in scopes[:: max(1, len(scopes) // operations)][:operations]:
            scope.cancel()
        await wait_all_tasks_blocked()
        found |= gauge.figures("departure", operations)

        left = crowd.admission.queued
        gauge.start()
        first.release()
        while crowd.admission.queued > left - operations:
            await trio.lowlevel.checkpoint()
        found |= gauge.figures("grant", operations)
        nursery.cancel_scope.cancel()
    return found


async def _memory(waiting: int = 5000) -> float:
    """Bytes that one more waiter holds in the admission: ticket, demand, scope, event, places."""
    from streamnursery.scheduler.admission.queue import QueuedDemand

    crowd = Crowd()
    first = crowd.admission.acquire_nowait(crowd.demand())
    lane, line = first.lane, crowd.admission._queue
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    waiters = [QueuedDemand.of(crowd.demand(), lane) for _ in range(waiting)]
    for waiter in waiters:
        line.waiters[waiter] = None
        line.line.push(waiter)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / waiting


def counted(waiting: int) -> dict[str, float]:
    """The figures with so many waiting; the same in every run."""
    clock = MockClock(autojump_threshold=0)
    return trio.run(_measured, waiting, Counting(), OPERATIONS, clock=clock)


def timed(waiting: int) -> dict[str, float]:
    """CPU microseconds of the same, task of the request included: the median of five runs."""
    runs = [
        trio.run(_measured, waiting, Timing(), TIMED, clock=MockClock(autojump_threshold=0))
        for _ in range(5)
    ]
    return {name: median(run[name] for run in runs) for name in runs[0]}


def bytes_per_waiter() -> float:
    return trio.run(_memory, clock=MockClock(autojump_threshold=0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admission", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--time", action="store_true", help="and time it: for people, no gate")
    parser.add_argument("--waiting", type=queue_length, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    figures = {f"{n} waiting": counted(n) for n in options.waiting}
    if options.time:
        for n in options.waiting:
            figures[f"{n} waiting"] |= timed(n)
    figures["memory"] = {"bytes_per_waiter": bytes_per_waiter()}
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    for title, found in figures.items():
        print(title)
        for name, value in found.items():
            print(f"  {name:32} {value:10.2f}")


if __name__ == "__main__":
    main()
