"""Lines on their way to the files of a run, in groups.

Rule 1: one group is under way at a time: written, then synced, and only then are its lines done. So
a
        crash can tear the last group and nothing before it.
Rule 2: a write or a sync that has failed is never tried again: after a failed fdatasync the kernel
may
        have dropped the bytes and say that all is well (LWN 752063).
Rule 3: who puts a line waits while a whole group waits already.
"""

from collections.abc import Callable
from functools import partial

import attrs
import trio

from streamnursery.batch.files import Files, unusable
from streamnursery.values.errors import BatchFileError

GROUP = 256
"""Lines that are synced together at most."""
GROUP_SECONDS = 0.05
"""How long the first line of a group waits for others."""


@attrs.frozen
class _Waiting:
    path: str
    line: bytes
    synced: Callable[[], None]


class Journal:
    """Writes lines; `run` in a task, then `close`."""

    def __init__(self, files: Files) -> None:
        self.lines = 0
        """Synced so far."""
        self.error: BatchFileError | None = None
        self._files = files
        self._waiting: list[_Waiting] = []
        self._failed = trio.Event()
        self._news = trio.Event()
        self._room = trio.Event()
        self._full = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    async def put(self, path: str, line: bytes, synced: Callable[[], None]) -> None:
        """Have a line written; `synced` is called once it is safe.

        Raises:
            BatchFileError: an earlier line could not be written.
        """
        await trio.lowlevel.checkpoint()
        while len(self._waiting) >= GROUP and self.error is None:
            self._room = trio.Event()
            await self._room.wait()
        if self.error is not None:
            raise self.error
        self._waiting.append(_Waiting(path, line, synced))
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._news.set()
        if len(self._waiting) >= GROUP:
            self._full.set()

    async def run(self) -> None:
        """Write groups until a file fails or it is cancelled."""
        while self.error is None:
            await self._news.wait()
            with trio.move_on_after(GROUP_SECONDS):
                await self._full.wait()
            await self._write()

    async def wait(self, safe: trio.Event) -> None:
        """Until `safe`, which is set by a line that was put.

        Raises:
            BatchFileError: it is not, and will not be.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wake, safe, nursery.cancel_scope)
            await self._failed.wait()
        if self.error is not None and not safe.is_set():
            raise self.error

    @staticmethod
    async def _wake(safe: trio.Event, scope: trio.CancelScope) -> None:
        await safe.wait()
        scope.cancel()

    async def flush(self) -> None:
        """Until everything that was put is safe.

        Raises:
            BatchFileError: something is not.
        """
        await self._idle.wait()
        if self.error is not None:
            raise self.error

    async def finish(self) -> None:
        """Write what waits, after `run` was cancelled; not to be cancelled itself."""
        with trio.CancelScope(shield=True):
            while self._waiting and self.error is None:
                await self._write()

    async def _write(self) -> None:
        group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        if not self._waiting:
            self._news = trio.Event()
        self._full = trio.Event()
        self._room.set()
        with trio.CancelScope(shield=True):
            try:
                await self._files.run(partial(self._commit, group))
            except OSError as error:
                self.error = self._failure(group, error)
                self._failed.set()
                self._room.set()
                self._idle.set()
                return
        self.lines += len(group)
        for waiting in group:
            waiting.synced()
        if not self._waiting:
            self._idle.set()

    def _commit(self, group: list[_Waiting]) -> None:
        by_path: dict[str, list[bytes]] = {}
        for waiting in group:
            by_path.setdefault(waiting.path, []).append(waiting.line)
        for path, lines in by_path.items():
            self._files.append(path, b"".join(lines))
            self._files.sync(path)

    def _failure(self, group: list[_Waiting], error: OSError) -> BatchFileError:
        safe = f"; {self.lines} rows of this run are safe, and the same command goes on from there"
        failure = unusable(group[0].path, "written", error, safe)
        failure.__cause__ = error
        return failure
