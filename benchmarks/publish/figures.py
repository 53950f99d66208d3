"""The figures of raw results, wherever they are there; what is missing is None, never an error."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

GAP = "-"
SAME = {"engine": ("engine", "engine again")}
"""Clients that are one and the same: the turns of both count."""


def newest(folder: Path) -> dict[str, Any]:
    """The last run whose results lie in the folder; nothing where there is none."""
    files = sorted(folder.glob("*-core.json"))
    return json.loads(files[-1].read_text()) if files else {}


class Figures:
    """Medians over the turns of each client in each row."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results
        self._rows: Mapping[str, Any] = results.get("rows", {})

    def of(self, row: str, client: str, key: str) -> float | None:
        """None: not measured, failed, or it does not apply."""
        known = self.turns(row, client, key)
        return median(known) if known else None

    def turns(self, row: str, client: str, key: str) -> list[float]:
        """The figure of each turn that has it."""
        turns = [
            turn["figures"].get(key)
            for name in SAME.get(client, (client,))
            for turn in self._rows.get(row, {}).get(name, ())
            if "figures" in turn
        ]
        return [value for value in turns if value is not None]

    def ratio(self, row: str, key: str, client: str, to: str) -> float | None:
        """How many times `to` it is; None where either is missing or was lost in noise."""
        return divided(self.of(row, client, key), self.of(row, to, key))

    def origin(self) -> str:
        """On what, with what and when; empty without results."""
        if not self.results:
            return "Nothing was measured yet.\n"
        machine, versions = self.results["machine"], self.results["versions"]
        rounds = self.results.get("rounds")
        how = f"{rounds} interleaved rounds, " if rounds else ""
        ahead = ", real-time scheduling" * bool(self.results.get("real_time"))
        load = f"load {machine['load_before']:.1f} before{ahead}"
        used = ", ".join(f"{name} {version}" for name, version in versions.items())
        text = (
            f"{self.results['date']}, {machine['cpu']}, {machine['cores']} cores, "
            f"{machine['system']}, {load}; commit {self.results['commit']}; {how}{used}."
        )
        return fill(text, 100, break_on_hyphens=False) + "\n"


def divided(above: float | None, below: float | None) -> float | None:
    if above is None or below is None or above <= 0 or below <= 0:
        return None
    return above / below


def cell(value: float | None, form: str = "{:.3g}") -> str:
    """A gap where there is no figure; a difference below nothing says nothing."""
    if value is None:
        return GAP
    return form.format(value) if value > 0 else "lost in noise"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
