"""The ledger in a file that several processes share. One task writes; the others leave entries.

Rule 1: entries are written in the order in which they were left, all that are there in one
        transaction: one wait for the disk serves everybody who waits.
Rule 2: a reservation counts once its transaction is committed, and is checked in it against what
        every process has spent and reserved.
Rule 3: news of a row is booked in memory at once and written as soon as the disk is free. Until
        then it is on the queue, and the figures in memory are those of the file and the queue.
Rule 4: after anything has failed the connection is closed, and nothing is admitted before the file
        was opened anew and what is uncertain in it settled. News is kept and written again: it says
        how a row ended, and saying it twice changes nothing.
Rule 5: a process that was forked has no ledger: two would write under one name.
"""

import os
import sqlite3
from collections.abc import Callable
from functools import partial

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.money.ledger import Account, Ledger, Shortfall
from streamnursery.core.money.ledger_row import News, Posting, change, posted
from streamnursery.storage.disk import Disk
from streamnursery.storage.ledger_book import Book
from streamnursery.storage.schema import ForeignFileError, prepare
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures, LedgerRow

_FAILURES = (sqlite3.Error, OSError, ForeignFileError)
_RETRY_AFTER = (1.0, 30.0)
"""Seconds before news that could not be written is tried again, at first and at most."""


@attrs.define(eq=False)
class LedgerJob:
    """What somebody wants written or read."""

    row: LedgerRow | None = None
    """As it is after the entry; a reservation where there is no posting."""
    change: Figures | None = None
    """Booked in memory, and in no transaction yet."""
    posting: Posting | None = None
    alert: str = ""
    tell: Callable[[], None] | None = None
    done: trio.Event | None = None
    """Set when somebody waits for it and it is written."""
    short: Shortfall | None = None
    first: bool = False
    error: StorageError | None = None
    left: bool = False
    """Whoever waited for it was cancelled."""


