"""Ledgers in files that a test looks into and changes by hand."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from streamnursery.core.money.ledger import BudgetLimits
from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.storage.ledger_book import Book
from streamnursery.storage.schema import prepare
from streamnursery.values.budgets import Budgets
from streamnursery.values.spending import LedgerRow, Payer

DAY = 86_400.0
ROOT = Path(__file__).parents[2]


def at(day: str) -> float:
    """Noon of a day, as Unix time."""
    return datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()


def row(name: str, day: str, amount: int = 100) -> LedgerRow:
    """A reservation of a day."""
    return LedgerRow(name, 1, 1, Payer("m", "", "main"), at(day), day, amount, amount)


@contextmanager
def opened(path: Path | str) -> Iterator[sqlite3.Connection]:
    """The database of a ledger."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        prepare(connection)
        yield connection


def book_of(connection: sqlite3.Connection) -> Book:
    return Book(connection, BudgetLimits(Budgets()), UTC)


def write(connection: sqlite3.Connection, day: str, names: list[str], **ends: News) -> None:
    """Reserve a row of 100 for each name, and end those of `ends`; SETTLE costs 40."""
    connection.execute("BEGIN IMMEDIATE")
    book = book_of(connection)
    for name in names:
        book.reserve(row(name, day), "owner")
        if name in ends:
            book.post(Posting(name, ends[name], 40, 3, 4))
    book.save()
    connection.execute("COMMIT")
