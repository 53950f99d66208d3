"""Files that hold one key.

Rule 1: only a regular file is read, behind links if there are any: the secrets of containers are
        links. It is opened without blocking: opening a named pipe would wait for its writer.
Rule 2: a file that every user may write is refused: its key could be another's, and would carry
        the prompts to another's account. One that every user may read is reported as such.
Rule 3: no message repeats what the file holds.
"""

import os
import stat
from pathlib import Path

import attrs

MAX_KEY_FILE = 64 * 1024
"""Bytes."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FORM = "`file` must be the path of a file with one line of plain text"


class KeyFileError(ValueError):
    """The file is there, and its key is not to be used."""


@attrs.frozen
class KeyFile:
    """What a file holds, without the end of its line, and how open it lies."""

    text: str = attrs.field(repr=False)
    readable_by_others: bool


def read_key_file(path: Path) -> KeyFile:
    """Read `path`.

    Raises:
        OSError: it cannot be opened or read.
        KeyFileError: it is not a regular file, every user may write it, or it holds no single line.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        facts = os.fstat(descriptor)
        _check(facts)
        data = os.read(descriptor, MAX_KEY_FILE + 1)
    finally:
        os.close(descriptor)
    try:
        text = data.decode("ascii").strip("\n")
    except UnicodeDecodeError:
        raise KeyFileError(_FORM) from None
    if len(data) > MAX_KEY_FILE or "\n" in text:
        raise KeyFileError(_FORM)
    return KeyFile(text, _has_modes() and bool(facts.st_mode & stat.S_IROTH))


def _check(facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise KeyFileError("`file` is no regular file (a pipe, a folder, a device); give a file")
    if _has_modes() and facts.st_mode & stat.S_IWOTH:
        raise KeyFileError("every user of this machine may write `file`; chmod 600 it")


def _has_modes() -> bool:
    """Windows has no such bits, and reports them set."""
    return os.name == "posix"
