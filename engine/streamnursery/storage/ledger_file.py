"""The ledger in a file that several processes share. One task writes; the others leave entries.

Rule 1: entries are written in the order in which they were left, all that are there in one
        transaction: one wait for the disk serves everybody who waits.
Rule 2: a reservation counts once its transaction is committed, and is checked in it against what
        every process has spent and reserved.
Rule 3: news of a row is booked in memory at once and written as soon as the disk is free. Until
        then it is on the queue, and the figures in memory are those of the file and the queue.
Rule 4: after anything has failed the connection is closed, and nothing is admitted before the file
        was opened anew and what is uncertain in it settled. News is kept and written again: it says
        how a row ended, and saying it twice changes nothing. A refused reservation leaves nothing.
Rule 5: while another process holds the lock of the file, entries stay on the queue; reservations
        are refused after `LOCK_SECONDS`. The end of the engine does not wait longer than that, and
        a quarter of a second where it is cancelled.
Rule 6: a process that was forked has no ledger: two would write under one name.
"""

import os
from collections.abc import Callable
from functools import partial

import trio

from streamnursery.core import buggify
from streamnursery.core.money.ledger import Account, Ledger, Shortfall
from streamnursery.core.money.ledger_row import News, Posting, change, posted
from streamnursery.storage.disk import Disk
from streamnursery.storage.ledger_job import LedgerJob
from streamnursery.storage.ledger_upkeep import Upkeep
from streamnursery.storage.ledger_writer import FAILURES, LedgerWriter, failure, locked
from streamnursery.values.budgets import Budgets
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures, LedgerRow

LOCK_SECONDS = 2.0
"""How long a reservation waits for the lock of another process, and an engine that ends does."""
BEAT_SECONDS = 20.0
"""Between two heartbeats of an owner that has open rows."""
_HURRY_SECONDS = 0.25
"""How long the end of an engine waits for that lock at least, cancelled or past its deadline."""
_POLL = 0.02
"""Seconds between two tries for the lock."""
_RETRY_AFTER = (1.0, 30.0)
"""Seconds before news that could not be written is tried again, at first and at most."""
_MAX_CLAIMED = 10_000


