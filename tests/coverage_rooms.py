"""Branch coverage per room, from what `coverage json` wrote.

    python -m tests.coverage_rooms build/coverage/report.json

A room is a folder of the package. The last column counts lines and branches together, as coverage
does in its own report. Processes that tests start are measured too, but for those that are killed
(`bench/null_server.py`) and those that get an environment without anything (`testing/clients`).
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import attrs

PACKAGE = "streamnursery"
_COUNTED = ("num_statements", "covered_lines", "num_branches", "covered_branches")


@attrs.define
class Room:
    """What was run of a folder."""

    lines: int = 0
    lines_run: int = 0
    branches: int = 0
    branches_run: int = 0

    def add(self, summary: Mapping[str, Any]) -> None:
        """Count a file, by coverage's summary of it."""
        lines, lines_run, branches, branches_run = (summary[name] for name in _COUNTED)
        self.lines += lines
        self.lines_run += lines_run
        self.branches += branches
        self.branches_run += branches_run

    @property
    def percent(self) -> float:
        all_of_it = self.lines + self.branches
        return 100 * (self.lines_run + self.branches_run) / all_of_it if all_of_it else 100.0


def rooms(report: Mapping[str, Any]) -> dict[str, Room]:
    """By folder below the package, in alphabetical order, and "all" at the end."""
    found: dict[str, Room] = defaultdict(Room)
    whole = Room()
    for file, measured in report["files"].items():
        parts = PurePath(file).parts
        folder = parts[parts.index(PACKAGE) + 1 : -1]
        found["/".join(folder) or "(top)"].add(measured["summary"])
        whole.add(measured["summary"])
    return {**dict(sorted(found.items())), "all": whole}


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Markdown."""
    yield "| room | lines | run | branches | run | per cent |"
    yield "|---|---|---|---|---|---|"
    for name, room in rooms(report).items():
        counts = (room.lines, room.lines_run, room.branches, room.branches_run)
        yield f"| {name} | {' | '.join(map(str, counts))} | {room.percent:.1f} |"


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage_rooms", description=__doc__)
    parser.add_argument("report", type=Path)
    report = json.loads(parser.parse_args().report.read_text())
    print("\n".join(table(report)))


if __name__ == "__main__":
    main()
