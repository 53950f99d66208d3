"""python -m benchmarks.compare: the same work through different clients, in turns.

Needs `benchmarks/compare/setup` to have run; `make bench` does both. Writes the raw results to
benchmarks/results/<date>-<cores>-core.json and the table made from them beside it.
"""

import argparse
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.compare import machine, measure, report
from benchmarks.compare.http2 import front
from benchmarks.compare.kinds import Row
from benchmarks.compare.measure import ClientFailedError, Server, server
from benchmarks.compare.roster import CLIENTS, Client
from benchmarks.compare.rows import ROWS

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    options = arguments()
    if options.real_time:
        measure.go_ahead()
    names = [name for name in CLIENTS if not options.clients or name in options.clients]
    clients = [CLIENTS[name] for name in names]
    results = machine.circumstances(clients, rounds=options.rounds, real_time=options.real_time)
    for name in options.rows or ROWS:
        row = ROWS[name]
        row_clients = [CLIENTS[client] for client in row.clients if client in names]
        with place(row) as target:
            results["rows"][name] = in_turns(row, row_clients, target, options.rounds)
        if options.save:
            save(results)  # what there is, should the next row not end
    print(report.markdown(results))


def place(row: Row) -> AbstractContextManager[Server]:
    """Where a row's requests go."""
    return front() if row.http == "2" else server(secure=row.secure)


def save(results: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    stem = f"{results['date']}-{machine.cores()}-core"
    (RESULTS / f"{stem}.json").write_text(report.raw(results))
    (RESULTS / f"{stem}.md").write_text(report.markdown(results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each client in each row")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help="only these")
    parser.add_argument(
        "--clients", nargs="+", choices=list(CLIENTS), metavar="CLIENT", help="only these"
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="ahead of everything else on these cores, for machines that are not idle; as root",
    )
    parser.add_argument("--no-save", dest="save", action="store_false", help="print only")
    return parser.parse_args()


def in_turns(
    row: Row, clients: list[Client], target: Server, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Every client once, then every client again: what slows the machine down slows all."""
    turns: dict[str, list[dict[str, Any]]] = {client.name: [] for client in clients}
    for number in range(rounds):
        for client in clients:
            print(f"{row.name}, turn {number + 1}: {client.name}", file=sys.stderr)
            turns[client.name].append(turn(row, client, target))
    return turns


def turn(row: Row, client: Client, target: Server) -> dict[str, Any]:
    try:
        figures, samples = row.measure(client, target)
    except ClientFailedError as failure:
        print(f"  {failure}", file=sys.stderr)
        return {"failed": str(failure)}
    return {"figures": attrs.asdict(figures)} | {
        name: attrs.asdict(sample) for name, sample in samples.items()
    }


if __name__ == "__main__":
    main()
