"""A lock for each owner of a ledger: one byte of a file beside it.

Open file description locks (fcntl(2), Linux 3.15): other than POSIX record locks they are not lost
when another descriptor of the file is closed in the same process, so that two engines of one
process may use one ledger; other than flock(2) they need one file for all owners.
"""

import fcntl
import hashlib
import os
import struct
from pathlib import Path

_FLOCK = struct.Struct("@hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid."""
_SET = getattr(fcntl, "F_OFD_SETLK", None)
_GET = getattr(fcntl, "F_OFD_GETLK", None)


def lock(ledger: Path, owner: str) -> int | None:
    """Take the lock of `owner` until the descriptor that is returned is closed; None where the
    system or its file system has no such locks."""
    if _SET is None:
        return None
    try:
        descriptor = os.open(_beside(ledger), _FLAGS | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, _SET, _one_byte(owner))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(ledger: Path, owner: str) -> bool | None:
    """Whether `owner` holds its lock; None where that cannot be found out."""
    if _GET is None:
        return None
    try:
        descriptor = os.open(_beside(ledger), _FLAGS)
    except OSError:
        return None
    try:
        found = fcntl.fcntl(descriptor, _GET, _one_byte(owner))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)


def _beside(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + "-owners")


def _one_byte(owner: str) -> bytes:
    # 61 bits: two owners of one ledger have the same byte once in 10^18 pairs.
    place = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "big") >> 3
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)


_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
