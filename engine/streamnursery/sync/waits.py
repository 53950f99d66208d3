"""How a plain thread waits for the engine's thread.

Ctrl-C ends a wait in the main thread, and what was begun is left by a call to the engine; then
follows a wait until nothing of it runs, but never longer than `SECONDS_TO_LEAVE`.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from streamnursery.bridge.asks import Ask, AskTask, Tell
from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.thread import EngineThread
from streamnursery.bridge.view import ask
from streamnursery.facade import Engine
from streamnursery.values.errors import EngineClosedError

T = TypeVar("T")

SECONDS_TO_LEAVE: Final = 0.5

_log = logging.getLogger("streamnursery")


class SyncBridge:
    """An engine's thread, for the threads that use it. Each waits by its own host."""

    def __init__(self, thread: EngineThread) -> None:
        self.thread = thread
        self.seconds_to_leave = SECONDS_TO_LEAVE
        self.left_behind = 0
        """Blocks that were left before the engine had ended what ran in them."""

    def host(self) -> SyncHost:
        return SyncHost(self.thread.crossings.border)

    def ask(self, function: Callable[[Engine], T]) -> T:
        """What `function` of the engine comes to; it is called in the engine's thread."""
        return ask(self.thread, function)

    def ask_task(self, function: Callable[[Engine], Awaitable[T]]) -> T:
        """The same for a coroutine function; Ctrl-C here cancels it there."""
        host = self.host()
        question = AskTask(host, function)
        return self.answered(host, question)

    def answered(self, host: SyncHost, question: Ask[T]) -> T:
        self.thread.post(question)
        try:
            while not question.box.over:
                host.wait(question.box, for_over=True)
        except BaseException:
            if isinstance(question, AskTask):
                self.leave(host, question.box, question.cancel)
            raise
        return question.result()

    def report(self, box: Mailbox) -> None:
        """A reader has done with something that a sender waits for."""
        if box.report is not None:
            self.tell(box.report)

    def tell(self, function: Callable[[], object]) -> None:
        """Have `function` called in the engine's thread, if the engine has not ended."""
        with suppress(EngineClosedError):
            self.thread.post(Tell(function))

    def leave(
        self,
        host: SyncHost,
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
        self.wait_over(host, box, lambda: box.over, seconds)

    def wait_over(
        self,
        host: SyncHost,
        box: Mailbox,
        over: Callable[[], bool],
        seconds: float | None = None,
        *,
        for_over: bool = True,
    ) -> None:
        """Until `over`, which changes with news of `box`, but not for ever."""
        bound = self.seconds_to_leave if seconds is None else seconds
        until = time.monotonic() + bound
        while not over():
            left = until - time.monotonic()
            if left <= 0:
                self.left_behind += 1
                _log.warning(
                    "a block was left, and %g s later the engine had not ended what ran in it: "
                    "something holds up its thread, such as an observer that blocks",
                    bound,
                )
                return
            host.wait(box, for_over=for_over, seconds=left)
