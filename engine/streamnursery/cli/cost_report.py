"""A report on spending as text, JSON and CSV."""

import argparse
import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from streamnursery.cli.tables import fitted
from streamnursery.core.money.windows import reset_text, window
from streamnursery.storage.ledger_repair import Repair
from streamnursery.values.money import Money, dollars
from streamnursery.values.spending import BudgetStanding, LedgerRow, SpendingLine, SpendingReport

_MONEY = ("spent", "reserved", "uncertain")
_COUNTS = (
    *("attempts", "settled", "input_tokens", "output_tokens"),
    *("estimated", "rejected", "overrun", "unpriced"),
)


def since(args: argparse.Namespace, wall: float, zone: Any) -> str:
    """The first day that is asked for; empty for all."""
    if args.all:
        return ""
    key = window("daily" if args.today else "monthly", wall, zone).key
    return key if args.today else f"{key}-01"


def as_text(report: SpendingReport, by: Sequence[str], zone: Any) -> str:
    """The sums, and under them where the budgets stand."""
    head = [*by, "attempts", "spent", "reserved", "uncertain", "input", "output", "note"]
    lines = [_cells(line, by) for line in report.by(*by)]
    total = _cells(report.total, by)
    total[0] = "total"
    right = range(len(by), len(head) - 1)
    sums = fitted([head, *lines, total], right=right)
    head = ["budget", "window", "limit", *_MONEY, "used", "forecast", "reset"]
    standings = [_standing(standing, zone) for standing in report.budgets]
    return f"{sums}\n\n{fitted([head, *standings], right=range(2, 8))}"


def _cells(line: SpendingLine, by: Sequence[str]) -> list[str]:
    notes = [f"{getattr(line, n)} {n}" for n in _COUNTS[4:] if getattr(line, n)]
    return [
        *(getattr(line, name) or "-" for name in by),
        str(line.attempts),
        *(_short(getattr(line, name)) for name in _MONEY),
        str(line.input_tokens),
        str(line.output_tokens),
        ", ".join(notes),
    ]


def _standing(standing: BudgetStanding, zone: Any) -> list[str]:
    whose = "everything" if standing.scope == "all" else f"{standing.scope} {standing.name}"
    percent = standing.percent
    return [
        f"{whose}, {standing.span}",
        standing.window,
        "none" if standing.limit is None else _short(standing.limit),
        *(_short(getattr(standing, name)) for name in _MONEY),
        "" if percent is None else f"{percent:.1f} %",
        "" if standing.forecast is None else _short(standing.forecast),
        reset_text(standing.resets_at, zone),
    ]


def _short(nanos: int) -> str:
    """To six digits after the point: a table is read, a file is added up."""
    whole, rest = divmod((nanos + 500) // 1000, 10**6)
    return f"{whole}.{rest:06d}"


def as_json(report: SpendingReport, by: Sequence[str], since_day: str) -> str:
    """One object; money is exact decimal text."""
    return json.dumps({
        "at": report.at,
        "since": since_day or None,
        "currency": "USD",
        "lines": [_line(line, by) for line in report.by(*by)],
        "total": _line(report.total, ()),
        "budgets": [_standing_json(standing) for standing in report.budgets],
    })


def _line(line: SpendingLine, by: Sequence[str]) -> dict[str, Any]:
    names = {name: getattr(line, name) for name in by}
    money = {name: dollars(getattr(line, name)) for name in _MONEY}
    return {**names, **money, **{name: getattr(line, name) for name in _COUNTS}}


def _standing_json(standing: BudgetStanding) -> dict[str, Any]:
    exact = {name: getattr(standing, name) for name in ("limit", *_MONEY, "forecast")}
    return {
        "scope": standing.scope,
        "name": standing.name,
        "span": standing.span,
        "window": standing.window,
        **{name: None if nanos is None else dollars(nanos) for name, nanos in exact.items()},
        "percent": standing.percent,
        "resets_at": standing.resets_at,
    }


def as_csv(report: SpendingReport, by: Sequence[str]) -> str:
    """A line for each sum, exact."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*by, *_MONEY, *_COUNTS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_line(line, by) for line in report.by(*by))
    return text.getvalue().rstrip("\n")


def repair_text(done: Repair) -> str:
    """What a repair has found and changed."""
    lines = [f"{done.rows} attempts were read; the old file is {done.kept_as}"]
    if done.unreadable:
        lines.append("parts of the old file cannot be read: attempts may be missing")
    for (scope, name, key), (before, after) in done.changed.items():
        of = f"{scope} {name}".strip()
        lines.append(f"{of}, {key}: was {before.text()}; is {after.text()}")
    if not done.changed:
        lines.append("no account of an open window has changed")
    return "\n".join(lines)


def rows_text(rows: Sequence[LedgerRow], zone: Any) -> str:
    """Uncertain attempts, one a line."""
    if not rows:
        return "no attempt is uncertain"
    head = ["id", "reserved at", "model", "tenant", "endpoint", "estimate"]
    cells = [
        [
            row.id,
            reset_text(row.at, zone),
            row.payer.model,
            row.payer.tenant or "-",
            row.payer.endpoint,
            str(Money(row.estimate)),
        ]
        for row in rows
    ]
    return fitted([head, *cells], right=(5,))


def rows_json(rows: Sequence[LedgerRow]) -> str:
    """Uncertain attempts as one object."""
    found = [
        {
            "id": row.id,
            "at": row.at,
            "request": row.request,
            "attempt": row.attempt,
            "model": row.payer.model,
            "tenant": row.payer.tenant,
            "endpoint": row.payer.endpoint,
            "estimate": dollars(row.estimate),
        }
        for row in rows
    ]
    return json.dumps({"uncertain": found})
