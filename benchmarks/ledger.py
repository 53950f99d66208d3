"""python -m benchmarks.ledger [--seconds 3] [--folder DIR] [--json]: what a ledger carries.

An attempt is a hold, a reservation that is committed before it returns, and a settlement that is
written with the next group; nothing is sent. Wall time on a real disk: for people, no gate.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date
from pathlib import Path
from typing import Any

import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.settlement import AttemptEnd
from streamnursery.scheduler.money.ledger_store import LedgerStore, MemoryStore
from streamnursery.scheduler.money.spending import Spending
from streamnursery.scheduler.run.observers import Observers
from streamnursery.storage.disk import RealDisk
from streamnursery.storage.ledger_file import LedgerFile
from streamnursery.values.budgets import Budget, Budgets
from streamnursery.values.demand import Demand
from streamnursery.values.errors import AttemptState
from streamnursery.values.money import Money
from streamnursery.values.prices import BUILT_IN, Price
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Route
from streamnursery.values.usage import Usage

BUDGETS = Budgets(
    daily=Money.parse("1000000"),
    monthly=Money.parse("10000000"),
    models={"gpt-4.1": Budget(daily=Money.parse("1000000"))},
)
REQUEST = ChatRequest("gpt-4.1", [{"role": "user", "content": "Hi"}], max_tokens=100)
DEMAND = Demand("gpt-4.1", "main", input_tokens=10, output_tokens=100)
ROUTE = Route("main", "gpt-4.1")
DONE = AttemptEnd(AttemptState.DONE, 200, Usage(10, 90))


def price_of(model: str, route: Route | None, day: date) -> Price | None:
    del route, day
    return BUILT_IN[model][0]


async def measure(path: str | None, at_once: int, seconds: float) -> dict[str, Any]:
    """`at_once` attempts side by side, one after the other each, for `seconds`."""
    ledger = Ledger(BUDGETS, UTC)
    file = LedgerFile(path, RealDisk(), ledger, wall=time.time) if path is not None else None
    store: LedgerStore = file or MemoryStore(ledger)
    spending = Spending(
        BUDGETS,
        ledger,
        store,
        price_of=price_of,
        meter=lambda _: Meter(),
        wall=time.time,
        now=trio.current_time,
        recorder=Observers(),
        max_queued=10_000,
    )
    done, waits = 0, list[float]()

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < until:
            started = time.perf_counter()
            hold = await spending.hold(REQUEST, DEMAND, ROUTE)
            reservation = await hold.reserve(1)
            waits.append(time.perf_counter() - started)
            reservation.settle(DONE, 90)
            done += 1
            await trio.lowlevel.checkpoint()

    await store.open()
    begun = time.perf_counter()
    until = begun + seconds
    async with trio.open_nursery() as writer:
        writer.start_soon(store.run)
        async with trio.open_nursery() as askers:
            for _ in range(at_once):
                askers.start_soon(one)
        took = time.perf_counter() - begun
        writer.cancel_scope.cancel()
    await store.close()
    waits.sort()
    return {
        "ledger": "file" if file is not None else "memory",
        "at_once": at_once,
        "attempts_per_second": round(done / took, 1),
        "commits_per_second": round(file.commits / took, 1) if file is not None else None,
        "reservation_p50_ms": round(1000 * waits[len(waits) // 2], 3),
        "reservation_p99_ms": round(1000 * waits[len(waits) * 99 // 100], 3),
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; a temporary one if not"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(words)
    results = [trio.run(measure, None, 1, args.seconds)]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for at_once in (1, 10, 100, 1000):
            path = str(Path(folder) / f"{at_once}.db")
            results.append(trio.run(measure, path, at_once, args.seconds))
    if args.json:
        print(json.dumps(results))
        return
    for result in results:
        print("  ".join(f"{name} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
