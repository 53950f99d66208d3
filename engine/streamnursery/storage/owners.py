"""Who has a ledger open, and whether that process still lives.

A process id alone is used again, so an owner is also known by when its process began and by the
boot it belongs to. Where /proc is missing only the process id is left to look at.
"""

import os
from pathlib import Path

import attrs

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@attrs.frozen
class Owner:
    """One opening of a ledger by one process."""

    id: str
    pid: int
    started: str
    """When the process began, in clock ticks since the boot; empty where nobody tells."""
    boot: str


def this_process(name: str) -> Owner:
    pid = os.getpid()
    return Owner(name, pid, _started(pid) or "", _boot())


def lives(owner: Owner) -> bool:
    """Whether the process that `owner` stands for is still there."""
    if owner.boot != _boot():
        return False
    if owner.started:
        return _started(owner.pid) == owner.started
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's: it is there
    return True


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name stands in brackets and may hold any sign; a zombie's money nobody will settle.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
