"""The seam to the disk: everything that waits for one goes through here.

The real one has one thread, which no cancellation abandons: a commit that has begun ends before
anybody goes on. A simulated one is synchronous, with delays and faults on a virtual clock.
"""

import logging
import os
import secrets
import sqlite3
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from streamnursery.storage.owner_locks import lock
from streamnursery.storage.owners import Owner, lives, this_process
from streamnursery.storage.private import make_private

T = TypeVar("T")

BUSY_SECONDS = 0.02
"""How long a job waits in the disk's thread for the lock of another process. Longer waits are the
caller's, who can be cancelled."""


_log = logging.getLogger(__name__)


def empty_ledger(path: Path) -> str:
    """What is to be said of a file that was there and holds nothing."""
    return (
        f"the ledger {path} was there and is empty: what was spent before is not known, and counts "
        "as nothing. If it was cut, put a copy of it back before anything is sent"
    )


class Disk(Protocol):
    """Where a ledger lies."""

    async def run(self, job: Callable[[], T]) -> T:
        """Do what waits for the disk, and return when it is done, cancelled or not."""

    def connect(self, path: str) -> sqlite3.Connection:
        """Open the database of a ledger; called inside of `run`.

        Raises:
            OSError, sqlite3.Error: it cannot be opened.
        """

    def owner(self) -> Owner:
        """This process as it is now, under a name that was never used."""

    def lives(self, owner: Owner) -> bool:
        """Whether another owner may still settle what it has reserved."""


class RealDisk:
    """The machine's own."""

    def __init__(self) -> None:
        self._one = trio.CapacityLimiter(1)
        self._owners: list[str] = []
        self._locked: set[tuple[str, str]] = set()
        self._ledger: Path | None = None

    async def run(self, job: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):
            return await trio.to_thread.run_sync(job, limiter=self._one)
        raise AssertionError("this scope is never cancelled")

    def connect(self, path: str) -> sqlite3.Connection:
        ledger = self._ledger = Path(path)
        if make_private(ledger):
            _log.warning("%s", empty_ledger(ledger))
        for owner in self._owners:
            if (path, owner) not in self._locked:
                self._lock(ledger, owner)
        return sqlite3.connect(
            path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # trio's threads take turns; one job at a time
        )

    def owner(self) -> Owner:
        # Not from the engine's dice: two processes may have the same seed.
        found = this_process(secrets.token_hex(8))
        self._owners.append(found.id)
        return found

    def lives(self, owner: Owner) -> bool:
        return lives(owner, self._ledger)

    def _lock(self, ledger: Path, owner: str) -> None:
        descriptor = lock(ledger, owner)
        if descriptor is not None:
            self._locked.add((str(ledger), owner))
            weakref.finalize(self, os.close, descriptor)
