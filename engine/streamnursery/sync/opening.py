"""`open_engine` for plain threads, and the engine that a process shares."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from streamnursery.bridge.opened import EngineOpening, caller_of, shared_thread
from streamnursery.bridge.words import same_words
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.routing.router import RoutingPolicy
from streamnursery.facade import open_engine as open_trio_engine
from streamnursery.facade.limits import ConfigSource
from streamnursery.scheduler.money.ledger_store import LedgerStore
from streamnursery.scheduler.run.observers import Observer
from streamnursery.storage.disk import Disk
from streamnursery.sync.engine import SyncEngine
from streamnursery.sync.stream import SyncStreamBlock
from streamnursery.sync.waits import SyncBridge
from streamnursery.transport.network import Network
from streamnursery.values.completion import Completion
from streamnursery.values.errors import RequestError
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import CallOptions, Prompt, UntypedOptions
from streamnursery.values.task import TaskProfile
from streamnursery.wire.dialect import Dialect

if TYPE_CHECKING:
    from streamnursery.bridge.thread import EngineThread

SECONDS_TO_CLOSE = 60.0
"""An engine closes in milliseconds; one that is held up for so long is left to the process."""


class SyncEngineBlock(AbstractContextManager[SyncEngine]):
    """`with` around an engine."""

    def __init__(self, opener: EngineOpening) -> None:
        self._opener: EngineOpening | None = opener
        self._thread: EngineThread

    def __enter__(self) -> SyncEngine:
        opener, self._opener = self._opener, None
        if opener is None:
            raise RequestError("an engine's block can be entered once; call open_engine() again")
        self._thread = thread = opener.thread()
        bridge = SyncBridge(thread)
        thread.start()
        try:
            bridge.ask(_nothing)
        except BaseException:
            self._close()
            raise
        return SyncEngine(bridge)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        failure = self._thread.failure
        if failure is not None and failure is not error:
            raise failure

    def _close(self) -> None:
        self._thread.stop()
        self._thread.join(SECONDS_TO_CLOSE)


def open_engine(
    config: ConfigSource = None,
    *,
    seed: int | None = None,
    network: Network | None = None,
    wall: Callable[[], float] = time.time,
    observers: Sequence[Observer] = (),
    disk: Disk | None = None,
    router: RoutingPolicy | None = None,
    dialects: Sequence[Dialect] = (),
    store: Callable[[Ledger], LedgerStore] | None = None,
) -> SyncEngineBlock:
    """See below."""
    block = open_trio_engine(
        config,
        seed=seed,
        network=network,
        wall=wall,
        observers=observers,
        disk=disk,
        router=router,
        dialects=dialects,
        store=store,
    )
    return SyncEngineBlock(EngineOpening(block, caller_of(2)))


same_words(open_trio_engine, "sync")(open_engine)
assert open_engine.__doc__ is not None
open_engine.__doc__ = open_engine.__doc__.replace(
    "    Raises:",
    """    The engine runs in a thread of its own, where `observers`, `router` and `store` are
    called. Any thread may use it; a stream is read by one.

    Raises:""",
    1,
).replace("        RequestError: not called under trio.\n", "")


def shared() -> SyncEngine:
    """The engine of this process: opened by the first call, with the usual configuration, and
    closed at exit. A notebook's cell that is run again gets the same one.

    Raises:
        ConfigError: with every mistake at once.
    """
    return SyncEngine(SyncBridge(shared_thread()))


P = TypeVar("P")


@overload
def complete(
    model: str | ChatRequest | TaskProfile | None = None,
    prompt: Prompt | None = None,
    *,
    response_format: type[P],
    **options: Unpack[UntypedOptions],
) -> Completion[P]: ...


@overload
def complete(
    model: str | ChatRequest | TaskProfile | None = None,
    prompt: Prompt | None = None,
    **options: Unpack[CallOptions],
) -> Completion: ...


def complete(
    model: str | ChatRequest | TaskProfile | None = None,
    prompt: Prompt | None = None,
    **options: Unpack[CallOptions],
) -> Completion:
    """The whole answer, by the `shared` engine; takes what `stream` takes.

    Raises:
        EngineError: what ended the stream, with the partial.
    """
    return shared().complete(model, prompt, **options)


def stream(
    model: str | ChatRequest | TaskProfile | None = None,
    prompt: Prompt | None = None,
    **options: Unpack[CallOptions],
) -> SyncStreamBlock:
    """Stream one answer, by the `shared` engine: as `Engine.stream`."""
    return shared().stream(model, prompt, **options)


def _nothing(_: object) -> None:
    pass
