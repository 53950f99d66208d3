"""The seam to the files of a run. Everything that waits for the disk goes through `run`.

The real ones use one thread, which no cancellation abandons. Simulated ones are in memory, and
crash as a machine does: see `streamnursery.testing.sim_files`.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from streamnursery.values.errors import BatchFileError

T = TypeVar("T")


class Files(Protocol):
    """Files by their paths. All but `run` are called inside of a job of `run`, and raise
    OSError."""

    async def run(self, job: Callable[[], T]) -> T:
        """Do what waits for the disk, and return when it is done, cancelled or not."""

    def size(self, path: str) -> int | None:
        """Bytes; None where there is no such file."""

    def read(self, path: str, at: int, nbytes: int) -> bytes:
        """At most so many bytes from `at` on."""

    def create(self, path: str) -> None:
        """Make an empty file that its owner alone may read, unless there is one."""

    def append(self, path: str, data: bytes) -> None: ...

    def truncate(self, path: str, size: int) -> None: ...

    def sync(self, path: str) -> None:
        """Until the bytes of a file are on the disk (fdatasync)."""

    def sync_folder(self, path: str) -> None:
        """Until the name of a file is on the disk."""

    def replace(self, old: str, new: str) -> None:
        """Rename a file over another."""

    def remove(self, path: str) -> None: ...

    def lock(self, path: str) -> bool:
        """Whether the file is this run's alone now, until `close`."""

    def close(self) -> None:
        """Give up every lock and descriptor."""


class RealFiles:
    """The machine's own."""

    def __init__(self) -> None:
        self._one = trio.CapacityLimiter(1)
        self._open: dict[str, int] = {}

    async def run(self, job: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):
            return await trio.to_thread.run_sync(job, limiter=self._one)
        raise AssertionError("nothing cancels this scope")

    def size(self, path: str) -> int | None:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return found.st_size

    def read(self, path: str, at: int, nbytes: int) -> bytes:
        return os.pread(self._descriptor(path), nbytes, at)

    def create(self, path: str) -> None:
        self._descriptor(path, os.O_CREAT)

    def append(self, path: str, data: bytes) -> None:
        view, descriptor = memoryview(data), self._descriptor(path)
        while view:
            view = view[os.write(descriptor, view) :]

    def truncate(self, path: str, size: int) -> None:
        os.ftruncate(self._descriptor(path), size)

    def sync(self, path: str) -> None:
        os.fdatasync(self._descriptor(path))

    def sync_folder(self, path: str) -> None:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def replace(self, old: str, new: str) -> None:
        self._forget(old, new)
        os.replace(old, new)

    def remove(self, path: str) -> None:
        self._forget(path)
        os.unlink(path)

    def lock(self, path: str) -> bool:
        try:
            fcntl.flock(self._descriptor(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._forget(*self._open)

    def _descriptor(self, path: str, flags: int = 0) -> int:
        found = self._open.get(path)
        if found is None:
            mode = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            found = self._open[path] = os.open(path, mode | flags, 0o600)
        return found

    def _forget(self, *paths: str) -> None:
        for path in paths:
            descriptor = self._open.pop(path, None)
            if descriptor is not None:
                os.close(descriptor)


def unusable(path: str, what: str, error: OSError, safe: str = "") -> BatchFileError:
    """The error for a file that cannot be `what`."""
    why = error.strerror or str(error)
    return BatchFileError(f"{path} could not be {what}: {why}{safe}")
