"""Slots that a host holds: a task beside the engine holds them for it.

The slots stay with the host until its block has ended, also when `cancel_all` has interrupted it:
what runs in the block may still be using what they stand for.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

import trio

from streamnursery.bridge.channel import Wakes
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.thread import EngineThread
from streamnursery.facade import Engine
from streamnursery.scheduler.admission.nesting import Holding, asker, hold, holdings
from streamnursery.scheduler.run.calls import CallLease
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.scheduler.admission.lease import Lease

OpenLease = Callable[[Engine], AbstractAsyncContextManager[CallLease]]


class LeaseHalf:
    """The engine's half. An empty batch says that the slots are there, `box.over` that they
    went back."""

    def __init__(
        self,
        host: Wakes,
        box: Mailbox,
        open_lease: OpenLease,
        interrupt: Callable[[], None],
        owner: object,
    ) -> None:
        """`interrupt` is called in the engine's thread when `cancel_all` ends the call. `owner` is
        the task or thread that has the block."""
        self.box = box
        self.model = ""
        """Once the slots are there."""
        self.error: BaseException | None = None
        """What ended it; None when the block did."""
        self.host = host
        self._open_lease = open_lease
        self._interrupt = interrupt
        self._context: Context = copy_context()
        self._owner = owner
        if holdings.get():
            self._context.run(asker.set, owner)
        self._lease: Lease | None = None
        self._scope = trio.CancelScope()
        self._released = trio.Event()
        self._usage: Usage | None = None
        self._body_error: BaseException | None = None

    def run(self, thread: EngineThread) -> None:
        self._context.run(thread.spawn, lambda: self._hold(thread), "a lease of another thread")

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._finish()

    def hold(self) -> Holding:
        """The host is in its block; called there."""
        return hold(self._owner, lambda: self._lease)

    def release(self, usage: Usage | None, error: BaseException | None) -> None:
        """The block has ended; in the engine's thread. Before the slots are there it stops
        waiting for them."""
        self._usage = usage
        self._body_error = error
        self._released.set()
        if not self.model:
            self._scope.cancel()

    def abandon(self) -> None:
        self.release(None, None)

    async def _hold(self, thread: EngineThread) -> None:
        thread.held[self] = None
        thread.closers[self._released.set] = None
        try:
            with self._scope:
                block = self._open_lease(thread.engine)
                async with block as call:
                    self._lease = getattr(block, "lease", None)
                    self.model = call.model
                    if self.host.outbox.tell(self.box, []):
                        self.host.wake()
                    await self._until_released()
                    if self._usage is not None:
                        call.report(
                            input_tokens=self._usage.input_tokens or 0,
                            output_tokens=self._usage.output_tokens or 0,
                        )
                    if self._body_error is not None:
                        raise self._body_error  # counted as the failure that it is
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
        if self.host.outbox.finish(self.box):
            self.host.wake()

    async def _until_released(self) -> None:
        try:
            await self._released.wait()
        except trio.Cancelled:
            self._interrupt()
            with trio.CancelScope(shield=True):
                await self._released.wait()
            raise
