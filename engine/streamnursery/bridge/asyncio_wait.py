"""What a task of asyncio awaits until the engine has news for it."""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, TypeAlias

_Step: TypeAlias = Callable[["ReaderWait"], object]


class ReaderWait:
    """A future without a value, whose task runs on in the call of `wake`.

    A task that awaits a future of asyncio's own is put in the loop's queue by `set_result` and
    runs in its next pass: one more handle and one more poll of all sockets for each token.

    It is what asyncio takes for a future (`asyncio.isfuture`), for one task and one await.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "_over", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._over = False
        self._cancelled: asyncio.CancelledError | None = None
        self._task: _Step | None = None
        self._context: Context | None = None

    def wake(self) -> None:
        """End it; in the loop's thread. Does nothing the second time."""
        if self._over:
            return
        self._over = True
        if self._task is None:
            return
        if asyncio.current_task(self._loop) is None:
            self._run_on()
        else:  # no task may run inside another
            self._loop.call_soon(self._run_on)

    def _run_on(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            assert self._context is not None
            self._context.run(task, self)

    # For the task. -----------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, None]:
        if not self._over:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    __iter__ = __await__

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, function: _Step, *, context: Context) -> None:
        self._task, self._context = function, context
        if self._over:
            self._loop.call_soon(self._run_on)

    def remove_done_callback(self, _: object) -> int:
        task, self._task = self._task, None
        return int(task is not None)

    def done(self) -> bool:
        return self._over

    def cancelled(self) -> bool:
        return self._cancelled is not None

    def cancel(self, msg: str | None = None) -> bool:
        if self._over:
            return False
        self._over = True
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._loop.call_soon(self._run_on)
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            raise self._cancelled

    def exception(self) -> BaseException | None:
        self.result()
        return None
