"""`streamnursery cost`: what was spent, by whom, and what is left of each budget."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb, suggestion

if TYPE_CHECKING:
    from datetime import tzinfo

    from streamnursery.storage.ledger_reader import LedgerReader

NAMES = ("day", "model", "tenant", "endpoint")

_EXAMPLE = """\
streamnursery cost
streamnursery cost --today --by model,tenant
streamnursery cost --all --by day --csv > spending.csv
streamnursery cost --uncertain
streamnursery cost --resolve 3f9a1c-17=0.02
streamnursery cost --resolve @resolved.txt
streamnursery cost --repair
"""


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "cost",
        run,
        example=_EXAMPLE,
        summary="show what was spent and what the budgets have left",
        then=f"{PROGRAM} cost --by day --all",
    )
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--today", action="store_true", help="spending of today (UTC)")
    window.add_argument("--month", action="store_true", help="spending of this month, the default")
    window.add_argument("--all", action="store_true", help="all recorded spending")
    parser.add_argument(
        "--by",
        type=_names,
        default=("model",),
        metavar="NAMES",
        help="group by day, model, tenant, endpoint; several with commas (default: model)",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one object")
    shape.add_argument("--csv", action="store_true", help="print the sums as CSV")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--uncertain", action="store_true", help="list the attempts whose end was not seen"
    )
    what.add_argument(
        "--resolve",
        action="append",
        default=[],
        metavar="ID=USD",
        help='say what an uncertain attempt has cost: an amount, or "estimate"; may be repeated; '
        "@FILE takes a file with one in each line",
    )
    what.add_argument(
        "--repair",
        action="store_true",
        help="rebuild the sums of a damaged ledger from its attempts; keeps the old file",
    )
    parser.add_argument("--ledger", metavar="FILE", help="ledger file (default: budgets.ledger)")
    add_config(parser)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in NAMES:
            hint = suggestion(name, NAMES)
            msg = f"must be some of {', '.join(NAMES)}" + (f"; {hint}" if hint else "")
            raise argparse.ArgumentTypeError(msg)
    return names


def run(args: argparse.Namespace) -> int:
    """Look into the ledger; nothing is asked over the network."""
    from streamnursery.cli.explain import load
    from streamnursery.facade.assembly import time_zone
    from streamnursery.storage.ledger_reader import open_ledger
    from streamnursery.values.errors import StorageError

    budgets = load(args).config.budgets
    path = args.ledger or budgets.ledger
    if not path:
        why = "budgets.ledger is empty, so every engine forgets what it has spent"
        step = f"set STREAMNURSERY_BUDGETS_LEDGER=FILE, or {PROGRAM} cost --ledger FILE"
        raise CliError("no ledger is kept", why, step)
    zone = time_zone(budgets.timezone)
    if args.repair:
        return _repair(Path(path), zone)
    try:
        with open_ledger(Path(path), budgets, zone) as ledger:
            return _act(args)(args, ledger, zone)
    except StorageError as error:
        raise CliError("the ledger cannot be read", str(error), code=Exit.UNAVAILABLE) from None


def _act(args: argparse.Namespace) -> Callable[..., int]:
    if args.resolve:
        return _resolve
    return _uncertain if args.uncertain else _report


def _report(args: argparse.Namespace, ledger: "LedgerReader", zone: object) -> int:
    from streamnursery.cli import cost_report

    wall = time.time()
    since = cost_report.since(args, wall, zone)
    report = ledger.report(wall, since)
    if args.json:
        data(cost_report.as_json(report, args.by, since))
    elif args.csv:
        data(cost_report.as_csv(report, args.by))
    else:
        data(cost_report.as_text(report, args.by, zone))
        uncertain = report.total.uncertain
        if uncertain:
            note(f"next: {PROGRAM} cost --uncertain")
    return Exit.OK


def _uncertain(args: argparse.Namespace, ledger: "LedgerReader", zone: object) -> int:
    from streamnursery.cli import cost_report

    rows = ledger.uncertain()
    data(cost_report.rows_json(rows) if args.json else cost_report.rows_text(rows, zone))
    if rows and not args.json:
        note(f"next: {PROGRAM} cost --resolve {rows[0].id}=estimate")
    return Exit.OK


def _resolve(args: argparse.Namespace, ledger: "LedgerReader", zone: object) -> int:
    del zone
    from streamnursery.values.money import Money

    texts = [line for text in args.resolve for line in _lines(text)]
    try:
        rows = ledger.resolve(dict(map(_amount, texts)))
    except KeyError as error:
        why = "it is settled already, or was never there; nothing was changed"
        what = f"no uncertain attempt is called {error.args[0]}"
        raise CliError(what, why, f"{PROGRAM} cost --uncertain") from None
    for row in rows:
        data(f"{row.id} has cost {Money(row.billed)}")
    return Exit.OK


def _lines(text: str) -> list[str]:
    """What `--resolve` was given: itself, or the lines of the file it names."""
    if not text.startswith("@"):
        return [text]
    try:
        lines = Path(text[1:]).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError("--resolve cannot read the file", f"{text[1:]}: {error}") from None
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _repair(path: Path, zone: "tzinfo") -> int:
    from streamnursery.cli import cost_report
    from streamnursery.storage.ledger_repair import repair
    from streamnursery.values.errors import StorageError

    try:
        done = repair(path, time.time(), zone)
    except StorageError as error:
        raise CliError("the ledger cannot be repaired", str(error), code=Exit.UNAVAILABLE) from None
    data(cost_report.repair_text(done))
    note(f"next: {PROGRAM} cost")
    return Exit.OK


def _amount(text: str) -> tuple[str, int | None]:
    from streamnursery.values.money import Money

    name, mark, amount = text.rpartition("=")
    name = name.strip()
    if not mark or not name:
        step = f"{PROGRAM} cost --resolve ID=0.02"
        raise CliError("--resolve needs an id and an amount", 'such as "3f9a1c-17=0.02"', step)
    if amount.strip() == "estimate":
        return name, None
    try:
        return name, Money.parse(amount)
    except ValueError as error:
        raise CliError("--resolve cannot read the amount", f"it {error}, or estimate") from None
