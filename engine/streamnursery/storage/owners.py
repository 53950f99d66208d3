"""Who has a ledger open, and whether that process still lives.

Rule 1: within one PID namespace the process itself is looked at. A process id alone is used again,
        so an owner is also known by when its process began and by the boot it belongs to.
Rule 2: a process of another namespace (another container) is not to be seen in /proc. It holds a
        lock on a byte of a file beside the ledger, which the kernel gives up with the process.
Rule 3: where no such lock can be asked for, a heartbeat in the owner's row decides.
"""

import os
import time
from pathlib import Path

import attrs

from streamnursery.storage.owner_locks import is_locked

LOST_SECONDS = 90.0
"""After which an owner that writes no heartbeat counts as dead, where nothing else shows it."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = "/proc/self/ns/pid"


@attrs.frozen
class Owner:
    """One opening of a ledger by one process."""

    id: str
    pid: int
    started: str
    """When the process began, in clock ticks since the boot; empty where /proc is missing."""
    boot: str
    namespace: str = ""
    """The PID namespace that `pid` belongs to; empty where there are none."""
    seen: float = 0.0
    """Unix time of the last heartbeat."""


def this_process(name: str) -> Owner:
    """This process as it is now, as an owner called `name`."""
    pid = os.getpid()
    return Owner(name, pid, _started(pid) or "", _boot(), _namespace(), time.time())


def lives(owner: Owner, ledger: Path | None = None) -> bool:
    """Whether the process that `owner` stands for is still there. `ledger` is the file it has open,
    for owners of another PID namespace."""
    if owner.boot != _boot():
        return False
    if owner.namespace != _namespace():
        locked = None if ledger is None else is_locked(ledger, owner.id)
        return abs(time.time() - owner.seen) < LOST_SECONDS if locked is None else locked
    if owner.started:
        return _started(owner.pid) == owner.started
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's: it is there
    return True


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink(_NAMESPACE)
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name stands in brackets and may hold any sign; a zombie settles nothing any more.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
