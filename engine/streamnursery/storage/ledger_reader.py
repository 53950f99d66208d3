"""Reading and repairing a ledger from outside of an engine, while engines may be using it."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import tzinfo
from functools import partial
from pathlib import Path

import attrs

from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.storage.disk import empty_ledger
from streamnursery.storage.ledger_book import LINE, Book
from streamnursery.storage.ledger_checks import accounts_of
from streamnursery.storage.ledger_writer import FAILURES, failure
from streamnursery.storage.owners import lives
from streamnursery.storage.private import make_private
from streamnursery.storage.schema import prepare
from streamnursery.values.budgets import Budgets
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import LedgerRow, RowState, SpendingLine, SpendingReport

_BUSY_SECONDS = 5.0
"""How long a look or a change waits for the lock of another process."""
_LINES = f"""
SELECT day, model, tenant, endpoint, {", ".join(LINE)} FROM lines WHERE day >= ?
ORDER BY day, model, tenant, endpoint
"""


@attrs.frozen
class LedgerReader:
    """A ledger that is open for one look or one change."""

    _path: Path
    _connection: sqlite3.Connection
    _budgets: Budgets
    _zone: tzinfo

    def report(self, wall: float, since: str = "") -> SpendingReport:
        """What all engines have spent from day `since` on, and where the budgets stand."""
        self._bury()
        lines = [SpendingLine(*values) for values in self._connection.execute(_LINES, (since,))]
        ledger = Ledger(self._budgets, self._zone)
        ledger.figures.update(accounts_of(self._connection))
        book = self._book()
        for limit, now in ledger.current(ledger.limits.all, wall):
            account = limit.account(now.key)
            ledger.figures[account] = book.figures(account)
        return SpendingReport(wall, tuple(lines), ledger.standings(wall))

    def uncertain(self) -> list[LedgerRow]:
        """Attempts whose end was not seen, the oldest first."""
        self._bury()
        return self._book().rows(RowState.UNCERTAIN)

    def resolve(self, costs: Mapping[str, int | None]) -> list[LedgerRow]:
        """Say what uncertain attempts have cost, by their ids; None: what was estimated. Either all
        are changed or none. Returns the rows as they are then.

        Raises:
            KeyError: no uncertain attempt has this id.
        """
        self._bury()
        with self._transaction() as book:
            for name, nanos in costs.items():
                found = book.row(name)
                if found is None or found.state is not RowState.UNCERTAIN:
                    raise KeyError(name)
                book.post(Posting(name, News.SETTLE, found.estimate if nanos is None else nanos))
            return [row for name in costs if (row := book.row(name)) is not None]

    def _bury(self) -> None:
        with self._transaction() as book:
            book.bury(partial(lives, ledger=self._path), but="")

    def _book(self) -> Book:
        return Book(self._connection, Ledger(self._budgets, self._zone).limits, self._zone)

    @contextmanager
    def _transaction(self) -> Iterator[Book]:
        book = self._book()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield book
            book.save()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


@contextmanager
def open_ledger(path: Path, budgets: Budgets, zone: tzinfo) -> Iterator[LedgerReader]:
    """The ledger at `path`, which must be there.

    Raises:
        StorageError: it is not there, or cannot be used.
    """
    if not path.exists():
        msg = f"there is no ledger at {path}: nothing was spent yet, or budgets.ledger is another"
        raise StorageError(msg)
    connection: sqlite3.Connection | None = None
    try:
        if make_private(path):
            raise StorageError(empty_ledger(path))
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        prepare(connection, partial(lives, ledger=path))
        yield LedgerReader(path, connection, budgets, zone)
    except FAILURES as error:
        raise failure(str(path), "read", error) from error
    finally:
        if connection is not None:
            connection.close()
