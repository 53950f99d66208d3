"""Reading and mending a ledger from outside of an engine, while engines may be using it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path

import attrs

from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.storage.disk import BUSY_SECONDS
from streamnursery.storage.ledger_book import Book
from streamnursery.storage.owners import lives
from streamnursery.storage.private import make_private
from streamnursery.storage.schema import ForeignFileError, prepare
from streamnursery.values.budgets import Budgets
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures, LedgerRow, RowState, SpendingLine, SpendingReport

_LINES = """
SELECT day, model, tenant, endpoint, count(*), sum(state = 'settled'), sum(billed), sum(reserved),
    sum(CASE state WHEN 'uncertain' THEN estimate ELSE 0 END), sum(input_tokens),
    sum(output_tokens), sum(flags LIKE '%estimated%'), sum(flags LIKE '%rejected%'),
    sum(flags LIKE '%overrun%'), sum(flags LIKE '%unpriced%')
FROM attempts WHERE day >= ? GROUP BY day, model, tenant, endpoint
ORDER BY day, model, tenant, endpoint
"""


@attrs.frozen
class LedgerReader:
    """A ledger that is open for one look or one change."""

    _connection: sqlite3.Connection
    _budgets: Budgets
    _zone: tzinfo

    def report(self, wall: float, since: str = "") -> SpendingReport:
        """What all engines have spent from day `since` on, and where the budgets stand."""
        self._bury()
        lines = [SpendingLine(*values) for values in self._connection.execute(_LINES, (since,))]
        ledger = Ledger(self._budgets, self._zone)
        query = "SELECT scope, name, window, spent, reserved, uncertain FROM accounts"
        for scope, name, window, *figures in self._connection.execute(query):
            ledger.figures[scope, name, window] = Figures(*figures)
        return SpendingReport(wall, tuple(lines), ledger.standings(wall))

    def uncertain(self) -> list[LedgerRow]:
        """Attempts whose end nobody saw, the oldest first."""
        self._bury()
        return self._book().rows(RowState.UNCERTAIN)

    def resolve(self, row: str, nanos: int | None) -> LedgerRow | None:
        """Say what an uncertain attempt has cost; None: what was estimated. The row as it is then;
        None where no uncertain one has this id."""
        self._bury()
        with self._transaction() as book:
            found = book.row(row)
            if found is None or found.state is not RowState.UNCERTAIN:
                return None
            book.post(Posting(row, News.SETTLE, found.estimate if nanos is None else nanos))
            return book.row(row)

    def _bury(self) -> None:
        with self._transaction() as book:
            book.bury(lives, but="")

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
        make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        prepare(connection)
        yield LedgerReader(connection, budgets, zone)
    except (sqlite3.Error, OSError, ForeignFileError) as error:
        msg = f"the ledger {path} cannot be used: {error}"
        raise StorageError(msg) from error
    finally:
        if connection is not None:
            connection.close()
