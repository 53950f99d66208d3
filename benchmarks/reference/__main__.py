"""python -m benchmarks.reference: the figures quoted for a Node implementation of this design.

Measures each with a plain Node client and with this engine, in turns, against the same servers.
Needs `benchmarks/compare/setup` to have run. Writes the raw results to
benchmarks/results/reference/; `python -m benchmarks.publish` makes the table from them.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.compare import machine, measure, report
from benchmarks.compare.roster import CLIENTS
from benchmarks.reference.rows import BOTH, ROWS, measured

RESULTS = Path(__file__).parents[1] / "results" / "reference"


def main() -> None:
    options = arguments()
    if options.real_time:
        measure.go_ahead()
    both = [CLIENTS[name] for name in BOTH]
    results = machine.circumstances(both, rounds=options.rounds, real_time=options.real_time)
    for name in options.rows or ROWS:
        results["rows"][name] = in_turns(name, options.rounds)
        if options.save:
            save(results)
    for name, clients in results["rows"].items():
        for client, turns in clients.items():
            print(name, client, *(turn.get("figures", turn) for turn in turns), sep="\n  ")


def in_turns(name: str, rounds: int) -> dict[str, list[dict[str, Any]]]:
    turns: dict[str, list[dict[str, Any]]] = {client: [] for client in BOTH}
    for number in range(rounds):
        for client in BOTH:
            print(f"{name}, turn {number + 1}: {client}", file=sys.stderr)
            turns[client].append(measured(name, client, number))
    return turns


def save(results: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{results['date']}-{machine.cores()}-core.json"
    path.write_text(report.raw(results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each client in each row")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help="only these")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="ahead of everything else on these cores, for machines that are not idle; as root",
    )
    parser.add_argument("--no-save", dest="save", action="store_false", help="print only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
