"""A disk that fails at every step of a run, once or from then on, and a log that was torn."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from streamnursery import BudgetExceededError, StorageError
from streamnursery.core.money.ledger_row import News
from streamnursery.storage.ledger_checks import check_pages, check_sums
from streamnursery.testing import World
from tests.simulation.test_ledger_file import TOKEN, accounts_add_up, ask, budgeted, states
from tests.support.ledgers import opened, write

TIER = os.environ.get("STREAMNURSERY_TIER", "test")
EVERY = {"test": 5, "proof": 2, "soak": 1}[TIER]
"""Only each of so many steps is failed at."""
SECTOR = 512


async def life(world: World, step: int, times: int) -> None:
    """Three answers, one of them left half-way, on a disk that fails."""
    world.disk.fail_at(step, times)
    try:
        async with world.open_engine(budgeted(world, tokens=60)) as engine:
            for tokens in (10, 15):
                error = await ask(engine, tokens)
                assert error is None or isinstance(error, StorageError | BudgetExceededError)
            try:
                async with engine.stream("m", "Hi", max_tokens=20) as stream:
                    async for _ in stream:
                        break
            except StorageError:
                pass
            await trio.sleep(3)
    except StorageError:
        pass


@pytest.mark.parametrize("times", [1, 2, 10_000])
def test_a_disk_that_fails_at_any_step_loses_and_doubles_no_money(times: int) -> None:
    async def main(world: World) -> None:
        await life(world, step, times)
        met.append(world.disk.faults_met)
        world.disk.mend()
        world.disk.crash()
        async with world.open_engine(budgeted(world, tokens=60)) as engine:
            report = engine.usage_report()
        assert accounts_add_up(world.disk)
        assert "sending" not in states(world)
        standing = report.budgets[0]
        served = sum(record.sent_tokens for record in world.provider.log)
        assert served * TOKEN <= standing.spent + standing.uncertain <= 60 * TOKEN

    step, met = 0, [1]
    while met[-1]:
        World(step).run(main)
        step += EVERY
    assert step > 30, "the run passes that many places"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A ledger with a log that was not copied into it, as a crash of the machine leaves it."""
    path, crashed = tmp_path / "ledger.db", tmp_path / "crashed"
    crashed.mkdir()
    with opened(path) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(12):
            names = [f"{number}-{n}" for n in range(4)]
            ends = {names[0]: News.SETTLE, names[1]: News.DOUBT}
            write(connection, "2026-11-30", names, **ends)
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", crashed / f"ledger.db{ending}")
    return crashed / "ledger.db"


def test_a_log_that_was_torn_anywhere_leaves_whole_transactions(
    written: Path, tmp_path: Path
) -> None:
    log = Path(f"{written}-wal").read_bytes()
    torn = tmp_path / "torn.db"
    counts = set()
    for size in (*range(0, len(log), EVERY * SECTOR), len(log)):
        for path in tmp_path.glob("torn.db*"):
            path.unlink()
        shutil.copy(written, torn)
        Path(f"{torn}-wal").write_bytes(log[:size])
        with closing(sqlite3.connect(torn, isolation_level=None)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if not tables:
                continue  # not even the tables had reached the disk
        with opened(torn) as connection:
            check_pages(connection)
            check_sums(connection, "2026-11")
            (count,) = connection.execute("SELECT count(*) FROM attempts").fetchone()
        counts.add(count)
    assert counts == set(range(0, 49, 4))


@pytest.mark.parametrize("junk", [b"\0" * SECTOR, b"\xa5" * SECTOR])
def test_a_sector_of_the_log_that_was_not_written_ends_it_there(
    written: Path, tmp_path: Path, junk: bytes
) -> None:
    log = Path(f"{written}-wal").read_bytes()
    torn = tmp_path / "torn.db"
    for at in range(SECTOR, len(log) - SECTOR, 3 * EVERY * SECTOR):
        for path in tmp_path.glob("torn.db*"):
            path.unlink()
        shutil.copy(written, torn)
        Path(f"{torn}-wal").write_bytes(log[:at] + junk + log[at + SECTOR :])
        with opened(torn) as connection:
            check_pages(connection)
            check_sums(connection, "2026-11")
