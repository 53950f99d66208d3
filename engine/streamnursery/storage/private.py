"""Files of one user: 0600 in a folder of 0700, whatever the umask, no links followed."""

import os
import stat
from pathlib import Path

_NOT_OURS = stat.S_IWGRP | stat.S_IWOTH


def make_private(path: Path) -> bool:
    """Create the file and its folder where they are missing; refuse what others may change.

    Returns whether the file was there and empty.

    Raises:
        PermissionError: saying what is open to whom, and how to close it.
        OSError: the file cannot be made.
    """
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(folder, folder.stat(), f"chmod 700 {folder}")
    for companion in (path, *companions(path)):
        _refuse_link(companion)
    was_there = path.exists()
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            msg = f"{path} is no regular file; name another one"
            raise PermissionError(msg)
        _check(path, found, f"chmod 600 {path}")
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        # With a log of SQLite's beside it, an empty file is a ledger whose first pages are there.
        return was_there and not found.st_size and not companions(path)[0].exists()
    finally:
        os.close(descriptor)


def companions(path: Path) -> list[Path]:
    """What SQLite keeps beside its file, with the same rights as the file."""
    return [path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")]


def _check(path: Path, found: os.stat_result, remedy: str) -> None:
    if found.st_uid != os.geteuid():
        msg = f"{path} belongs to another user; name a place of your own"
        raise PermissionError(msg)
    if found.st_mode & _NOT_OURS:
        msg = f"others may write to {path}; {remedy}"
        raise PermissionError(msg)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        msg = f"{path} is a link, and a ledger follows none; name the file itself"
        raise PermissionError(msg)
