"""What a file has to be to be a ledger."""

import sqlite3
from collections.abc import Iterator

import pytest

from streamnursery.storage.schema import APPLICATION_ID, VERSION, ForeignFileError, prepare


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_an_empty_file_becomes_a_ledger_of_this_version(database: sqlite3.Connection) -> None:
    for _ in range(2):
        prepare(database)
    assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_ledger_of_a_newer_program_is_left_alone(database: sqlite3.Connection) -> None:
    prepare(database)
    database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(ForeignFileError, match="use a newer program"):
        prepare(database)


def test_a_database_of_another_program_is_left_alone(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ForeignFileError, match="another program"):
        prepare(database)
    assert database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (1,)


@pytest.mark.parametrize("column", ["reserved", "billed", "input_tokens"])
def test_the_file_itself_refuses_what_is_below_zero(
    database: sqlite3.Connection, column: str
) -> None:
    prepare(database)
    values = {"reserved": 0, "billed": 0, "input_tokens": 0} | {column: -1}
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(
            "INSERT INTO attempts VALUES ('1', 'o', 1, 1, 'm', '', 'e', 0, '2026-01-01', "
            ":reserved, 5, 'sending', :billed, :input_tokens, 0, '')",
            values,
        )
