"""What becomes of rows with time."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC

import pytest

from streamnursery.core.money.ledger_row import News
from streamnursery.storage.ledger_book import LINE
from streamnursery.storage.ledger_checks import check_sums
from streamnursery.storage.ledger_upkeep import Upkeep
from tests.support.ledgers import at, book_of, opened, write

ENDS = {"settled": News.SETTLE, "doubt": News.DOUBT, "released": News.RELEASE}


def keep(connection: sqlite3.Connection, today: str, keep_days: int, uncertain_days: int) -> int:
    """Steps until nothing is left to do."""
    upkeep = Upkeep(at(today), UTC, keep_days, uncertain_days)
    steps = 1
    while upkeep.step(connection, book_of(connection)):
        steps += 1
    return steps


def names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT id FROM attempts ORDER BY id")]


@pytest.fixture
def ledger() -> Iterator[sqlite3.Connection]:
    with opened(":memory:") as connection:
        yield connection


def test_old_rows_go_and_their_sums_stay(ledger: sqlite3.Connection) -> None:
    write(ledger, "2026-08-01", ["open", *ENDS], **ENDS)
    before = ledger.execute(f"SELECT {', '.join(LINE)} FROM lines").fetchall()
    keep(ledger, "2026-11-30", keep_days=90, uncertain_days=1000)
    assert names(ledger) == ["doubt", "open"], "what is open or uncertain stays"
    assert ledger.execute(f"SELECT {', '.join(LINE)} FROM lines").fetchall() == before


def test_rows_of_an_open_window_stay_whatever_the_setting(ledger: sqlite3.Connection) -> None:
    write(ledger, "2026-11-01", ["first"], first=News.SETTLE)
    write(ledger, "2026-10-31", ["before"], before=News.SETTLE)
    keep(ledger, "2026-11-30", keep_days=1, uncertain_days=1000)
    assert names(ledger) == ["first"]
    check_sums(ledger, "2026-11")


def test_an_uncertain_attempt_counts_as_spent_in_the_end(ledger: sqlite3.Connection) -> None:
    write(ledger, "2026-10-30", ["old"], old=News.DOUBT)
    write(ledger, "2026-11-01", ["young"], young=News.DOUBT)
    keep(ledger, "2026-11-30", keep_days=90, uncertain_days=30)
    query = "SELECT id, state, billed, flags FROM attempts ORDER BY id"
    assert ledger.execute(query).fetchall() == [
        ("old", "settled", 100, "estimated"),
        ("young", "uncertain", 0, ""),
    ]
    check_sums(ledger, "2026-10")


def test_many_rows_go_in_many_transactions(ledger: sqlite3.Connection) -> None:
    many = [f"r{number:05}" for number in range(2500)]
    write(ledger, "2026-01-01", many, **dict.fromkeys(many, News.SETTLE))
    assert keep(ledger, "2026-11-30", keep_days=90, uncertain_days=30) == 3
    assert names(ledger) == []
    assert ledger.execute("SELECT spent FROM lines").fetchone() == (2500 * 40,)
