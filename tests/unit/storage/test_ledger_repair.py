"""`cost --repair`: the books are the sums of the rows again, and the old file is kept."""

import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path

import attrs
import pytest

from streamnursery.core.money.ledger_row import News
from streamnursery.storage.ledger_checks import DamagedLedgerError, check_pages, check_sums
from streamnursery.storage.ledger_repair import repair
from streamnursery.storage.owners import this_process
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures
from tests.support.ledgers import ROOT, at, book_of, opened, write

NOW = at("2026-11-30")
ENDS = {"settled": News.SETTLE, "doubt": News.DOUBT}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    path.touch(0o600)
    with opened(path) as connection:
        write(connection, "2026-10-31", ["old"], old=News.SETTLE)
        write(connection, "2026-11-30", ["open", *ENDS], **ENDS)
        connection.execute("DELETE FROM attempts WHERE id = 'old'")  # its line is what is left
        connection.execute("INSERT INTO alerts VALUES ('all//2026-11/50')")
    return path


def test_accounts_that_were_changed_are_added_up_anew(ledger: Path) -> None:
    with opened(ledger) as connection:
        connection.execute(
            "UPDATE accounts SET spent = 1 WHERE scope = 'all' AND window = '2026-11'"
        )
        with pytest.raises(DamagedLedgerError):
            check_sums(connection, "2026-11")
    done = repair(ledger, NOW, UTC)
    assert not done.unreadable
    assert done.rows == 3
    # What ran is uncertain: nobody sees its end any more.
    told, now = done.changed["all", "", "2026-11"]
    assert (told, now) == (Figures(1, 100, 100), Figures(40, 0, 200))
    with opened(ledger) as connection:
        check_pages(connection)
        check_sums(connection, "2026-11")
        assert connection.execute("SELECT key FROM alerts").fetchall() == [("all//2026-11/50",)]
        query = "SELECT day, spent, uncertain FROM lines ORDER BY day"
        assert connection.execute(query).fetchall() == [
            ("2026-10-31", 40, 0),
            ("2026-11-30", 40, 200),
        ]
    assert ledger.stat().st_mode & 0o777 == 0o600
    with opened(done.kept_as) as connection:
        query = "SELECT spent FROM accounts WHERE scope = 'all' AND window = '2026-11'"
        assert connection.execute(query).fetchone() == (1,), "the old file is as it was"


def test_what_can_be_read_of_a_file_with_a_broken_page_is_read(ledger: Path) -> None:
    with opened(ledger) as connection:
        many = [f"r{number:05}" for number in range(2000)]
        write(connection, "2026-11-29", many, **dict.fromkeys(many, News.SETTLE))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT pageno FROM dbstat WHERE name = 'attempts' AND pagetype = 'leaf'"
        try:
            pages = [number for (number,) in connection.execute(query)]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    with ledger.open("r+b") as file:
        file.seek((pages[len(pages) // 2] - 1) * 4096)
        file.write(b"\xff" * 4096)
    with opened(ledger) as connection, pytest.raises(DamagedLedgerError):
        check_pages(connection)
    done = repair(ledger, NOW, UTC)
    assert done.unreadable
    assert 1500 < done.rows < 2003
    with opened(ledger) as connection:
        check_pages(connection)
        check_sums(connection, "2026-11")


def test_a_ledger_of_the_first_version_is_repaired_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((ROOT / "tests" / "data" / "ledger-v1.sql").read_text())
        connection.execute("UPDATE accounts SET spent = 0")
        connection.commit()
    path.chmod(0o600)
    done = repair(path, 1_790_000_000.0, UTC)
    assert done.rows == 20
    assert done.changed["all", "", "2026-09"][1] == Figures(792_000, 0, 110_000_000)


def test_a_ledger_in_use_is_left_alone(ledger: Path) -> None:
    with opened(ledger) as connection:
        book_of(connection).enter(attrs.evolve(this_process("me"), seen=NOW))
    with pytest.raises(StorageError, match="end that process first"):
        repair(ledger, NOW, UTC)
    assert sorted(path.name for path in ledger.parent.iterdir()) == ["ledger.db"]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"\0" * 8192])
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path, content: bytes) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StorageError, match=r"could not be repaired|no ledger"):
        repair(path, NOW, UTC)
    assert path.read_bytes() == content


def test_where_there_is_no_ledger_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no ledger"):
        repair(tmp_path / "ledger.db", NOW, UTC)
    assert list(tmp_path.iterdir()) == []
