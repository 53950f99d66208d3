"""What a coroutine that waits for the engine's thread needs of its event loop."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from streamnursery.bridge.outbox import HostOutbox, Mailbox

if TYPE_CHECKING:
    from streamnursery.pipeline.broadcast import LoopEvent


class AsyncHost(Protocol):
    """Where coroutines wait."""

    outbox: HostOutbox
    gone: Callable[[], None]
    """Called from the engine's thread when this host can be woken no more."""

    def wake(self) -> None: ...

    def now(self) -> float:
        """On the clock that `deadline=` goes by here."""

    def caller_deadline(self) -> float:
        """Of the scopes around the caller, on the same clock."""

    def task(self) -> object:
        """The one that calls."""

    async def checkpoint(self) -> None: ...

    def event(self) -> "LoopEvent":
        """A new one, for tasks of this host."""

    async def wait(self, box: Mailbox, seconds: float | None = None) -> None:
        """Until a sweep names `box`, which is parked, or for so long. A cancel ends it."""

    async def wait_shielded(
        self, box: Mailbox, done: Callable[[], bool], seconds: float, *, for_over: bool = True
    ) -> bool:
        """Until `done`, looked at with each sweep that names `box`, or for so long; whether it is.
        With `for_over` unread items do not count as news. A cancel meanwhile is delivered
        afterwards."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` here, from any thread; not at all when this host has gone."""

    def spawn(self, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> "Spawned":
        """Run a task here, which must not raise; from this host's own thread."""

    def interruption(self) -> "Interruption":
        """A way to interrupt the caller's own task."""


class Spawned(Protocol):
    """A task of a host."""

    def cancel(self) -> None:
        """From the host's own thread."""

    async def stop(self, seconds: float) -> None:
        """Cancel it, and wait for its end, but no longer."""

    async def wait(self, seconds: float) -> None:
        """Wait for its end, and no longer: then it is cancelled."""


class Interruption(Protocol):
    """Ends a block by a cancel of the task that runs it, and distinguishes that cancel from
    others."""

    def fire(self) -> None:
        """In the task's own thread. Does nothing once the block has ended."""

    def ended(self, error: BaseException | None) -> bool:
        """The block has ended, with `error`; whether that is what `fire` has done."""


def nothing() -> None:
    """What a host that has gone calls no more."""
