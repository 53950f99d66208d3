"""The way to an engine, whichever world it was opened in."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from streamnursery.bridge.asks import AskTask
from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.thread import EngineThread
from streamnursery.bridge.view import ask
from streamnursery.facade import Engine
from streamnursery.values.errors import RequestError

T = TypeVar("T")


class _HostedBridge(Protocol):
    @property
    def thread(self) -> EngineThread: ...


class HostedEngine(Protocol):
    """An engine of `streamnursery.aio` or `streamnursery.sync`, which runs in another thread."""

    @property
    def _bridge(self) -> _HostedBridge: ...


AnyEngine: TypeAlias = Engine | HostedEngine


def thread_of(engine: AnyEngine) -> EngineThread | None:
    """The thread that a hosted engine runs in; None for an engine of this trio run.

    Raises:
        RequestError: it is not an engine.
    """
    if isinstance(engine, Engine):
        return None
    bridge = getattr(engine, "_bridge", None)
    if not isinstance(getattr(bridge, "thread", None), EngineThread):
        msg = f"this needs what `open_engine()` gives inside its block, not {type(engine).__name__}"
        raise RequestError(msg)
    return engine._bridge.thread


def call(engine: AnyEngine, function: Callable[[Engine], T]) -> T:
    """What `function` of the engine comes to. For a hosted engine the caller waits for a step of
    the engine's thread.

    Raises:
        EngineClosedError: a hosted engine has ended.
        RequestError: it is not an engine.
    """
    thread = thread_of(engine)
    if thread is None:
        assert isinstance(engine, Engine)
        return function(engine)
    return ask(thread, function)


def call_task(thread: EngineThread, async_fn: Callable[[Engine], Awaitable[T]]) -> T:
    """What `async_fn` of a hosted engine comes to, as a task beside it; the caller waits.

    Raises:
        EngineClosedError: the engine has ended.
    """
    host = SyncHost(thread.crossings.border)
    question = AskTask(host, async_fn)
    thread.post(question)
    while not question.box.over:
        host.wait(question.box, for_over=True)
    return question.result()
