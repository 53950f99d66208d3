"""The tables of a ledger, and which version of them a file has."""

import sqlite3

APPLICATION_ID = 0x5374724E
"""Of SQLite's file header: this is a streamnursery ledger."""
VERSION = 1

_V1 = """
CREATE TABLE owners (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    request INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    model TEXT NOT NULL,
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    at REAL NOT NULL,
    day TEXT NOT NULL,
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    estimate INTEGER NOT NULL CHECK (estimate >= reserved),
    state TEXT NOT NULL CHECK (state IN ('sending', 'settled', 'released', 'uncertain')),
    billed INTEGER NOT NULL CHECK (billed >= 0),
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    flags TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_under_way ON attempts (state, owner)
    WHERE state IN ('sending', 'uncertain');
CREATE INDEX attempts_by_day ON attempts (day);

CREATE TABLE accounts (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    window TEXT NOT NULL,
    spent INTEGER NOT NULL CHECK (spent >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    uncertain INTEGER NOT NULL CHECK (uncertain >= 0),
    PRIMARY KEY (scope, name, window)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (key TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
"""

_STEPS = (_V1,)
"""The n-th brings a file from version n to version n + 1."""


class ForeignFileError(Exception):
    """The file is no ledger that this version can use."""


def prepare(connection: sqlite3.Connection) -> None:
    """Bring an open database to the tables of this version, and to writing that lasts.

    Raises:
        ForeignFileError: it belongs to another program, or to a newer version of this one.
        sqlite3.Error: it is broken, or cannot be written.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        for step in _STEPS[version:]:
            for statement in filter(str.strip, step.split(";\n")):
                connection.execute(statement)
        if version < VERSION:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (tables or version or application):
        raise ForeignFileError("it is a database of another program; name another file")
    if version > VERSION:
        msg = f"it has version {version}, this program knows {VERSION}; use a newer program"
        raise ForeignFileError(msg)
    return int(version)
