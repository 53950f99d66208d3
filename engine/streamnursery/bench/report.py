"""What a benchmark found, as JSON with a schema that holds, and as a table for people."""

import platform
from collections import Counter
from typing import Any

import attrs

from streamnursery._version import __version__
from streamnursery.bench.plan import pack_shape
from streamnursery.bench.run_summary import ALL, summary
from streamnursery.bench.samples import FAILED, OK, SLOT
from streamnursery.bench.session import Level, Result
from streamnursery.bench.thresholds import Threshold, shown

SCHEMA = "streamnursery.bench/1"
"""Changes with every change that could break a reader."""


def as_json(result: Result, *, started: str, command: str) -> dict[str, Any]:
    """Every figure; times in seconds, None where nothing was measured."""
    slo = result.options.slo
    targets = dict.fromkeys(level.target for level in result.levels)
    highest = result.highest or {}
    return {
        "schema": SCHEMA,
        "started": started,
        "command": command,
        "version": __version__,
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "options": result.options.packed(),
        "calibration": attrs.asdict(result.calibration) if result.calibration else None,
        "interrupted": result.interrupted,
        "warnings": list(result.warnings),
        "targets": [
            {
                "name": name,
                "levels": [_level(lv, slo) for lv in result.levels if lv.target == name],
                "highest_load": str(highest[name]) if highest.get(name) else None,
            }
            for name in targets
        ],
    }


def _level(level: Level, slo: tuple[Threshold, ...]) -> dict[str, Any]:
    models = dict.fromkeys(name for load_run in level.runs for name in load_run.tallies)
    return {
        "load": str(level.shape),
        "level": level.shape.level,
        "shape": _short(pack_shape(level.shape)),
        "slo": [
            {
                "threshold": threshold.text,
                "measured": value,
                "kept": kept,
                "said": None if value is None else threshold.said(value),
            }
            for threshold, value, kept in level.keeps(slo)
        ],
        "repetitions": [
            {
                "seconds": round(load_run.seconds, 6),
                "cpu_seconds": round(load_run.cpu_seconds, 6),
                "client_lag_p99": load_run.lag_p99,
                "max_lateness": round(load_run.max_lateness, 6),
                "connections_opened": load_run.connections_opened,
                "requests_per_connection": _per(
                    load_run.tallies[ALL].counts["attempts"], load_run.connections_opened
                ),
                "leaks": list(load_run.leaks),
            }
            for load_run in level.runs
        ],
        "over_time": _over_time(level),
        ALL: summary(level.runs),
        "models": {name: summary(level.runs, name) for name in models if name != ALL},
    }


def _over_time(level: Level) -> list[dict[str, float]]:
    """What ended in each slot of the load, on average over the repetitions."""
    whole = {name: Counter[str]() for name in (OK, FAILED, "tokens")}
    for load_run in level.runs:
        for name, slots in load_run.tallies[ALL].ends.items():
            whole[name].update(slots)
    last = max((int(slot) for slots in whole.values() for slot in slots), default=-1)
    share = 1 / (SLOT * len(level.runs))
    return [
        {"at": slot * SLOT, **{name: whole[name][str(slot)] * share for name in whole}}
        for slot in range(last + 1)
    ]


def _short(shape: dict[str, Any]) -> dict[str, Any]:
    if "offsets" in shape:
        shape = {**shape, "offsets": len(shape["offsets"])}
    return shape


def _per(count: int, by: int | None) -> float | None:
    return round(count / by, 3) if by else None


HEAD = (
    "target",
    "load",
    "model",
    "ok",
    "failed",
    "ttft p50",
    "ttft p99",
    "itl p50",
    "itl p99",
    "e2e p50",
    "e2e p99",
    "tok/s",
    "req/s",
    "goodput",
)


def head(report: dict[str, Any]) -> list[str]:
    """Of the final table; with the cost where any is known."""
    return [*HEAD, "cost"] if _priced(report) else list(HEAD)


def _priced(report: dict[str, Any]) -> bool:
    return any(
        level[ALL]["numbers"]["cost"]["value"] is not None
        for target in report["targets"]
        for level in target["levels"]
    )


def rows(report: dict[str, Any]) -> list[list[str]]:
    """What stands below `head`: a row for each level and, of several, each model."""
    found, priced = [], _priced(report)
    for target in report["targets"]:
        for level in target["levels"]:
            models = level["models"] if len(level["models"]) > 1 else {}
            for name, figures in (*models.items(), (ALL, level[ALL])):
                cost = [dollars(figures["numbers"]["cost"]["value"])] if priced else []
                found.append([target["name"], level["load"], name, *_cells(figures), *cost])
    return found


def _cells(figures: dict[str, Any]) -> list[str]:
    times, numbers = figures["times"], figures["numbers"]
    cells = [str(figures["ok"]), str(figures["failed"])]
    for name in ("ttft", "itl_read", "e2e"):
        cells += [shown(times[name]["p50"]), shown(times[name]["p99"])]
    for name in ("tokens_per_second", "rps", "goodput"):
        value = numbers[name]["value"]
        cells.append("-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.2f}")
    return cells


def dollars(value: float | None) -> str:
    """US dollars with what matters of them."""
    if value is None:
        return "-"
    return f"${value:,.2f}" if value >= 100 else f"${value:.3g}"
