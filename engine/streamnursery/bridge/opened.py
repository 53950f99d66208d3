"""How a thread's engine is opened, shared, and given up when its loop has gone."""

import os
import sys
import threading
import warnings
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import trio

from streamnursery.bridge.asks import Tell
from streamnursery.bridge.thread import EngineThread
from streamnursery.bridge.view import ask
from streamnursery.facade import Engine, open_engine


@attrs.frozen
class EngineOpening:
    """What `open_engine` was called with."""

    block: AbstractAsyncContextManager[Engine]
    where: tuple[str, int]
    """File and line of the caller."""
    clock: trio.abc.Clock | None = None
    """Instead of trio's own; for tests."""

    def thread(self) -> EngineThread:
        return EngineThread(lambda: self.block, clock=self.clock)


def caller_of(frames: int) -> tuple[str, int]:
    """File and line so many frames up."""
    code = sys._getframe(frames)
    return code.f_code.co_filename, code.f_lineno


def gone_with_its_loop(thread: EngineThread, host: object, where: tuple[str, int] | None) -> None:
    """`host` can be woken no more: end what it held, and the engine if `where` says that it was
    opened there. From any thread; never raises."""
    try:
        thread.post(Tell(lambda: thread.abandon(host)))
    except Exception:  # noqa: BLE001 - in order: the engine has ended before its loop, anyhow
        return
    if where is None:
        return
    thread.stop()
    message = (
        "the event loop was closed with its engine open: the streams in it were ended, and the "
        "engine closed; leave the block of open_engine() first"
    )
    try:
        warnings.warn_explicit(message, ResourceWarning, *where)
    except ResourceWarning:
        # Warnings are errors here, and no caller could take one: as in a finalizer.
        hook: Any = threading.excepthook
        hook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


class _ProcessEngine:
    """The engine of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: EngineThread | None = None


_shared = _ProcessEngine()


def shared_thread() -> EngineThread:
    """Opened by the first call in this process, and again when it has ended.

    Raises:
        ConfigError: with every mistake at once.
    """
    with _shared.lock:
        thread = _shared.thread
        if thread is None or thread.ended:
            thread = EngineThread(open_engine)
            thread.start()
            ask(thread, lambda _: None)
            _shared.thread = thread
        return thread


def _after_fork() -> None:
    # Another thread may have held the lock when we forked.
    global _shared
    _shared = _ProcessEngine()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
