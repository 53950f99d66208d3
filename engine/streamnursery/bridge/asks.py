"""Questions to the engine: a call in its thread, or a task there, and what came of it."""

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Generic, TypeVar

import trio

from streamnursery.bridge.channel import Wakes
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.thread import EngineThread
from streamnursery.facade import Engine

T = TypeVar("T")


class Ask(Generic[T]):
    """Calls a function of the engine in its thread. `box.over` says that it is done."""

    def __init__(self, host: Wakes, function: Callable[[Engine], T]) -> None:
        self.box = Mailbox()
        self.error: BaseException | None = None
        self._function = function
        self._host = host
        self._value: list[T] = []
        self._context: Context = copy_context()

    def run(self, thread: EngineThread) -> None:
        self.done(self._context.run(self._function, thread.engine))

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._finish()

    def done(self, value: T) -> None:
        self._value.append(value)
        self._finish()

    def result(self) -> T:
        """What it came to, once it is done."""
        if self.error is not None:
            raise self.error
        return self._value[0]

    def _finish(self) -> None:
        if self._host.outbox.finish(self.box):
            self._host.wake()


class AskTask(Ask[T]):
    """The same for a coroutine function, which runs as a task beside the engine."""

    def __init__(self, host: Wakes, function: Callable[[Engine], Awaitable[T]]) -> None:
        super().__init__(host, self._unused)
        self._async_fn = function
        self._scope = trio.CancelScope()
        self._thread: EngineThread | None = None

    @staticmethod
    def _unused(_: Engine) -> T:
        raise AssertionError

    def run(self, thread: EngineThread) -> None:
        self._thread = thread
        self._context.run(thread.spawn, self._task, "a call of another thread")

    async def _task(self) -> None:
        assert self._thread is not None
        try:
            with self._scope:
                self.done(await self._async_fn(self._thread.engine))
        except BaseException as error:
            # Cancelled: the engine is closing.
            closed = isinstance(error, trio.Cancelled)
            self.fail(self._thread.closed_error() if closed else error)
            if not isinstance(error, Exception):
                raise
        else:
            if self._scope.cancelled_caught:
                self.fail(self._thread.closed_error())

    def cancel(self) -> None:
        """In the engine's thread."""
        self._scope.cancel()


class Tell:
    """A call without an answer."""

    __slots__ = ("_function", "_otherwise")

    def __init__(
        self, function: Callable[[], object], otherwise: Callable[[], object] | None = None
    ) -> None:
        """`otherwise` is called instead when the engine has ended."""
        self._function = function
        self._otherwise = otherwise

    def run(self, _: EngineThread) -> None:
        self._function()

    def fail(self, _: BaseException) -> None:
        if self._otherwise is not None:
            self._otherwise()
