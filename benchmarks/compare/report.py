"""What is kept of a run: the raw results, and a Markdown table made from nothing else."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.compare.kinds import Figures, Paced, Row, middle
from benchmarks.compare.rows import ROWS

COLUMNS = (
    ("cpu_us", "CPU, us", "{:.2f}"),
    ("events_per_read", "events per read", "{:.2f}"),
    ("latency_p50_us", "added latency p50, us", "{:.0f}"),
    ("latency_p99_us", "p99, us", "{:.0f}"),
    ("kib_per_stream", "memory, KiB", "{:.1f}"),
    ("cancel_ms", "cancel of all, CPU ms", "{:.0f}"),
    ("open_after_cancel", "still open then", "{:.0f}"),
    ("first_cpu_us", "first, CPU us", "{:.0f}"),
    ("tenth_cpu_us", "tenth, CPU us", "{:.0f}"),
    ("first_ms", "first token of the first, ms", "{:.1f}"),
)
BASE, AGAIN = "engine", "engine again"
RATIOS = ("cpu_us", "kib_per_stream", "cancel_ms", "first_cpu_us")
ONE_EACH = 1.2
"""Events per read up to which tokens count as having come one at a time. A client that cannot keep
up finds several in one read, and so cannot be compared with one that can."""


def raw(results: dict[str, Any]) -> str:
    """JSON with a line for each turn of each client."""
    text = json.dumps(results | {"rows": {}}, indent=1)
    rows = [
        f"  {json.dumps(name)}: {{\n" + ",\n".join(_lines(clients)) + "\n  }"
        for name, clients in results["rows"].items()
    ]
    return text.replace('"rows": {}', '"rows": {\n' + ",\n".join(rows) + "\n }") + "\n"


def _lines(clients: dict[str, Any]) -> list[str]:
    return [
        f"   {json.dumps(name)}: [\n    " + ",\n    ".join(map(json.dumps, turns)) + "\n   ]"
        for name, turns in clients.items()
    ]


def markdown(results: dict[str, Any]) -> str:
    machine, versions = results["machine"], results["versions"]
    lines = [
        f"# Comparison of {results['date']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, load {machine['load_before']:.1f} before; "
        f"commit {results['commit']}; {results['rounds']} interleaved rounds, medians"
        f"{'; real-time scheduling' if results.get('real_time') else ''}. "
        f"{noise(results)}",
        "",
        ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
    ]
    for name, clients in results["rows"].items():
        lines += ["", *table(name, clients)]
    return "\n".join(lines) + "\n"


def medians(clients: dict[str, Any]) -> dict[str, Figures]:
    return {
        name: middle([Figures(**turn["figures"]) for turn in turns if "figures" in turn])
        for name, turns in clients.items()
        if any("figures" in turn for turn in turns)
    }


def table(name: str, clients: dict[str, Any]) -> list[str]:
    row, figures = ROWS[name], medians(clients)
    shown = [c for c in COLUMNS if any(getattr(f, c[0]) is not None for f in figures.values())]
    titles = [title for _, title, _ in shown] + ["times engine"] * (BASE in figures)
    lines = [
        f"## {name}: {row.says}",
        "",
        f"For one more {row.unit}{apart(figures)}:",
        "",
        "| client | " + " | ".join(titles) + " |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for client, turns in clients.items():
        if client in figures:
            cells = [_cell(getattr(figures[client], key), form) for key, _, form in shown]
            cells += [_ratio(row, figures, client)] if BASE in figures else []
        else:
            cells = [f"failed: {turns[-1]['failed'].splitlines()[-1][:100]}"]
        lines.append(f"| {client} | " + " | ".join(cells) + " |")
    return lines


def _ratio(row: Row, figures: dict[str, Figures], client: str) -> str:
    """The row's first figure as a multiple of the engine's, where the two can be compared."""
    base, other = figures[BASE], figures[client]
    if (
        isinstance(row, Paced)
        and max(base.events_per_read or 0, other.events_per_read or 0) > ONE_EACH
    ):
        return "not comparable"
    key = next(key for key in RATIOS if getattr(base, key) is not None)
    return _cell(getattr(other, key) / getattr(base, key), "{:.2f}")


def noise(results: dict[str, Any]) -> str:
    """How far apart the two identical clients were, over all rows."""
    worst = furthest(results)
    if worst is None:
        return "No A/A pair was run."
    return f"Identical clients differed by up to {100 * worst:.0f} %, as stated above each table."


def furthest(results: Mapping[str, Any]) -> float | None:
    """The largest distance between the two identical clients; None where there was no pair."""
    pairs = [distance(medians(clients)) for clients in results.get("rows", {}).values()]
    return max((pair for pair in pairs if pair is not None), default=None)


def apart(figures: dict[str, Figures]) -> str:
    found = distance(figures)
    return "" if found is None else f" (identical clients: {100 * found:.0f} % apart)"


def distance(figures: dict[str, Figures]) -> float | None:
    """How far apart the two identical clients were in this row: differences below say nothing."""
    if BASE not in figures or AGAIN not in figures:
        return None
    pairs = [(getattr(figures[BASE], key), getattr(figures[AGAIN], key)) for key in RATIOS]
    apart = [
        max(pair) / min(pair) - 1 for pair in pairs if all(p is not None and p > 0 for p in pair)
    ]
    return max(apart, default=None)


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return ""
    # Two runs whose starts differ by more than their work does.
    return form.format(value) if value >= 0 else "lost in noise"