class LedgerFile:
    """Implements `scheduler.ledger_store.LedgerStore`: `open`, `run` in a task, then `close`."""

    shared = True

    def __init__(
        self,
        budgets: Budgets,
        disk: Disk,
        ledger: Ledger,
        *,
        wall: Callable[[], float],
    ) -> None:
        me = disk.owner()
        self.path = budgets.ledger
        self.owner = f"{me.id}-"
        self.extension_refused: Callable[[str, int, Shortfall], None] | None = None
        """Called with a row and an amount that it was not extended by."""
        self._budgets = budgets
        self._disk = disk
        self._ledger = ledger
        self._wall = wall
        self._writer = LedgerWriter(self.path, disk, me, ledger)
        self._pid = os.getpid()
        self._queue: list[LedgerJob] = []
        self._batch: list[LedgerJob] = []
        """At the disk."""
        self._open: set[str] = set()
        """Rows of this owner whose end is not known."""
        self._claimed: dict[str, None] = {}
        """Alerts that were asked for: most settlements reach the same ones again."""
        self._news = trio.Event()
        self._closing = False
        self._running = False
        self._locked = False
        self._retry_after = _RETRY_AFTER[0]
        self._beat_at = 0.0
        self._kept = ""
        """The day for which upkeep was done."""

    @property
    def commits(self) -> int:
        """Transactions that were written."""
        return self._writer.commits

    @property
    def pending(self) -> int:
        return sum(entry.posting is not None for entry in (*self._batch, *self._queue))

    @property
    def _owes(self) -> bool:
        """There is something to write or to answer."""
        return bool(self._queue or self._writer.doubtful)

    # What the scheduler asks for. ------------------------------------------------------------

    async def reserve(self, row: LedgerRow) -> Shortfall | None:
        entry = LedgerJob(row)
        await self._written(entry)
        return entry.short

    async def refresh(self) -> None:
        """Read what other processes have spent; what was posted before is written then."""
        await self._written(LedgerJob())

    def post(self, row: LedgerRow, change: Figures, posting: Posting) -> None:
        if posting.news is not News.EXTEND:
            self._open.discard(row.id)
        self._ledger.book(row, change)
        self._put(LedgerJob(row, change, posting))

    def first_alert(self, key: str, tell: Callable[[], None]) -> None:
        if key in self._claimed:
            return
        self._claimed[key] = None
        if len(self._claimed) > _MAX_CLAIMED:
            del self._claimed[next(iter(self._claimed))]
        self._put(LedgerJob(alert=key, tell=tell))

    async def _written(self, entry: LedgerJob) -> None:
        if os.getpid() != self._pid:
            msg = f"the ledger {self.path} was opened before a fork; open an engine in this process"
            raise StorageError(msg)
        if self._closing or not self._running:
            msg = f"the ledger {self.path} is not open"
            raise StorageError(msg)
        entry.done = trio.Event()
        entry.since = trio.current_time()
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
        until = trio.current_time() + LOCK_SECONDS
        while True:
            try:
                fresh = await self._commit([])
                break
            except FAILURES as error:
                await self._disk.run(self._writer.disconnect)
                if not locked(error) or trio.current_time() >= until:
                    raise failure(self.path, "opened", error) from error
                await trio.sleep(_POLL)
        self._ledger.figures.update(fresh)
        self._running = True

    async def run(self) -> None:
        """Write until it is cancelled; the engine's nursery runs this."""
        self._beat_at = trio.current_time() + BEAT_SECONDS
        try:
            while True:
                more = await self._keep()
                with trio.move_on_after(0 if more else self._pause()):
                    await self._news.wait()
                self._news = trio.Event()
                if self._open and trio.current_time() >= self._beat_at:
                    self._beat_at = trio.current_time() + BEAT_SECONDS
                    self._queue.append(LedgerJob(beat=True))
                if self._owes:
                    await self._write()
                if self._locked:
                    await trio.sleep(_POLL)
        finally:
            self._running = False

    def _pause(self) -> float:
        if self._locked:
            return 0.0
        if self._owes:
            return self._retry_after
        return max(0.0, self._beat_at - trio.current_time()) if self._open else float("inf")

    async def close(self) -> None:
        """Write what is left and close the file; after `run` has ended. Bounded by the disk.

        Raises:
            StorageError: news could not be written: its rows will count as uncertain.
        """
        if self._closing:
            return
        self._closing = True
        now, deadline = trio.current_time(), trio.current_effective_deadline()
        until = min(max(deadline, now + _HURRY_SECONDS), now + LOCK_SECONDS)
        with trio.CancelScope(shield=True):
            while self._owes:
                await self._write()
                if not self._locked or trio.current_time() >= until:
                    break
                await trio.sleep(_POLL)
            unwritten = self._unwritten()
            await self._farewell(until, must=not unwritten)
        if unwritten:
            msg = f"the ledger {self.path} could not be written: {unwritten}"
            raise StorageError(msg)

    async def _farewell(self, until: float, *, must: bool) -> None:
        while True:
            try:
                return await self._disk.run(self._writer.farewell)
            except FAILURES as error:
                if locked(error) and trio.current_time() < until:
                    await trio.sleep(_POLL)
                    continue
                await self._disk.run(self._writer.disconnect)
                if must and not locked(error):
                    raise failure(self.path, "closed", error) from error
                return None  # the next owner finds that this one is gone

    def _unwritten(self) -> str:
        """What the file does not know, in words; empty where it knows everything."""
        entries = [e for e in self._queue if e.posting is not None]
        sent = {e.posting.row for e in entries if e.posting is not None and e.sent}
        rest = {e.posting.row for e in entries if e.posting is not None} - sent
        rest.update(self._writer.doubtful)
        parts = []
        if sent:
            parts.append(f"{len(sent)} attempts that were sent will count as uncertain")
        if rest:
            parts.append(f"{len(rest)} reservations that were not sent will count as uncertain")
        return ", and ".join(parts) + ", with their estimates" if parts else ""

    async def _write(self) -> None:
        batch = [entry for entry in self._queue if entry.news or not entry.left]
        self._batch, self._queue = batch, []
        try:
            fresh = await self._commit(batch)
        except FAILURES as error:
            if locked(error):
                self._queue = self._patient(batch, error) + self._queue
                self._locked = self._owes
            else:
                self._locked = False
                await self._disk.run(self._writer.disconnect)
                self._failed(batch, error)
            self._batch = []
        else:
            self._batch = []
            self._locked = False
            self._retry_after = _RETRY_AFTER[0]
            self._done(batch, fresh)

    async def _commit(self, batch: list[LedgerJob]) -> dict[Account, Figures]:
        wall = self._wall()
        accounts, today = self._accounts(batch, wall), self._ledger.day(wall)
        return await self._disk.run(partial(self._writer.commit, batch, accounts, wall, today))

    async def _keep(self) -> bool:
        """A step of what is due once a day; whether there is more to do."""
        wall = self._wall()
        today = self._ledger.day(wall)
        if today == self._kept or self._locked:
            return False
        budgets = self._budgets
        upkeep = Upkeep(wall, self._ledger.zone, budgets.keep_days, budgets.uncertain_days)
        try:
            more = await self._disk.run(partial(self._writer.keep, upkeep))
        except FAILURES as error:
            if not locked(error):
                await self._disk.run(self._writer.disconnect)
            more = False
        if not more:
            self._kept = today
        return more

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
            if entry.row is not None and entry.posting is None and entry.short is None:
                self._open.add(entry.row.id)
            self._answer(entry)

    def _patient(self, batch: list[LedgerJob], error: Exception) -> list[LedgerJob]:
        """Those of `batch` that go on waiting for the lock; the others are refused."""
        late = trio.current_time() - LOCK_SECONDS
        kept = []
        for entry in batch:
            if entry.news or entry.beat or entry.since > late:
                kept.append(entry)
            else:
                self._refuse(entry, error)
        return kept

    def _failed(self, batch: list[LedgerJob], error: Exception) -> None:
        kept = []
        for entry in batch:
            if entry.news:
                kept.append(entry)
                continue
            if entry.row is not None and self._writer.reached:
                self._writer.doubtful.append(entry.row.id)
            self._refuse(entry, error)
        self._queue = kept + self._queue
        self._retry_after = min(2 * self._retry_after, _RETRY_AFTER[1])

    def _refuse(self, entry: LedgerJob, error: Exception) -> None:
        entry.error = failure(self.path, "written", error)
        entry.error.__cause__ = error
        self._answer(entry)

    def _answer(self, entry: LedgerJob) -> None:
        if entry.done is not None:
            entry.done.set()
            if entry.left:
                self._take_back(entry)

    def _take_back(self, entry: LedgerJob) -> None:
        """Release what was reserved for a task that was cancelled."""
        if entry.row is not None and entry.short is None and entry.error is None:
            posting = Posting(entry.row.id, News.RELEASE)
            after = posted(entry.row, posting)
            moved = change(entry.row, after)
            self._open.discard(after.id)
            self._ledger.book(after, moved)
            self._put(LedgerJob(after, moved, posting, sent=False))

    def _accounts(self, batch: list[LedgerJob], wall: float) -> set[Account]:
        """Those whose figures are looked at now, and those that `batch` changes."""
        ledger = self._ledger
        found = [limit.account(now.key) for limit, now in ledger.current(ledger.limits.all, wall)]
        everything = ledger.day(wall)
        changed = [a for e in batch if e.row is not None for a in ledger.limited(e.row)]
        return {*found, *changed, ("all", "", everything), ("all", "", everything[:7])}
