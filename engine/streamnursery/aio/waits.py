"""How a coroutine waits for the engine's thread, under asyncio or trio.

A cancel ends a wait at once, and what was begun is left by a call to the engine; then follows a
wait until nothing of it runs, but never longer than `SECONDS_TO_LEAVE`.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from streamnursery.bridge.asks import Ask, AskTask, Tell
from streamnursery.bridge.hosting import AsyncHost
from streamnursery.bridge.hosts import AsyncHosts
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.thread import EngineThread
from streamnursery.facade import Engine
from streamnursery.values.errors import EngineClosedError

T = TypeVar("T")

SECONDS_TO_LEAVE: Final = 0.5
"""A stream's task takes 50 ms at most to end; ten times that is an engine whose thread is held up
by somebody's observer."""

_log = logging.getLogger("streamnursery")


class Bridge:
    """An engine's thread, and the loops that use it."""

    def __init__(self, thread: EngineThread, hosts: AsyncHosts) -> None:
        self.thread = thread
        self.hosts = hosts
        self.seconds_to_leave = SECONDS_TO_LEAVE
        self.left_behind = 0
        """Blocks that were left before the engine had ended what ran in them."""

    async def ask(self, function: Callable[[Engine], T]) -> T:
        """What `function` of the engine comes to; it is called in the engine's thread."""
        host = self.hosts.current()
        return await self.answered(host, Ask(host, function))

    async def ask_task(self, function: Callable[[Engine], Awaitable[T]]) -> T:
        """The same for a coroutine function, which a cancel here cancels there."""
        host = self.hosts.current()
        question = AskTask(host, function)
        try:
            return await self.answered(host, question)
        except BaseException:
            if not question.box.over:
                await self.leave(host, question.box, question.cancel)
            raise

    async def answered(self, host: AsyncHost, question: Ask[T]) -> T:
        """Have it asked, and wait for the answer."""
        self.post(question)
        while not question.box.over:
            if host.outbox.park(question.box, for_over=True):
                await host.wait(question.box)
        return question.result()

    def post(self, call: Ask[T]) -> None:
        try:
            self.thread.post(call)
        except EngineClosedError as error:
            call.fail(error)

    def report(self, box: Mailbox) -> None:
        """A reader has done with something that a sender waits for."""
        if box.report is not None:
            self.tell(box.report)

    def tell(self, function: Callable[[], object]) -> None:
        """Have `function` called in the engine's thread, if the engine has not ended."""
        with suppress(EngineClosedError):
            self.thread.post(Tell(function))

    async def leave(
        self,
        host: AsyncHost,
        box: Mailbox,
        function: Callable[[], object],
        seconds: float | None = None,
    ) -> None:
        """Call `function` in the engine's thread, which makes an end, and wait for that end."""

        def over() -> None:
            if host.outbox.finish(box):
                host.wake()

        try:
            self.thread.post(Tell(function, over))
        except EngineClosedError:
            over()
        await self.wait_over(host, box, lambda: box.over, seconds)

    async def wait_over(
        self,
        host: AsyncHost,
        box: Mailbox,
        over: Callable[[], bool],
        seconds: float | None = None,
        *,
        for_over: bool = True,
    ) -> None:
        """Until `over`, which changes with news of `box`, but not for ever. A cancel meanwhile is
        delivered afterwards."""
        bound = self.seconds_to_leave if seconds is None else seconds
        if not await host.wait_shielded(box, over, bound, for_over=for_over):
            self.left_behind += 1
            _log.warning(
                "a block was left, and %g s later the engine had not ended what ran in it: "
                "something holds up its thread, such as an observer that blocks",
                bound,
            )
