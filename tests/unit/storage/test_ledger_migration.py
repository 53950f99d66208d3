"""A file of the first version: its rows, its sums, and who may bring it to the second."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path

import pytest

from streamnursery.core.money.ledger import BudgetLimits
from streamnursery.storage.ledger_book import LINE, Book
from streamnursery.storage.ledger_checks import check_pages, check_sums
from streamnursery.storage.ledger_reader import open_ledger
from streamnursery.storage.owners import Owner
from streamnursery.storage.schema import VERSION, ForeignFileError, prepare
from streamnursery.values.budgets import Budgets
from tests.support.ledgers import ROOT

OLD = ROOT / "tests" / "data" / "ledger-v1.sql"
SEPTEMBER = 1_790_000_000.0


def dead(owner: Owner) -> bool:
    return False


@pytest.fixture
def old() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(OLD.read_text())
        yield connection


def test_nothing_of_it_is_lost_and_its_sums_agree(old: sqlite3.Connection) -> None:
    rows = old.execute("SELECT * FROM attempts ORDER BY id").fetchall()
    assert prepare(old, dead) == 1
    assert old.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert old.execute("SELECT * FROM attempts ORDER BY id").fetchall() == rows
    check_pages(old)
    check_sums(old, "2026-09")
    lines = old.execute(f"SELECT model, tenant, {', '.join(LINE)} FROM lines").fetchall()
    assert [line[:7] for line in lines] == [
        ("sim/fast", "", 9, 9, 396_000, 0, 0),
        ("sim/fast", "acme", 9, 9, 396_000, 0, 0),
        ("sim/gpt-4.1", "", 2, 0, 0, 55_000_000, 55_000_000),
    ]


def test_its_dead_owner_is_buried_as_before(old: sqlite3.Connection) -> None:
    prepare(old, dead)
    book = Book(old, BudgetLimits(Budgets()), UTC)
    old.execute("BEGIN IMMEDIATE")
    assert book.bury(dead, but="") == 1
    book.save()
    old.execute("COMMIT")
    found = old.execute("SELECT state, count(*) FROM attempts GROUP BY state").fetchall()
    assert found == [("settled", 18), ("uncertain", 2)]
    check_sums(old, "2026-09")


def test_while_a_process_of_the_older_program_has_it_open_it_stays_as_it_is(
    old: sqlite3.Connection,
) -> None:
    before = list(old.iterdump())
    with pytest.raises(ForeignFileError, match="end that process first"):
        prepare(old, lambda owner: owner.pid > 0)
    assert list(old.iterdump()) == before


def test_the_command_reads_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD.read_text())
    path.chmod(0o600)
    with open_ledger(path, Budgets(), UTC) as reader:
        assert reader.report(SEPTEMBER).total.spent == 792_000
        assert len(reader.uncertain()) == 2
