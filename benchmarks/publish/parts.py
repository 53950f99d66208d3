"""The parts that have benchmarks of their own: what `benchmarks.parts` has recorded."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.publish.figures import GAP, Figures, table

MICRO = {
    "sse": "100 server-sent events of one read",
    "chat": "the same, decoded to stream events",
    "chat_one_at_a_time": "100 reads of one event, decoded",
    "channel": "1,000 batches through a channel",
    "ready_queue": "1,000 tickets through the ready queue",
    "bucket": "1,000 requests through a bucket",
    "ledger": "1,000 holds against two budgets",
    "settle": "1,000 attempts reserved, priced, settled and booked",
    "router": "1,000 choices among 20 models",
}
OPERATIONS = {
    "arrival": "one that comes",
    "departure": "one that goes away",
    "grant": "one that is granted",
}


def parts(results: Mapping[str, Any]) -> str:
    """Four tables; whatever is missing is a gap."""
    tables = (_micro, _admission, _ledger, _world)
    return Figures(results).origin() + "".join(f"\n{made(results)}" for made in tables)


def _micro(results: Mapping[str, Any]) -> str:
    found = results.get("micro", {})
    rows = [[says, *_spread(found.get(name))] for name, says in MICRO.items()]
    return table(["part (pyperf)", "median, us", "from - to"], rows)


def _spread(measured: Mapping[str, Any] | None) -> list[str]:
    if measured is None:
        return [GAP, GAP]
    low, high = min(measured["values_us"]), max(measured["values_us"])
    return [f"{measured['median_us']:,.0f}", f"{low:,.0f} - {high:,.0f}"]


def _admission(results: Mapping[str, Any]) -> str:
    found: Mapping[str, Mapping[str, float]] = results.get("admission", {})
    waiting = [name for name in found if name.endswith(" waiting")]
    head = ["cost of a request: calls, CPU us", *(f"{int(n.split()[0]):,} queued" for n in waiting)]
    rows = [
        [says, *(_operation(found[name], key) for name in waiting)]
        for key, says in OPERATIONS.items()
    ]
    return table(head, rows)


def _operation(figures: Mapping[str, float], name: str) -> str:
    calls, us = figures.get(f"calls_per_{name}"), figures.get(f"us_per_{name}")
    return f"{GAP if calls is None else round(calls)}, {GAP if us is None else round(us)}"


def _ledger(results: Mapping[str, Any]) -> str:
    head = ["ledger", "attempts/s", "commits/s", "reservation p50, ms", "p99, ms"]
    return table(head, _ledger_rows(results))


def _ledger_rows(results: Mapping[str, Any]) -> Iterator[list[str]]:
    for one in results.get("ledger", ()):
        commits = one["commits_per_second"]
        yield [
            f"in a file, {one['at_once']} at once" if one["ledger"] == "file" else "in memory",
            f"{one['attempts_per_second']:,.0f}",
            GAP if commits is None else f"{commits:,.0f}",
            f"{one['reservation_p50_ms']:.3g}",
            f"{one['reservation_p99_ms']:.3g}",
        ]


def _world(results: Mapping[str, Any]) -> str:
    speeds = results.get("world", {}).get("streams_per_cpu_second", {})
    rows = [[name, f"{speed:,.0f}"] for name, speed in speeds.items()]
    return table(["simulated world, streams of 40 tokens", "streams per CPU second"], rows)
