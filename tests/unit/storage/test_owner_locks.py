"""A lock that says of a process in another PID namespace whether it lives."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from streamnursery.storage.disk import RealDisk
from streamnursery.storage.owner_locks import is_locked, lock
from streamnursery.storage.owners import LOST_SECONDS, lives, this_process
from tests.support.ledgers import ROOT

HOLDER = """
import sys
from pathlib import Path
from streamnursery.storage.owner_locks import lock
from tests.support.ledgers import ROOT
assert lock(Path(sys.argv[1]), "other") is not None
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    if lock(tmp_path / "probe", "me") is None:
        pytest.skip("this system has no locks of open file descriptions")
    return tmp_path / "ledger.db"


def test_a_lock_is_held_until_its_descriptor_is_closed(ledger: Path) -> None:
    held = lock(ledger, "me")
    assert held is not None
    assert is_locked(ledger, "me")
    assert not is_locked(ledger, "another")
    os.close(held)
    assert not is_locked(ledger, "me")


def test_closing_another_descriptor_of_the_file_gives_nothing_up(ledger: Path) -> None:
    one, two = lock(ledger, "one"), lock(ledger, "two")
    assert one is not None
    assert two is not None
    os.close(two)
    assert is_locked(ledger, "one")
    os.close(one)


def test_a_process_that_is_killed_has_given_up_its_lock(ledger: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(ledger)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine")},
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    assert is_locked(ledger, "other")
    child.kill()
    child.wait()
    assert not is_locked(ledger, "other")
    child.stdout.close()
    child.stdin.close()


def test_the_lock_decides_about_an_owner_in_another_namespace(ledger: Path) -> None:
    held = lock(ledger, "me")
    assert held is not None
    far = attrs.evolve(this_process("me"), namespace="pid:[1]", pid=1, seen=0.0)
    assert lives(far, ledger)
    os.close(held)
    assert not lives(attrs.evolve(far, seen=this_process("me").seen), ledger)


def test_without_a_lock_to_ask_for_the_heartbeat_decides(tmp_path: Path) -> None:
    now = this_process("me")
    far = attrs.evolve(now, namespace="pid:[1]", pid=1)
    nowhere = tmp_path / "ledger.db"
    assert is_locked(nowhere, "me") is None
    assert lives(far, nowhere)
    assert not lives(attrs.evolve(far, seen=now.seen - LOST_SECONDS - 60), nowhere)


def test_an_engines_disk_holds_the_lock_of_its_owner_while_it_is_there(ledger: Path) -> None:
    ledger.parent.chmod(0o700)
    disk = RealDisk()
    me = disk.owner()
    disk.connect(str(ledger)).close()
    assert is_locked(ledger, me.id)
    del disk
    assert not is_locked(ledger, me.id)
