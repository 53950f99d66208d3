"""What the demo says when it is over."""

import json
import sys
from collections import Counter
from typing import Any

from streamnursery.cli.console import (
    can_redraw,
    data,
    note,
    printable,
    terminal_width,
    wrapped,
    writing,
)
from streamnursery.cli.demo_load import Load
from streamnursery.cli.demo_plan import CHAOS_IN_WORDS
from streamnursery.cli.demo_table import ALL, CAPTION, FINAL, Row, cell, columns, plain_table, rows
from streamnursery.core.measure.histogram import Histogram
from streamnursery.values.statistics import Quantiles


def report(load: Load, *, as_json: bool, interrupted: bool, then: str) -> None:
    """Figures on stdout, the next command on stderr."""
    if as_json:
        data(json.dumps(figures(load)))
        return
    if can_redraw(sys.stdout) and _drawn(load):
        data("")
    else:
        data(plain_table(load, terminal_width()))
        data("")
    data("\n".join(wrapped(line) for line in summary(load, interrupted=interrupted)))
    note(f"next: {then}")


def _drawn(load: Load) -> bool:
    """The table in colour; False where rich is not installed."""
    try:
        from rich.console import Console
    except ImportError:
        return False
    from streamnursery.cli.demo_screen import ROOMY, rich_table

    console = Console(file=sys.stdout)
    shown = columns(FINAL, console.width)
    table = rich_table(shown, roomy=console.width >= ROOMY)
    for row in rows(load):
        cells = [cell(row, column.key) for column in shown]
        table.add_row(*cells, style="bold" if row.name == ALL else "")
    with writing():
        console.print(table)
    return True


def summary(load: Load, *, interrupted: bool) -> list[str]:
    """What became of the requests, in sentences."""
    whole = sum(load.finished.values())
    same = whole - load.different
    lines = [CAPTION]
    if load.plan.chaos:
        lines.append(f"The provider misbehaved on purpose: {CHAOS_IN_WORDS}.")
    rest = f"{load.plan.streams - load.done} were not finished" if interrupted else ""
    kinds = ", ".join(f"{name} {count}" for name, count in _categories(load).most_common())
    lost = f"{len(load.errors)} failed: {kinds}" if load.errors else "none failed"
    pace = f" ({load.plan.pace})" if load.plan.pace else ""
    lines.append(
        f"{whole} of {load.plan.streams} answers complete in {load.seconds:.1f} s{pace}; "
        + ", ".join(filter(None, [lost, rest]))
        + "."
    )
    if whole:
        lines.append(f"{same} of them match the text that the provider sent, byte for byte.")
    if load.errors:
        request, error = load.errors[0]
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        lines.append(f"The first that failed ({request.model}): {printable(str(error))}{notes}")
    return lines


def _categories(load: Load) -> Counter[str]:
    return Counter(error.category for _, error in load.errors)


def figures(load: Load) -> dict[str, Any]:
    """Everything as plain JSON values; durations in seconds."""
    return {
        "streams": load.plan.streams,
        "done": sum(load.finished.values()),
        "failed": len(load.errors),
        "errors": dict(_categories(load)),
        "unfinished": load.plan.streams - load.done,
        "different": load.different,
        "seconds": round(load.seconds, 3),
        "speed": load.plan.speed,
        "seed": load.plan.seed,
        "chaos": load.plan.chaos,
        "models": {row.name: _row(row) for row in rows(load)},
    }


def _row(row: Row) -> dict[str, Any]:
    own = row.statistics
    return {
        "max_streams": own.max_streams,
        "peak_streams": own.peak_active,
        "done": row.done,
        "failed": row.failed,
        "retries": own.retries,
        "fallbacks": own.reroutes,
        "queue_time": _quantiles(own.queue_time),
        "time_to_first_token": _quantiles(own.ttft),
        "provider_time_to_first_token": _of_histogram(row.first_token),
        "output_tokens": own.output_tokens,
        "tokens_per_second": round(row.tokens_per_second, 1),
    }


def _quantiles(found: Quantiles) -> dict[str, float | None]:
    return {"p50": _rounded(found.p50), "p99": _rounded(found.p99)}


def _of_histogram(found: Histogram) -> dict[str, float | None]:
    return {"p50": _rounded(found.quantile(0.5)), "p99": _rounded(found.quantile(0.99))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
