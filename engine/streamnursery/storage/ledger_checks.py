"""Whether a ledger that is opened can be believed.

A file may be damaged by a crash of the machine, put back from an old copy or changed by hand. Its
own figures are redundant: accounts are sums of lines, lines are sums of rows. Only open windows are
compared: they are what budgets look at, and their rows are never deleted.
"""

import sqlite3
from collections.abc import Mapping

from streamnursery.core.money.ledger import Account
from streamnursery.storage.schema import MONEY_SUMS
from streamnursery.values.money import Money
from streamnursery.values.spending import SCOPES, Figures

_LINES = """
SELECT day, model, tenant, endpoint, attempts, spent, reserved, uncertain FROM lines WHERE day >= ?
"""


class DamagedLedgerError(Exception):
    """The file is a ledger, and its figures contradict each other or cannot be read."""


def check_pages(connection: sqlite3.Connection) -> None:
    """Read the whole file and check its structure, but for indexes against their rows.

    Raises:
        DamagedLedgerError: it is malformed.
    """
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise DamagedLedgerError(str(error)) from error
    if found != "ok":
        raise DamagedLedgerError(str(found))


def check_sums(connection: sqlite3.Connection, month: str) -> None:
    """Compare rows, lines and accounts of the windows from `month` ("2026-11") on.

    Raises:
        DamagedLedgerError: saying which sum is wrong.
    """
    first = f"{month}-01"
    connection.execute("BEGIN")  # all of it as of one moment, whatever other processes write
    try:
        lines = lines_of(connection, first)
        grouped = f"{MONEY_SUMS} WHERE day >= ? GROUP BY day, model, tenant, endpoint"
        rows = _rows_of(connection, grouped, first)
        (kept,) = connection.execute("SELECT max(first_day) FROM kept").fetchone()
        found = accounts_of(connection, month)
    finally:
        connection.execute("COMMIT")
    for key in lines.keys() | rows.keys():
        day, *names = key
        if day >= (kept or "") and lines.get(key) != rows.get(key):
            named = ", ".join(filter(None, names))
            msg = f"the sums of {day} ({named}) are not those of its attempts"
            raise DamagedLedgerError(msg)
    right = accounts_from(lines)
    for account in right.keys() | found.keys():
        told, due = found.get(account, Figures()), right.get(account, Figures())
        if told != due:
            scope, name, window = account
            of = f"{scope} {name}".strip()
            msg = (
                f"the account of {of} in {window} says {Money(told.total)} where its attempts come "
                f"to {Money(due.total)}"
            )
            raise DamagedLedgerError(msg)


def accounts_of(connection: sqlite3.Connection, month: str = "") -> dict[Account, Figures]:
    """The accounts of the windows from `month` on, as the file has them."""
    query = "SELECT scope, name, window, spent, reserved, uncertain FROM accounts WHERE window >= ?"
    found = connection.execute(query, (month,))
    return {(scope, name, window): Figures(*rest) for scope, name, window, *rest in found}


def accounts_from(lines: Mapping[tuple[str, ...], tuple[int, ...]]) -> dict[Account, Figures]:
    """The accounts that lines come to, as `lines_of` gives them."""
    found: dict[Account, Figures] = {}
    for (day, *names), (_, *money) in lines.items():
        figures = Figures(*money)
        for scope, name in zip(SCOPES, ("", *names), strict=True):
            for window in (day, day[:7]):
                account = (scope, name, window)
                found[account] = found.get(account, Figures()) + figures
    return found


def lines_of(
    connection: sqlite3.Connection, first: str = ""
) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Attempts, spent, reserved and uncertain of the lines from day `first` on, by their names."""
    return _rows_of(connection, _LINES, first)


def _rows_of(
    connection: sqlite3.Connection, query: str, first: str
) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {tuple(row[:4]): tuple(row[4:]) for row in connection.execute(query, (first,))}
