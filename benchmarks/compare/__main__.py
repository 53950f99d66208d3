"""python -m benchmarks.compare: the same work through different clients, in turns.

Needs `benchmarks/compare/setup` to have run; `make bench` does both. Writes the raw results to
benchmarks/results/<date>-<cores>-core.json and the table made from them beside it.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.compare import machine, measure, report
from benchmarks.compare.roster import CLIENTS
from benchmarks.compare.rows import ROWS
from benchmarks.compare.turns import in_turns, place, possible

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
        if not possible(row):
            continue
        row_clients = [CLIENTS[client] for client in row.clients if client in names]
        with place(row) as target:
            results["rows"][name] = in_turns(row, row_clients, target, options.rounds)
        if options.save:
            save(results)  # what there is, should the next row not end
    print(report.markdown(results))


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


if __name__ == "__main__":
    main()
