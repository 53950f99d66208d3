"""Ctrl-C and SIGTERM: the first ends the run cleanly, the second at once.

Rule 1: the handler is Python's and not a task, so that the second signal works even when the
        trio loop is stuck.
Rule 2: the first signal cancels the whole run; the caller reports what was done.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from streamnursery.cli.exits import CliError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


def run_trio(
    work: Callable[[], Awaitable[int]], *, on_first: Callable[[], None] | None = None
) -> int:
    """Run `work` under trio and return its exit code, or 128 + n after signal n. The first signal
    calls `on_first` in the place of cancelling.

    Raises:
        BrokenPipeError: the reader of our output went away.
        CliError: as `work` does, and never in a group.
    """
    import trio

    caught: list[int] = []

    async def root() -> int:
        token = trio.lowlevel.current_trio_token()
        code = 0
        with trio.CancelScope() as scope:

            def on_signal(signum: int, _: FrameType | None) -> None:
                caught.append(signum)
                if len(caught) > 1:
                    _leave_at_once(signum)
                token.run_sync_soon(on_first or scope.cancel)

            with _handling(on_signal):
                code = await work()
        return 128 + caught[0] if caught else code

    code = 0
    stopped: BaseException | None = None
    try:
        code = trio.run(root)
    except* (BrokenPipeError, CliError) as group:
        stopped = group
        while isinstance(stopped, BaseExceptionGroup):
            stopped = stopped.exceptions[0]
    if stopped is not None:
        raise stopped
    return code


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = [(signum, signal.signal(signum, handler)) for signum in _SIGNALS]
    try:
        yield
    finally:
        for signum, previous in before:
            signal.signal(signum, previous)


def _leave_at_once(signum: int) -> None:
    # A live screen hides the cursor, and nothing would show it again.
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and stream.isatty():
            os.write(stream.fileno(), _SHOW_CURSOR)
    os._exit(128 + signum)
