"""A disk on a virtual clock: SQLite in memory, delays, and faults where a test wants them."""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from streamnursery.storage.owners import Owner

T = TypeVar("T")

PLACES = ("CONNECT", "BEGIN", "INSERT", "UPDATE", "COMMIT", "COMMITTED")
"""Where a fault may lie: opening, statements, and a commit that fails before or after it holds."""


class SimDisk:
    """Keeps its ledgers until it is closed, through every crash of the engines that use them."""

    def __init__(self, *, delay: float = 0.002, dice: random.Random | None = None) -> None:
        """`delay` is what a transaction takes, in seconds; `dice` roll for `probability`."""
        self.delay = delay
        self.probability = 0.0
        """Of a fault, at every place."""
        self.jobs = 0
        """Waits for this disk."""
        self.locked = False
        """Another process holds the write lock of every ledger here."""
        self.faults_met = 0
        self._due: Counter[str] = Counter()
        self._steps_left = self._failures_left = 0
        self._dice = dice or random.Random(0)
        self._owners = 0
        self._alive: set[str] = set()
        self._anchors: dict[str, sqlite3.Connection] = {}

    def fail(self, place: str, times: int = 1) -> None:
        """The next `times` that something is done at one of `PLACES`, it fails."""
        if place not in PLACES:
            msg = f"a disk cannot fail at {place!r}; use one of {', '.join(PLACES)}"
            raise ValueError(msg)
        self._due[place] += times

    def fail_at(self, step: int, times: int = 1) -> None:
        """From now on pass `step` of `PLACES`, then fail at the next `times`."""
        self._steps_left, self._failures_left = step, times

    def mend(self) -> None:
        """From now on nothing fails, and nothing is locked."""
        self._due.clear()
        self._failures_left = 0
        self.probability = 0.0
        self.locked = False

    def crash(self) -> None:
        """Every process that had a ledger open is dead, to those who open one from now on."""
        self._alive.clear()

    def query(self, path: str, sql: str) -> list[tuple[Any, ...]]:
        """What the ledger at `path` holds."""
        return self._anchor(path).execute(sql).fetchall()

    def close(self) -> None:
        """Forget everything."""
        for anchor in self._anchors.values():
            anchor.close()
        self._anchors.clear()

    # Implements `streamnursery.storage.disk.Disk`. ------------------------------------------

    async def run(self, job: Callable[[], T]) -> T:
        self.jobs += 1
        with trio.CancelScope(shield=True):
            await trio.sleep(self.delay)
        return job()

    def connect(self, path: str) -> sqlite3.Connection:
        self.pass_by("CONNECT")
        self._anchor(path)
        connection = sqlite3.connect(
            self._name(path), uri=True, isolation_level=None, factory=_SimConnection
        )
        connection.disk = self
        return connection

    def owner(self) -> Owner:
        self._owners += 1
        owner = Owner(f"owner{self._owners}", self._owners, "", "simulated")
        self._alive.add(owner.id)
        return owner

    def lives(self, owner: Owner) -> bool:
        return owner.id in self._alive

    def pass_by(self, place: str) -> None:
        """Something is done at `place`; raises where it is to fail."""
        if self._due[place]:
            self._due[place] -= 1
        elif self._failures_left and not self._steps_left:
            self._failures_left -= 1
        elif self._failures_left:
            self._steps_left -= 1
            return
        elif not self.probability or self._dice.random() >= self.probability:
            return
        self.faults_met += 1
        full = place in ("INSERT", "UPDATE")
        raise sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")

    def _name(self, path: str) -> str:
        return f"file:/{id(self):x}/{path.strip('/')}?mode=memory&cache=shared"

    def _anchor(self, path: str) -> sqlite3.Connection:
        # A database in memory lives as long as a connection to it.
        if path not in self._anchors:
            self._anchors[path] = sqlite3.connect(self._name(path), uri=True, isolation_level=None)
        return self._anchors[path]


class _SimConnection(sqlite3.Connection):
    disk: SimDisk

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        place = sql.split(maxsplit=1)[0]
        if sql == "BEGIN IMMEDIATE" and hasattr(self, "disk") and self.disk.locked:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        if hasattr(self, "disk") and place in PLACES:
            self.disk.pass_by(place)
        cursor = super().execute(sql, parameters)
        if place == "COMMIT" and hasattr(self, "disk"):
            self.disk.pass_by("COMMITTED")
        return cursor
