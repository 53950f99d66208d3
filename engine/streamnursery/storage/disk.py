"""The seam to the disk: everything that waits for one goes through here.

The real one has one thread, which no cancellation abandons: a commit that has begun ends before
anybody goes on. A simulated one is synchronous, with delays and faults on a virtual clock.
"""

import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from streamnursery.storage.owners import Owner, lives, this_process
from streamnursery.storage.private import make_private

T = TypeVar("T")

BUSY_SECONDS = 5.0
"""How long a transaction waits for those of other processes."""


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
        """A new owner of this process, with a name that nobody has had."""

    def lives(self, owner: Owner) -> bool:
        """Whether another owner may still settle what it has reserved."""


class RealDisk:
    """The machine's own."""

    def __init__(self) -> None:
        self._one = trio.CapacityLimiter(1)

    async def run(self, job: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):
            return await trio.to_thread.run_sync(job, limiter=self._one)
        raise AssertionError("nobody cancels this scope")

    def connect(self, path: str) -> sqlite3.Connection:
        make_private(Path(path))
        return sqlite3.connect(
            path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # trio's threads take turns; one job at a time
        )

    def owner(self) -> Owner:
        # Not from the engine's dice: two processes may have the same seed.
        return this_process(secrets.token_hex(8))

    def lives(self, owner: Owner) -> bool:
        return lives(owner)
