"""python -m benchmarks.targets: what is asked of the request path, measured in one run.

The engine and its peers take turns in the rows of `benchmarks.compare` that the targets need, and
`benchmarks.start_cost` and `benchmarks.views` look at the engine from inside, in as many rounds.
Needs `benchmarks/compare/setup` to have run, and nginx for HTTP/2: without it that row is a gap.
Writes benchmarks/results/targets/<date>-<cores>-core.json and the table made from it; a table of an
older run stands beside the new one with `--before FILE`. Five rounds take about forty minutes.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.compare import machine, measure, report
from benchmarks.compare.roster import CLIENTS
from benchmarks.compare.rows import ROWS
from benchmarks.compare.turns import in_turns, place, possible
from benchmarks.targets.plan import COUNTED, PLAN
from benchmarks.targets.table import markdown

RESULTS = Path(__file__).parents[1] / "results" / "targets"


def main() -> None:
    options = arguments()
    if options.show is not None:
        print(markdown(json.loads(options.show.read_text()), _before(options.before)))
        return
    if options.real_time:
        measure.go_ahead()
    clients = [CLIENTS[name] for name in {name: None for names in PLAN.values() for name in names}]
    results = machine.circumstances(clients, rounds=options.rounds, real_time=options.real_time)
    results["counted"] = {module: looked(module, options.rounds) for module in options.counted}
    for name in options.rows:
        if not possible(ROWS[name]):
            continue
        with place(ROWS[name]) as target:
            row_clients = [CLIENTS[client] for client in PLAN[name]]
            results["rows"][name] = in_turns(ROWS[name], row_clients, target, options.rounds)
        if options.save:
            save(results)  # what there is, should the next row not end
    print(markdown(results, _before(options.before)))


def _before(file: Path | None) -> dict[str, Any] | None:
    return None if file is None else json.loads(file.read_text())


def looked(module: str, rounds: int) -> list[dict[str, list[float]]]:
    """What a module says of the engine, in a process on the clients' core, for each round."""
    print(f"benchmarks.{module}", file=sys.stderr)
    command = [*measure.pinned(1), sys.executable, "-m", f"benchmarks.{module}", "--json"]
    return [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for _ in range(rounds)
    ]


def save(results: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = f"{results['date']}-{machine.cores()}-core"
    (RESULTS / f"{stem}.json").write_text(report.raw(results))
    (RESULTS / f"{stem}.md").write_text(f"# Targets, {results['date']}\n\n{markdown(results)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each client in each row")
    parser.add_argument(
        "--rows",
        nargs="*",
        choices=list(PLAN),
        default=list(PLAN),
        metavar="ROW",
        help="only these",
    )
    parser.add_argument(
        "--counted",
        nargs="*",
        choices=COUNTED,
        default=COUNTED,
        metavar="MODULE",
        help="only these",
    )
    parser.add_argument("--before", type=Path, metavar="FILE", help="raw results to stand beside")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing, show these")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="ahead of everything else on these cores, for machines that are not idle; as root",
    )
    parser.add_argument("--no-save", dest="save", action="store_false", help="print only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
