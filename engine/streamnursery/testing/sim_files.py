"""Files in memory that crash as a machine does, for what has to survive that.

`kill -9` proves nothing about syncing: the page cache survives it. `crash` keeps of every file what
was synced, and any subset of the 512-byte sectors written since, zeros standing for the others; of
the names that were made, renamed or removed since their folder was synced any subset is kept.
"""

import errno
import random
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

T = TypeVar("T")
SECTOR = 512


@attrs.define
class _File:
    synced: bytes = b""
    """What a crash leaves for certain."""
    data: bytearray = attrs.field(factory=bytearray)


@attrs.define
class _Change:
    """Of names, since their folder was synced."""

    name: str
    before: _File | None
    after: _File | None


class SimFiles:
    """Implements `streamnursery.batch.files.Files`."""

    def __init__(self, *, delay: float = 0.001, dice: random.Random | None = None) -> None:
        """`delay` is what a job takes, in seconds; `dice` choose what a crash keeps."""
        self.delay = delay
        self.writes = 0
        """Appends, syncs and renames so far."""
        self.fail_at: int | None = None
        """The number of the write that fails, and all after it."""
        self.failure = errno.ENOSPC
        self.crash_at: int | None = None
        """The number of the write at which the machine crashes: `Crashed` is raised."""
        self._dice = dice or random.Random(0)
        self._names: dict[str, _File] = {}
        self._changes: list[_Change] = []
        self._locks: dict[str, int] = {}
        self._holder = 0

    # What a test does. ---------------------------------------------------------------------------

    def crash(self) -> None:
        """What is found after the machine has come up again. Locks are gone."""
        for change in reversed(self._changes):
            if self._dice.random() < 0.5:
                self._set(change.name, change.before)
        self._changes.clear()
        for file in self._names.values():
            file.data = bytearray(self._survivor(file))
            file.synced = bytes(file.data)
        self._locks.clear()
        self.crash_at = self.fail_at = None

    def _survivor(self, file: _File) -> bytes:
        data, synced = bytes(file.data), file.synced
        if not data.startswith(synced):  # it was cut, and that was not synced
            return synced if self._dice.random() < 0.5 else data
        kept = bytearray(synced + bytes(len(data) - len(synced)))
        last = len(synced)
        for at in range(len(synced) // SECTOR * SECTOR, len(data), SECTOR):
            if self._dice.random() < 0.5:
                end = min(at + SECTOR, len(data))
                kept[at:end] = data[at:end]
                last = max(last, end)
        return bytes(kept[:last])

    def contents(self, path: str) -> bytes:
        """What a file holds, synced or not; empty where there is none."""
        file = self._names.get(path)
        return b"" if file is None else bytes(file.data)

    def write(self, path: str, data: bytes) -> None:
        """A file that was there before, safe from crashes."""
        self._names[path] = _File(data, bytearray(data))

    def paths(self) -> list[str]:
        return sorted(self._names)

    # What the program does. ---

    async def run(self, job: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.delay)
        return job()

    def size(self, path: str) -> int | None:
        file = self._names.get(path)
        return None if file is None else len(file.data)

    def read(self, path: str, at: int, nbytes: int) -> bytes:
        return bytes(self._file(path).data[at : at + nbytes])

    def create(self, path: str) -> None:
        if path not in self._names:
            self._step()
            self._change(path, _File())

    def append(self, path: str, data: bytes) -> None:
        file = self._file(path)
        try:
            self._step()
        except OSError:
            file.data += data[: self._dice.randint(0, len(data))]  # a full disk takes a part
            raise
        file.data += data

    def truncate(self, path: str, size: int) -> None:
        self._step()
        file = self._file(path)
        del file.data[size:]

    def sync(self, path: str) -> None:
        self._step()
        file = self._file(path)
        file.synced = bytes(file.data)

    def sync_folder(self, path: str) -> None:
        del path
        self._step()
        self._changes.clear()

    def replace(self, old: str, new: str) -> None:
        self._step()
        file = self._file(old)
        self._change(new, file)
        self._change(old, None)

    def remove(self, path: str) -> None:
        self._step()
        self._file(path)
        self._change(path, None)

    def lock(self, path: str) -> bool:
        if path in self._locks:
            return False
        self._locks[path] = 1
        return True

    def close(self) -> None:
        self._locks.clear()

    def _step(self) -> None:
        self.writes += 1
        if self.crash_at is not None and self.writes >= self.crash_at:
            raise Crashed
        if self.fail_at is not None and self.writes >= self.fail_at:
            raise OSError(self.failure, "No space left on device")

    def _file(self, path: str) -> _File:
        file = self._names.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return file

    def _change(self, path: str, file: _File | None) -> None:
        self._changes.append(_Change(path, self._names.get(path), file))
        self._set(path, file)

    def _set(self, path: str, file: _File | None) -> None:
        if file is None:
            self._names.pop(path, None)
        else:
            self._names[path] = file


class Crashed(BaseException):
    """The machine has stopped in the middle of a write."""