class LedgerFile:
    """Implements `scheduler.ledger_store.LedgerStore`: `open`, `run` in a task, then `close`."""

    shared = True

    def __init__(
        self,
        path: str,
        disk: Disk,
        ledger: Ledger,
        *,
        wall: Callable[[], float],
    ) -> None:
        self.path = path
        self._me = disk.owner()
        self.owner = f"{self._me.id}-"
        self.commits = 0
        """Transactions that were written."""
        self._disk = disk
        self._ledger = ledger
        self._wall = wall
        self.extension_refused: Callable[[str, int, Shortfall], None] | None = None
        """Called with a row and an amount that it was not extended by."""
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._queue: list[LedgerJob] = []
        self._batch: list[LedgerJob] = []
        """At the disk."""
        self._news = trio.Event()
        self._closing = False
        self._running = False
        self._retry_after = _RETRY_AFTER[0]

    @property
    def pending(self) -> int:
        return sum(entry.posting is not None for entry in (*self._batch, *self._queue))

    # What the scheduler asks for. ------------------------------------------------------------

    async def reserve(self, row: LedgerRow) -> Shortfall | None:
        entry = LedgerJob(row)
        await self._written(entry)
        return entry.short

    async def refresh(self) -> None:
        """Read what other processes have spent."""
        await self._written(LedgerJob())

    def post(self, row: LedgerRow, change: Figures, posting: Posting) -> None:
        self._ledger.book(row, change)
        self._put(LedgerJob(row, change, posting))

    def first_alert(self, key: str, tell: Callable[[], None]) -> None:
        self._put(LedgerJob(alert=key, tell=tell))

    async def _written(self, entry: LedgerJob) -> None:
        if os.getpid() != self._pid:
            msg = f"the ledger {self.path} was opened before a fork; open an engine in this process"
            raise StorageError(msg)
        if self._closing or not self._running:
            msg = f"the ledger {self.path} is not open"
            raise StorageError(msg)
        entry.done = trio.Event()
        self._put(entry)
        try:
            await entry.done.wait()
            if buggify.world is not None:
                await buggify.world.pause("ledger.written")
        except BaseException:
            entry.left = True
            if entry.done.is_set():  # written and cancelled in the same instant
                self._take_back(entry)
            raise
        if entry.error is not None:
            raise entry.error

    def _put(self, entry: LedgerJob) -> None:
        self._queue.append(entry)
        self._news.set()

    # The task that writes. ---------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file, settle what dead owners have left in it, and read the figures.

        Raises:
            StorageError: it cannot be used.
        """
        try:
            fresh = await self._disk.run(partial(self._commit, [], self._accounts([])))
        except _FAILURES as error:
            await self._disk.run(self._disconnect)
            raise self._error("opened", error) from error
        self._ledger.figures.update(fresh)
        self._running = True

    async def run(self) -> None:
        """Write until it is cancelled; the engine's nursery runs this."""
        try:
            while True:
                with trio.move_on_after(self._retry_after if self.pending else float("inf")):
                    await self._news.wait()
                self._news = trio.Event()
                if self._queue:
                    await self._write()
        finally:
            self._running = False

    async def close(self) -> None:
        """Write what is left and close the file; after `run` has ended. Bounded by the disk.

        Raises:
            StorageError: news could not be written: its rows will count as uncertain.
        """
        if self._closing:
            return
        self._closing = True
        with trio.CancelScope(shield=True):
            if self._queue:
                await self._write()
            lost = self.pending
            try:
                await self._disk.run(self._farewell)
            except _FAILURES as error:
                await self._disk.run(self._disconnect)
                raise self._error("closed", error) from error
        if lost:
            msg = (
                f"the ledger {self.path} could not be written: {lost} attempts will count as "
                "uncertain, with their estimates"
            )
            raise StorageError(msg)

    async def _write(self) -> None:
        batch = [entry for entry in self._queue if not (entry.left and entry.posting is None)]
        self._batch, self._queue = batch, []
        try:
            fresh = await self._disk.run(partial(self._commit, batch, self._accounts(batch)))
        except _FAILURES as error:
            await self._disk.run(self._disconnect)
            self._batch = []
            self._failed(batch, error)
        else:
            self._batch = []
            self._retry_after = _RETRY_AFTER[0]
            self._done(batch, fresh)

    def _done(self, batch: list[LedgerJob], fresh: dict[Account, Figures]) -> None:
        figures = self._ledger.figures
        figures.update(fresh)
        for entry in self._queue:  # left while the disk was busy
            if entry.row is not None and entry.change is not None:
                for account in self._ledger.limited(entry.row):
                    if account in fresh:
                        figures[account] = figures[account] + entry.change
        for entry in batch:
            if entry.short is not None and entry.change is not None:
                # The file never had it, and the figures are the file's by now.
                assert entry.row is not None and self.extension_refused is not None
                self.extension_refused(entry.row.id, entry.change.reserved, entry.short)
            if entry.first and entry.tell is not None:
                entry.tell()
            self._answer(entry)

    def _failed(self, batch: list[LedgerJob], error: Exception) -> None:
        kept = []
        for entry in batch:
            if entry.posting is not None or entry.alert:
                kept.append(entry)
                continue
            entry.error = self._error("written", error)
            entry.error.__cause__ = error
            if entry.row is not None:
                # The file may have it for all that: whoever wanted it was told no.
                kept.append(_release(entry.row, booked=False))
            self._answer(entry)
        self._queue = kept + self._queue
        self._retry_after = min(2 * self._retry_after, _RETRY_AFTER[1])

    def _answer(self, entry: LedgerJob) -> None:
        if entry.done is not None:
            entry.done.set()
            if entry.left:
                self._take_back(entry)

    def _take_back(self, entry: LedgerJob) -> None:
        """Release what was reserved for somebody who is gone."""
        if entry.row is not None and entry.short is None and entry.error is None:
            release = _release(entry.row, booked=True)
            assert release.change is not None and release.row is not None
            self._ledger.book(release.row, release.change)
            self._put(release)

    def _error(self, what: str, error: Exception) -> StorageError:
        return StorageError(
            f"the ledger {self.path} could not be {what}: {error}. Nothing is sent without it: "
            'free the disk or mend the file, or keep no ledger with budgets.ledger = ""'
        )

    def _accounts(self, batch: list[LedgerJob]) -> set[Account]:
        """Those whose figures are looked at now, and those that `batch` changes."""
        ledger, wall = self._ledger, self._wall()
        found = [limit.account(now.key) for limit, now in ledger.current(ledger.limits.all, wall)]
        everything = ledger.day(wall)
        changed = [a for e in batch if e.row is not None for a in ledger.limited(e.row)]
        return {*found, *changed, ("all", "", everything), ("all", "", everything[:7])}

    # Inside of the disk's thread. --------------------------------------------------------------

    def _commit(self, batch: list[LedgerJob], accounts: set[Account]) -> dict[Account, Figures]:
        connection = self._connection or self._connect()
        book = Book(connection, self._ledger.limits, self._ledger.zone)
        writes = any(entry.row is not None or entry.alert for entry in batch)
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        for entry in batch:
            if entry.posting is not None:
                entry.short = book.post(entry.posting)
            elif entry.row is not None:
                entry.short = book.reserve(entry.row, self._me.id)
            elif entry.alert:
                entry.first = book.claim(entry.alert)
        book.save()
        fresh = {account: book.figures(account) for account in accounts}
        connection.execute("COMMIT")
        self.commits += writes
        return fresh

    def _connect(self) -> sqlite3.Connection:
        connection = self._connection = self._disk.connect(self.path)
        prepare(connection)
        book = Book(connection, self._ledger.limits, self._ledger.zone)
        connection.execute("BEGIN IMMEDIATE")
        book.enter(self._me)
        book.bury(self._disk.lives, but=self._me.id)
        book.save()
        connection.execute("COMMIT")
        return connection

    def _farewell(self) -> None:
        connection = self._connection
        if connection is None:
            return
        book = Book(connection, self._ledger.limits, self._ledger.zone)
        connection.execute("BEGIN IMMEDIATE")
        book.leave(self._me.id)
        book.save()
        connection.execute("COMMIT")
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _release(row: LedgerRow, *, booked: bool) -> LedgerJob:
    posting = Posting(row.id, News.RELEASE)
    after = posted(row, posting)
    return LedgerJob(after, change(row, after) if booked else None, posting)
