"""python -m benchmarks.parts: the parts that have benchmarks of their own, recorded together.

`benchmarks.micro` (pyperf), the wait for a slot, the ledger on this disk and the simulated world.
Writes benchmarks/results/parts/<date>-<cores>-core.json, from which `python -m benchmarks.publish`
makes the tables. Takes about six minutes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pyperf

from benchmarks.compare import machine
from benchmarks.compare.roster import CLIENTS

RESULTS = Path(__file__).parent / "results" / "parts"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("--no-save", dest="save", action="store_false", help="print only")
    options = parser.parse_args()
    results: dict[str, Any] = {
        "date": date.today().isoformat(),
        "commit": machine.commit(),
        "machine": machine.facts(),
        "versions": machine.versions([CLIENTS["engine"]]),
        "micro": micro(),
        "admission": said("admission", "--json", "--time"),
        "world": said("world_speed", "--json"),
        "ledger": said("ledger", "--json"),
    }
    text = json.dumps(results, indent=1) + "\n"
    print(text, end="")
    if options.save:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{results['date']}-{machine.cores()}-core.json"
        path.write_text(text)


def micro() -> dict[str, dict[str, Any]]:
    """Microseconds of each part, with how far its values are apart."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "micro.json"))
        run("micro", "--quiet", "--processes", "5", "--values", "3", "-o", file)
        suite = pyperf.BenchmarkSuite.load(file)
    return {
        bench.get_name(): {
            "median_us": round(1e6 * bench.median(), 2),
            "values_us": [round(1e6 * value, 2) for value in bench.get_values()],
        }
        for bench in suite.get_benchmarks()
    }


def said(module: str, *options: str) -> Any:
    return json.loads(run(module, *options))


def run(module: str, *options: str) -> str:
    print(f"benchmarks.{module}", file=sys.stderr)
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
