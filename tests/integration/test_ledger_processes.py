"""The ledger on a real disk: processes that are killed, that share it, and that fill it."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from streamnursery import StorageError, open_engine
from streamnursery.simulator import (
    Cut,
    LoopbackServer,
    Plan,
    Profile,
    Provider,
    Rule,
    Status,
    When,
    serve_loopback,
)
from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.log import RequestRecord
from streamnursery.storage.ledger_checks import check_pages, check_sums
from streamnursery.storage.ledger_reader import open_ledger
from streamnursery.storage.owner_locks import is_locked
from streamnursery.values.budgets import Budgets
from tests.support import ledger_child
from tests.support.cli import ROOT
from tests.support.guard import GUARD, until

TOKEN = 1_000_000
KILLS = {"test": 2, "proof": 20, "soak": 200}
PAIRS = {"test": 2, "proof": 8, "soak": 40}
FAULTS = Plan((
    Rule((Status(503),), When(probability=0.1)),
    Rule((Cut(1),), When(probability=0.1)),
))
"""A fifth of the answers go wrong, and none of them in a way that leaves its cost in doubt."""
SPEED = Profile(ttft_mean=0.01, ttft_p95=0.02, tokens_per_second=400, output_tokens=(50, 50))


def command(url: str, ledger: Path, budget: str, seed: int) -> list[str]:
    return [sys.executable, ledger_child.__file__, url, str(ledger), budget, str(seed)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'engine'}{os.pathsep}{ROOT}"}


async def killed(arguments: list[str], moment: Callable[[], bool], rounds: int) -> None:
    """Run it until so many rounds of our scheduler after that moment; kill -9."""
    process = await trio.lowlevel.open_process(
        arguments, stdout=subprocess.PIPE, env=environment(), cwd=ROOT
    )
    assert process.stdout is not None
    async with process.stdout:
        with trio.fail_after(GUARD):
            assert (await process.stdout.receive_some(64)).startswith(b"ready")
        await until(moment)
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        process.send_signal(signal.SIGKILL)
        await process.wait()


def rows(ledger: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(ledger, timeout=GUARD)) as connection:
        return connection.execute(query).fetchall()


def settle_the_dead(ledger: Path) -> None:
    with open_ledger(ledger, Budgets(), UTC) as reader:
        reader.uncertain()


def accounts_problems(ledger: Path) -> list[tuple[object, ...]]:
    """Accounts of everything that are not the sums of their rows."""
    return rows(
        ledger,
        "SELECT a.window, a.spent, a.reserved, a.uncertain FROM accounts a WHERE a.scope = 'all' "
        "AND (a.spent, a.reserved, a.uncertain) IS NOT (SELECT sum(billed), sum(reserved), "
        "sum(CASE state WHEN 'uncertain' THEN estimate ELSE 0 END) FROM attempts "
        "WHERE day LIKE a.window || '%')",
    )


def settled_are_served(
    settled: list[tuple[object, ...]], served: list[RequestRecord]
) -> Counter[tuple[int, int]]:
    """Settlements that no exchange of the provider's log stands for."""
    told = Counter(
        (record.reply.output_tokens, record.sent_tokens) for record in served if record.reply
    )
    booked = Counter((int(str(e)) // TOKEN, int(str(b)) // TOKEN) for e, b in settled)
    return booked - told


async def test_z1_after_kill_9_at_any_moment_nothing_is_billed_twice_and_what_ran_is_uncertain(
    tmp_path: Path, tier: str
) -> None:
    ledger, dice = tmp_path / "money" / "ledger.db", random.Random(8)
    provider = Provider(dice=random.Random(1), models={"m": SPEED}, plan=FAULTS)
    async with trio.open_nursery() as nursery:
        server: LoopbackServer = await serve_loopback(provider, nursery=nursery)
        owners: set[object] = set()
        for life in range(KILLS[tier]):
            before = len(provider.log)
            arguments = command(server.url, ledger, "1000", life)
            last = before + dice.randint(0, ledger_child.REQUESTS)
            moment = partial(heard, provider, last)
            await killed(arguments, moment, dice.randrange(1000))
            # The provider finds out.
            await until(lambda: not server.statistics().current_connections)
            served = list(provider.log)[before:]
            mine = {o for (o,) in rows(ledger, "SELECT DISTINCT owner FROM attempts")} - owners
            owners |= mine
            assert len(mine) <= 1
            settle_the_dead(ledger)
            states = Counter(s for (s,) in of(ledger, "state", mine))
            assert not states["sending"]
            assert states["uncertain"] <= ledger_child.MAX_STREAMS
            settled = of(ledger, "estimate, billed", mine, "AND state = 'settled'")
            assert settled_are_served(settled, served) == Counter()
            assert len(settled) <= len(served)
            assert accounts_problems(ledger) == []
        assert rows(ledger, "SELECT count(*) FROM owners") == [(0,)]
        await server.stop()


async def test_two_processes_on_one_ledger_that_are_killed_leave_books_that_are_their_rows(
    tmp_path: Path, tier: str
) -> None:
    ledger, dice = tmp_path / "money" / "ledger.db", random.Random(9)
    provider = Provider(dice=random.Random(1), models={"m": SPEED}, plan=FAULTS)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        for life in range(PAIRS[tier]):
            async with trio.open_nursery() as children:
                for child in range(2):
                    last = len(provider.log) + dice.randint(0, ledger_child.REQUESTS)
                    arguments = command(server.url, ledger, "1000", 2 * life + child)
                    moment = partial(heard, provider, last)
                    children.start_soon(killed, arguments, moment, dice.randrange(1000))
            with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
                check_pages(connection)
                check_sums(connection, "")
            assert accounts_problems(ledger) == []
        settle_the_dead(ledger)
        assert rows(ledger, "SELECT count(*) FROM attempts WHERE state = 'sending'") == [(0,)]
        assert rows(ledger, "SELECT count(*) FROM owners") == [(0,)]
        assert accounts_problems(ledger) == []
        settled = rows(ledger, "SELECT estimate, billed FROM attempts WHERE state = 'settled'")
        assert settled_are_served(settled, list(provider.log)) == Counter()
        await server.stop()


def of(ledger: Path, what: str, owners: set[object], more: str = "") -> list[tuple[object, ...]]:
    names = ", ".join(f"'{owner}'" for owner in owners) or "NULL"
    return rows(ledger, f"SELECT {what} FROM attempts WHERE owner IN ({names}) {more}")


class Audited(Provider):
    """Has the ledger looked into with each request, for which money is reserved by then."""

    audit: Callable[[], None]

    def begin(self, *args: Any, **options: Any) -> Exchange:
        self.audit()
        return super().begin(*args, **options)


def heard(provider: Provider, requests: int) -> bool:
    return len(provider.log) >= requests


async def test_two_processes_on_one_ledger_are_never_admitted_over_the_limit(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "money" / "ledger.db"
    provider = Audited(dice=random.Random(1), models={"m": SPEED}, plan=Plan())
    provider.audit = lambda: seen.append(taken(ledger))
    limit = 300 * TOKEN
    seen: list[int] = []

    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)

        async def child(seed: int) -> None:
            arguments = command(server.url, ledger, "0.3", seed)
            process = await trio.lowlevel.open_process(
                arguments, stdout=subprocess.PIPE, env=environment(), cwd=ROOT
            )
            assert process.stdout is not None
            async with process.stdout:
                async for said in process.stdout:
                    told.extend(bytes(said).split())
                    provider.audit()
            assert await process.wait() == 0

        told: list[bytes] = []
        with trio.fail_after(GUARD):
            async with trio.open_nursery() as children:
                children.start_soon(child, 1)
                children.start_soon(child, 2)
        assert Counter(told)[b"ready"] == 2
        assert set(told) == {b"ready", b"complete", b"BudgetExceededError"}
        assert len(told) == 2 * (1 + ledger_child.REQUESTS)
        assert 0 < max(seen) <= limit
        billed = sum(record.sent_tokens for record in provider.log)
        assert rows(ledger, "SELECT sum(billed) FROM attempts") == [(billed * TOKEN,)]
        assert billed * TOKEN <= limit
        assert accounts_problems(ledger) == []
        await server.stop()


def taken(ledger: Path) -> int:
    found = rows(
        ledger,
        "SELECT max(spent + reserved + uncertain) FROM accounts WHERE scope = 'all'",
    )
    return int(str(found[0][0] or 0))


def test_z4_on_a_full_disk_nothing_is_admitted_until_there_is_room(tmp_path: Path) -> None:
    """On a small file system of its own, in a namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    child = ROOT / "tests" / "support" / "full_disk_child.py"
    script = (
        f"mount -t tmpfs -o size=512k,mode=700 tmpfs {tmp_path} && "
        f"exec {sys.executable} {child} {tmp_path}"
    )
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=GUARD,
        env=environment(),
        cwd=ROOT,
        check=False,
    )
    if "full:" not in ran.stdout and ("unshare:" in ran.stderr or "mount:" in ran.stderr):
        pytest.skip(f"this machine lets nobody mount: {ran.stderr.strip()}")
    assert "full: No space left on device" in ran.stdout, ran.stderr
    assert "could not be written" in ran.stdout
    assert "refused 0 times" not in ran.stdout
    assert ran.stdout.endswith("admitted again\n"), ran.stdout + ran.stderr


NAMESPACED = """
import sys, trio
from datetime import UTC
from streamnursery.core.money.ledger import Ledger
from streamnursery.storage.disk import RealDisk
from streamnursery.storage.ledger_file import LedgerFile
from streamnursery.values.budgets import Budgets
from streamnursery.values.money import Money
from tests.support.ledgers import at, row
async def main():
    budgets = Budgets(daily=Money(Money.parse("1")), ledger=sys.argv[1])
    store = LedgerFile(budgets, RealDisk(), Ledger(budgets, UTC), wall=lambda: at("2026-11-30"))
    await store.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        if sys.argv[2:]:
            await store.reserve(row("theirs", "2026-11-30"))
            print("reserved", flush=True)
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    await store.close()
trio.run(main)
"""


def test_an_owner_in_another_pid_namespace_lives_until_it_is_killed(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    tmp_path.chmod(0o700)
    ledger = tmp_path / "ledger.db"
    inside = [
        *("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"),
        *("--mount-proc", sys.executable, "-c", NAMESPACED, str(ledger)),
    ]
    theirs = subprocess.Popen(
        [*inside, "stay"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    assert theirs.stdout is not None
    assert theirs.stderr is not None
    if theirs.stdout.readline() != "reserved\n":
        theirs.wait()
        pytest.skip(f"this machine gives no namespaces: {theirs.stderr.read()[:200]}")

    def look() -> list[tuple[object, ...]]:
        subprocess.run(inside, check=True, timeout=GUARD, env=environment(), cwd=ROOT)
        return rows(ledger, "SELECT state FROM attempts")

    assert look() == [("sending",)]
    theirs.kill()
    theirs.communicate()
    # The kernel ends what ran in the namespace after the process that made it.
    while is_locked(ledger, str(rows(ledger, "SELECT id FROM owners")[0][0])):
        pass
    assert look() == [("uncertain",)]
    assert rows(ledger, "SELECT count(*) FROM owners") == [(0,)]


async def test_a_ledger_keeps_to_itself_on_a_real_disk(tmp_path: Path) -> None:
    ledger = tmp_path / "money" / "ledger.db"
    config = {
        "models": {"sim/fast": {"price": {"input": "0", "output": "1"}}},
        "budgets": {"daily": "1", "ledger": str(ledger)},
    }
    async with open_engine(config, seed=1) as engine:
        await engine.complete("sim/fast", "Hi", max_tokens=3)
        modes = {path.name: path.stat().st_mode & 0o777 for path in ledger.parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert ledger.parent.stat().st_mode & 0o777 == 0o700
    assert rows(ledger, "SELECT state FROM attempts") == [("settled",)]
    (ledger.parent / "ledger.db").chmod(0o666)
    with pytest.raises(StorageError, match="chmod 600"):
        async with open_engine(config):
            pass


def test_a_file_that_is_there_and_empty_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o700)
    ledger = tmp_path / "ledger.db"
    ledger.touch(0o600)

    async def open_and_leave() -> None:
        async with open_engine({"budgets": {"daily": "1", "ledger": str(ledger)}}, seed=1):
            pass

    for _ in range(2):  # the second time it is a ledger
        trio.run(open_and_leave)
        told = [r for r in caplog.records if "was there and is empty" in r.getMessage()]
        assert len(told) == 1


async def test_a_forked_process_has_no_ledger(tmp_path: Path) -> None:
    script = (
        "import os, sys, trio, streamnursery as sn\n"
        "async def main():\n"
        "    config = {'budgets': {'daily': '1', 'ledger': sys.argv[1]}}\n"
        "    async with sn.open_engine(config) as eng:\n"
        "        await eng.complete('sim/fast', 'Hi', max_tokens=1)\n"
        "        if os.fork() == 0:\n"
        "            try:\n"
        "                await eng._spending.store.refresh()\n"
        "            except sn.StorageError as error:\n"
        "                os._exit(7 if 'before a fork' in str(error) else 8)\n"
        "            os._exit(9)\n"
        "        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7\n"
        "trio.run(main)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "money" / "ledger.db")]
    await trio.run_process(arguments, env=environment(), cwd=ROOT)
