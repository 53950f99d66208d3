"""Whether the process that had a ledger open still lives."""

import subprocess
import sys

import attrs

from streamnursery.storage.owners import Owner, lives, this_process


def test_this_process_lives() -> None:
    assert lives(this_process("me"))


def test_a_process_of_another_boot_is_dead() -> None:
    assert not lives(attrs.evolve(this_process("me"), boot="another"))


def test_a_process_id_that_was_given_again_is_not_the_owner() -> None:
    me = this_process("me")
    if me.started:
        assert not lives(attrs.evolve(me, started="1"))


def test_a_process_that_has_ended_is_dead_also_before_anybody_has_looked_after_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process("me")
    started = _started(child.pid)
    owner = Owner("child", child.pid, started, me.boot, me.namespace)
    assert lives(owner)
    child.kill()
    child.wait()
    assert not lives(owner)
    assert child.stdin is not None
    child.stdin.close()


def _started(pid: int) -> str:
    from streamnursery.storage import owners

    return owners._started(pid) or ""
