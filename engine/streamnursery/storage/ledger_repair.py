"""A damaged ledger made anew: what can be read of its rows, and books that are their sums.

Rows that were deleted with time are in the lines alone, so lines of closed windows are taken over
as they are; those of the windows that are open, and every account, are added up from the rows.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path

import attrs

from streamnursery.core.money.ledger import Account
from streamnursery.core.money.windows import window
from streamnursery.storage.ledger_book import LINE
from streamnursery.storage.ledger_checks import accounts_from, accounts_of, lines_of
from streamnursery.storage.ledger_writer import FAILURES, failure
from streamnursery.storage.owners import lives
from streamnursery.storage.private import companions, make_private
from streamnursery.storage.schema import SUMS, owners_of, prepare, version_of
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures


@attrs.frozen
class Repair:
    """What was done."""

    kept_as: Path
    """The old file; its journals are beside it under the same name."""
    rows: int
    """Attempts that were read."""
    unreadable: bool
    """Parts of the file could not be read: attempts may be missing."""
    changed: dict[Account, tuple[Figures, Figures]]
    """Accounts of open windows that were wrong: what they said, what they are now."""


def repair(path: Path, wall: float, zone: tzinfo) -> Repair:
    """Write the ledger at `path` anew, and keep the old file under another name.

    Raises:
        StorageError: it is not there, it is in use, or nothing of it is a ledger.
    """
    if not path.exists():
        msg = f"there is no ledger at {path}"
        raise StorageError(msg)
    stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
    new, old = (
        path.with_name(f"{path.name}.new-{stamp}"),
        path.with_name(f"{path.name}.old-{stamp}"),
    )
    try:
        make_private(path)
        with closing(_read(path)) as source:
            _refuse_in_use(source, path)
            make_private(new)
            with closing(sqlite3.connect(new, isolation_level=None)) as target:
                prepare(target, partial(lives, ledger=path))
                found = _copy(source, target, old, window("monthly", wall, zone).key)
    except FAILURES as error:
        _remove(new)
        raise failure(str(path), "repaired", error) from error
    except BaseException:
        _remove(new)
        raise
    for companion, kept in zip(companions(path), companions(old), strict=True):
        if companion.exists():
            companion.rename(kept)
    path.rename(old)
    new.rename(path)
    return found


def _read(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _refuse_in_use(source: sqlite3.Connection, path: Path) -> None:
    for owner in owners_of(source):
        if lives(owner, path):
            msg = f"the ledger {path} is in use by process {owner.pid}; end that process first"
            raise StorageError(msg)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, old: Path, month: str) -> Repair:
    rows, whole = _attempts(source)
    first = _first_day(source, month)
    target.execute("BEGIN IMMEDIATE")
    marks = ", ".join("?" * 16)
    target.executemany(f"INSERT INTO attempts VALUES ({marks})", rows)
    # What ran is not known to have ended.
    target.execute("UPDATE attempts SET state = 'uncertain', reserved = 0 WHERE state = 'sending'")
    if first:
        target.execute("UPDATE kept SET first_day = ?", (first,))
        closed, lines_whole = _rows(source, "SELECT * FROM lines WHERE day < ?", first)
        width = ", ".join("?" * (4 + len(LINE)))
        target.executemany(f"INSERT INTO lines VALUES ({width})", closed)
        whole = whole and lines_whole
    grouped = f"{SUMS} WHERE day >= ? GROUP BY day, model, tenant, endpoint"
    target.execute(f"INSERT INTO lines {grouped}", (first,))
    for alert in _rows(source, "SELECT key FROM alerts")[0]:
        target.execute("INSERT INTO alerts VALUES (?) ON CONFLICT DO NOTHING", alert)
    accounts = accounts_from(lines_of(target))
    target.executemany(
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?)",
        [(*account, f.spent, f.reserved, f.uncertain) for account, f in accounts.items()],
    )
    target.execute("COMMIT")
    return Repair(old, len(rows), not whole, _changed(source, accounts, month))


def _first_day(source: sqlite3.Connection, month: str) -> str:
    """The day from which on the lines are added up from the rows."""
    if version_of(source) == 1:
        return ""  # it has no lines, and none of its rows was ever deleted
    kept, _ = _rows(source, "SELECT first_day FROM kept")
    return max([f"{month}-01", *(str(day) for (day,) in kept)])


def _attempts(source: sqlite3.Connection) -> tuple[list[tuple[object, ...]], bool]:
    """Every row that can be read: forward until a page is broken, and backward from the end."""
    rows, whole = _rows(source, "SELECT * FROM attempts ORDER BY id")
    if not whole:
        rows += _rows(source, "SELECT * FROM attempts ORDER BY id DESC")[0]
    return list({row[0]: row for row in rows}.values()), whole


def _rows(
    source: sqlite3.Connection, query: str, *values: object
) -> tuple[list[tuple[object, ...]], bool]:
    """What a query finds until the file breaks; whether it did not."""
    found: list[tuple[object, ...]] = []
    try:
        for row in source.execute(query, values):
            found.append(row)  # noqa: PERF402 - what was read before the file breaks stays
    except sqlite3.DatabaseError:
        return found, False
    return found, True


def _changed(
    source: sqlite3.Connection, now: dict[Account, Figures], month: str
) -> dict[Account, tuple[Figures, Figures]]:
    try:
        before = accounts_of(source, month)
    except sqlite3.DatabaseError:
        before = {}
    open_now = {account: figures for account, figures in now.items() if account[2] >= month}
    return {
        account: (told, due)
        for account in sorted(before.keys() | open_now.keys())
        if (told := before.get(account, Figures())) != (due := open_now.get(account, Figures()))
    }


def _remove(new: Path) -> None:
    for path in (new, *companions(new)):
        path.unlink(missing_ok=True)
