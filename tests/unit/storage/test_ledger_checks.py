"""What a ledger that was damaged or changed by hand is told by."""

import sqlite3
from collections.abc import Iterator

import pytest

from streamnursery.core.money.ledger_row import News
from streamnursery.storage.ledger_checks import DamagedLedgerError, check_sums
from tests.support.ledgers import opened, write

CHANGES = {
    "an account is lower": "UPDATE accounts SET spent = 0 WHERE scope = 'model'",
    "an account is gone": "DELETE FROM accounts WHERE scope = 'all'",
    "an account of nothing": "INSERT INTO accounts VALUES ('tenant', 'x', '2026-11', 5, 0, 0)",
    "a cost is lower": "UPDATE attempts SET billed = 1 WHERE id = 'settled'",
    "a row is gone": "DELETE FROM attempts WHERE id = 'settled'",
    "a row is open again": "UPDATE attempts SET state = 'sending' WHERE id = 'doubt'",
    "all rows are gone": "DELETE FROM attempts",
    "a line is lower": "UPDATE lines SET spent = spent - 1",
    "a line is gone": "DELETE FROM lines",
}


@pytest.fixture
def ledger() -> Iterator[sqlite3.Connection]:
    with opened(":memory:") as connection:
        write(connection, "2026-10-31", ["old"], old=News.SETTLE)
        ends = {"settled": News.SETTLE, "doubt": News.DOUBT, "released": News.RELEASE}
        write(connection, "2026-11-30", ["open", *ends], **ends)
        yield connection


def test_a_ledger_that_only_its_own_program_wrote_is_believed(ledger: sqlite3.Connection) -> None:
    check_sums(ledger, "2026-11")
    check_sums(ledger, "2026-10")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_hand_is_found(ledger: sqlite3.Connection, change: str) -> None:
    ledger.execute(CHANGES[change])
    with pytest.raises(DamagedLedgerError, match="2026-11"):
        check_sums(ledger, "2026-11")


def test_rows_of_closed_windows_may_be_gone(ledger: sqlite3.Connection) -> None:
    ledger.execute("DELETE FROM attempts WHERE id = 'old'")
    check_sums(ledger, "2026-11")
