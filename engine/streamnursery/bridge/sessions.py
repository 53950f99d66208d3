"""A session that a host holds: a task beside the engine keeps its block, another reads its events
once somebody wants them."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context, copy_context
from typing import Any, Final

import attrs
import trio

from streamnursery.bridge.channel import Wakes
from streamnursery.bridge.outbox import Mailbox, Unread
from streamnursery.bridge.thread import EngineThread
from streamnursery.facade import Engine
from streamnursery.sessions.session import Session
from streamnursery.values.errors import EngineError

AHEAD: Final = 64
"""Events that are read before their reader asks; the others stay in the session's own buffer,
which has its bounds and says what it drops."""

Beat = Callable[[], Awaitable[object]]


@attrs.frozen
class InPlace:
    """An error that is raised in the place of an event."""

    error: EngineError


class SessionHalf:
    """The engine's half. An empty batch says that the session is there; `box.over` that it is
    closed. `events` is the box of what the session receives."""

    def __init__(
        self,
        host: Wakes,
        box: Mailbox,
        open_session: Callable[[Engine], AbstractAsyncContextManager[Session]],
    ) -> None:
        self.host = host
        self.box = box
        self.events = Mailbox(report=self._look)
        self.session: Session | None = None
        """Once it is there."""
        self.error: BaseException | None = None
        """What ended it; None when its block did."""
        self._open_session = open_session
        self._context: Context = copy_context()
        self._unread = Unread(0, 0, watched=True)
        self._scope = trio.CancelScope()
        self._released = trio.Event()
        self._room = trio.Event()
        self._body_error: BaseException | None = None
        self._read = False

    def run(self, thread: EngineThread) -> None:
        self._context.run(thread.spawn, lambda: self._hold(thread), "a session of another thread")

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._finish()

    def release(self, error: BaseException | None) -> None:
        """The block has ended; in the engine's thread."""
        self._body_error = error
        self._released.set()
        if self.session is None:
            self._scope.cancel()

    def abandon(self) -> None:
        self.release(None)

    def read(self, thread: EngineThread) -> None:
        """Begin to hand over what the session receives; in the engine's thread. Idempotent."""
        if not self._read and self.session is not None:
            self._read = True
            thread.spawn(self._hand_over, "a session's events for another thread")

    async def _hold(self, thread: EngineThread) -> None:
        thread.held[self] = None
        thread.closers[self._released.set] = None
        try:
            with self._scope:
                async with self._open_session(thread.engine) as session:
                    self.session = session
                    if self.host.outbox.tell(self.box, []):
                        self.host.wake()
                    await self._released.wait()
                    if self._body_error is not None:
                        raise self._body_error  # what waits to be sent is not sent any more
        except trio.Cancelled:
            self.error = thread.closed_error()
            raise
        except BaseException as error:  # noqa: BLE001 - for the host, or its own
            self.error = None if error is self._body_error else error
        finally:
            del thread.closers[self._released.set]
            del thread.held[self]
            self._finish()

    def _finish(self) -> None:
        for box in (self.events, self.box):
            if self.host.outbox.finish(box):
                self.host.wake()

    async def _hand_over(self) -> None:
        session = self.session
        assert session is not None
        while True:
            try:
                event: Any = await anext(session)
            except StopAsyncIteration:
                error = None
                break
            except EngineError as error_in_place:
                if session.error is error_in_place:
                    error = error_in_place
                    break
                event = InPlace(error_in_place)
            wake, *_ = self.host.outbox.put(self.events, self._unread, [event], 0)
            if wake:
                self.host.wake()
            while self._unread.items >= AHEAD:
                self._room = trio.Event()
                await self._room.wait()
        if self.host.outbox.end(self.events, error):
            self.host.wake()

    def _look(self) -> None:
        self._room.set()


def beat_on(run: Callable[[Callable[[BaseException | None], None]], None]) -> Beat:
    """A heartbeat that a host runs for the engine: `run` starts it there, from the engine's
    thread, and is given what to call when it is over, from any thread, with its error."""

    async def beat() -> None:
        over = trio.Event()
        errors: list[BaseException] = []
        token = trio.lowlevel.current_trio_token()

        def done(error: BaseException | None) -> None:
            if error is not None:
                errors.append(error)
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(over.set)

        run(done)
        await over.wait()
        if errors:
            raise errors[0]

    return beat
