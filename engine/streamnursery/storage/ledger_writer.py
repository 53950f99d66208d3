"""What is done to a ledger's file; everything here runs in the disk's thread.

Rule 1: a transaction that fails before its COMMIT has left nothing. One whose COMMIT fails may be
        in the file for all that: its reservations are in doubt, and the next opening of the
        file says which of them are there. No further COMMIT comes before that.
Rule 2: the lock of another process is waited for by the caller, who can be cancelled.
"""

import sqlite3
from collections.abc import Sequence

import attrs

from streamnursery.core.money.ledger import Account, BudgetLimits, Ledger
from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.storage.disk import Disk
from streamnursery.storage.ledger_book import Book
from streamnursery.storage.ledger_checks import DamagedLedgerError, check_pages, check_sums
from streamnursery.storage.ledger_job import LedgerJob
from streamnursery.storage.ledger_upkeep import Upkeep
from streamnursery.storage.owners import Owner
from streamnursery.storage.schema import ForeignFileError, prepare
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures

FAILURES = (sqlite3.Error, OSError, ForeignFileError, DamagedLedgerError)
"""What the file of a ledger can raise."""
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class LedgerWriter:
    """The connection to a ledger's file."""

    def __init__(self, path: str, disk: Disk, me: Owner, ledger: Ledger) -> None:
        self.path = path
        self.commits = 0
        """Transactions that were written."""
        self.doubtful: list[str] = []
        """Rows that were refused although the file may have them."""
        self.reached = False
        """Whether the last transaction failed at its COMMIT or behind it."""
        self._disk = disk
        self._me = me
        self._limits: BudgetLimits = ledger.limits
        self._zone = ledger.zone
        self._connection: sqlite3.Connection | None = None
        self._checked = False

    def commit(
        self, batch: Sequence[LedgerJob], accounts: set[Account], wall: float, today: str
    ) -> dict[Account, Figures]:
        """Write a batch in one transaction; the figures of `accounts` after it."""
        self.reached = False
        connection = self._connection or self._connect(wall, today)
        book = self._book(connection)
        writes = any(job.writes for job in batch) or bool(self.doubtful)
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        if writes and not book.knows(self._me.id):
            book.enter(attrs.evolve(self._me, seen=wall))
        for name in self.doubtful:
            book.post(Posting(name, News.RELEASE))
        for job in batch:
            self._apply(book, job, wall)
        book.save()
        fresh = {account: book.figures(account) for account in accounts}
        self.reached = writes
        connection.execute("COMMIT")
        self.reached = False
        self.commits += writes
        self.doubtful.clear()
        return fresh

    def _apply(self, book: Book, job: LedgerJob, wall: float) -> None:
        if job.beat:
            book.enter(attrs.evolve(self._me, seen=wall))
            book.bury(self._disk.lives, but=self._me.id)
        elif job.posting is not None:
            job.short = book.post(job.posting)
        elif job.row is not None:
            job.short = book.reserve(job.row, self._me.id)
        elif job.alert:
            job.first = book.claim(job.alert)

    def keep(self, upkeep: Upkeep) -> bool:
        """One step of upkeep; whether there is more to do."""
        connection = self._connection
        return connection is not None and upkeep.step(connection, self._book(connection))

    def farewell(self) -> None:
        """Leave the file, and close it."""
        connection = self._connection
        if connection is None:
            return
        book = self._book(connection)
        connection.execute("BEGIN IMMEDIATE")
        for name in self.doubtful:
            book.post(Posting(name, News.RELEASE))
        book.leave(self._me.id)
        book.save()
        connection.execute("COMMIT")
        self.disconnect()

    def disconnect(self) -> None:
        """Close the file; a transaction that was begun is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self, wall: float, today: str) -> sqlite3.Connection:
        connection = self._disk.connect(self.path)
        try:
            prepare(connection, self._disk.lives)
            book = self._book(connection)
            if not self._checked:
                if book.dead(self._disk.lives, but=self._me.id):
                    check_pages(connection)  # a machine that crashed took its processes with it
                check_sums(connection, today[:7])
                self._checked = True
            connection.execute("BEGIN IMMEDIATE")
            book.enter(attrs.evolve(self._me, seen=wall))
            book.bury(self._disk.lives, but=self._me.id)
            self.doubtful = [name for name in self.doubtful if book.row(name) is not None]
            book.save()
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _book(self, connection: sqlite3.Connection) -> Book:
        return Book(connection, self._limits, self._zone)


def locked(error: Exception) -> bool:
    """Whether another process holds the lock of the file."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _LOCKED


def failure(path: str, what: str, error: Exception) -> StorageError:
    """The error that a caller gets."""
    code = getattr(error, "sqlite_errorcode", None)
    if locked(error):
        why = "another process holds its lock (a backup, a shell of sqlite3, a stopped process)"
        remedy = "end that process"
    elif isinstance(error, DamagedLedgerError) or (code is not None and code & 0xFF in _DAMAGED):
        why = f"it is damaged: {error}"
        remedy = "end every process that uses it, then run: streamnursery cost --repair"
    else:
        why, remedy = str(error), "free the disk or mend the file"
    return StorageError(
        f"the ledger {path} could not be {what}: {why}. Nothing is sent without it: "
        f'{remedy}, or keep no ledger with budgets.ledger = ""'
    )
