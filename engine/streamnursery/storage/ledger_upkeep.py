"""What is done to a ledger with time: rows that have ended are deleted, doubt comes to an end.

The lines keep what the deleted rows came to, so that reports stay right. Rows of the windows that
are open stay, whatever the setting: the sums are checked against them.
"""

import sqlite3
from datetime import timedelta, tzinfo

import attrs

from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.core.money.windows import day_of
from streamnursery.storage.ledger_book import Book
from streamnursery.values.spending import Flag

_STEP = 1000
"""Rows in one transaction: some 10 ms, in which other processes wait."""
_DELETE = """
DELETE FROM attempts WHERE id IN (
    SELECT id FROM attempts WHERE day < ? AND state IN ('settled', 'released') LIMIT ?
)
"""
_DAY = 86_400.0


@attrs.frozen
class Upkeep:
    """What is due at a moment."""

    wall: float
    """Unix time."""
    zone: tzinfo
    keep_days: int
    """Rows are deleted after so many days."""
    uncertain_days: int
    """Attempts whose end was not seen count as spent after so many days, with their estimate."""

    @property
    def first_day(self) -> str:
        """The first whose rows stay."""
        today = day_of(self.wall, self.zone)
        return min(today.replace(day=1), today - timedelta(days=self.keep_days)).isoformat()

    def step(self, connection: sqlite3.Connection, book: Book) -> bool:
        """One transaction; whether there is more to do."""
        aged = book.aged(self.wall - self.uncertain_days * _DAY, _STEP)
        found = connection.execute(
            "SELECT 1 FROM attempts WHERE day < ? AND state IN ('settled', 'released') LIMIT 1",
            (self.first_day,),
        ).fetchone()
        if not aged and found is None:
            return False
        connection.execute("BEGIN IMMEDIATE")
        for row in aged:
            flags = frozenset({Flag.ESTIMATED})
            book.post(Posting(row.id, News.SETTLE, row.estimate, flags=flags))
        # Not read from the clock when the sums are checked: it may be set back until then.
        connection.execute("UPDATE kept SET first_day = max(first_day, ?)", (self.first_day,))
        deleted = connection.execute(_DELETE, (self.first_day, _STEP)).rowcount
        book.save()
        connection.execute("COMMIT")
        return len(aged) == _STEP or deleted == _STEP
