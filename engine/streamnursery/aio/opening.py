"""`open_engine` for asyncio, and the engine that a process shares."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from streamnursery.aio.engine import AioEngine
from streamnursery.aio.waits import Bridge
from streamnursery.bridge.asks import Ask
from streamnursery.bridge.hosting import AsyncHost
from streamnursery.bridge.hosts import AsyncHosts
from streamnursery.bridge.opened import EngineOpening, caller_of, gone_with_its_loop, shared_thread
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.records import LoopObserver
from streamnursery.bridge.thread import EngineThread
from streamnursery.bridge.words import same_words
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.routing.router import RoutingPolicy
from streamnursery.facade import open_engine as open_trio_engine
from streamnursery.facade.limits import ConfigSource
from streamnursery.scheduler.money.ledger_store import LedgerStore
from streamnursery.scheduler.run.observers import Observer
from streamnursery.storage.disk import Disk
from streamnursery.transport.network import Network
from streamnursery.values.errors import RequestError
from streamnursery.wire.dialect import Dialect

SECONDS_TO_CLOSE = 60.0
"""An engine closes in milliseconds; one that is held up for so long is left to the process."""


class AioEngineBlock(AbstractAsyncContextManager[AioEngine]):
    """`async with` around an engine."""

    def __init__(self, opener: EngineOpening, on_loop: tuple[LoopObserver, ...]) -> None:
        self._opener: EngineOpening | None = opener
        self._on_loop = on_loop
        self._ended = Mailbox()
        self._host: AsyncHost
        self._thread: EngineThread

    async def __aenter__(self) -> AioEngine:
        opener, self._opener = self._opener, None
        if opener is None:
            raise RequestError("an engine's block can be entered once; call open_engine() again")
        self._thread = thread = opener.thread()
        hosts = AsyncHosts(thread.crossings.border, self._gone)
        self._host = host = hosts.current()
        self._where = opener.where
        for observer in self._on_loop:
            observer.bind(host.call_soon)
        thread.on_end += [self._over, hosts.close]
        bridge = Bridge(thread, hosts)
        thread.start()
        try:
            await bridge.answered(host, Ask(host, _nothing))
        except BaseException:
            await self._close()
            raise
        return AioEngine(bridge)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()
        failure = self._thread.failure
        if failure is not None and failure is not error:
            raise failure

    async def _close(self) -> None:
        self._thread.stop()
        ended, host = self._ended, self._host
        if not self._thread.ended:
            await host.wait_shielded(ended, lambda: ended.over, SECONDS_TO_CLOSE)
        if ended.over:
            self._thread.join()

    def _over(self) -> None:
        if self._host.outbox.finish(self._ended):
            self._host.wake()

    def _gone(self, host: AsyncHost) -> None:
        gone_with_its_loop(self._thread, host, self._where if host is self._host else None)


def open_engine(
    config: ConfigSource = None,
    *,
    seed: int | None = None,
    network: Network | None = None,
    wall: Callable[[], float] = time.time,
    observers: Sequence[Observer] = (),
    on_loop: bool = False,
    disk: Disk | None = None,
    router: RoutingPolicy | None = None,
    dialects: Sequence[Dialect] = (),
    store: Callable[[Ledger], LedgerStore] | None = None,
) -> AioEngineBlock:
    """See below."""
    on_this_loop = tuple(map(LoopObserver, observers)) if on_loop else ()
    block = open_trio_engine(
        config,
        seed=seed,
        network=network,
        wall=wall,
        observers=on_this_loop or observers,
        disk=disk,
        router=router,
        dialects=dialects,
        store=store,
    )
    return AioEngineBlock(EngineOpening(block, caller_of(2)), on_this_loop)


same_words(open_trio_engine, "aio")(open_engine)
assert open_engine.__doc__ is not None
open_engine.__doc__ = open_engine.__doc__.replace(
    "    Raises:",
    """    The engine runs in a thread of its own, where `observers`, `router` and `store` are
    called; with `on_loop` the observers are called on the event loop that enters the block.

    Raises:""",
    1,
).replace("not called under trio", "awaited under neither asyncio nor trio")


def shared() -> AioEngine:
    """The engine of this process: opened by the first call, with the usual configuration, and
    closed at exit. Usable from every event loop; a notebook's cell that is run again gets the same.

    Raises:
        ConfigError: with every mistake at once.
    """
    thread = shared_thread()
    found = _SHARED.get(thread)
    if found is None:
        hosts = AsyncHosts(
            thread.crossings.border, lambda host: gone_with_its_loop(thread, host, None)
        )
        thread.on_end.append(hosts.close)
        found = AioEngine(Bridge(thread, hosts))
        _SHARED.clear()
        _SHARED[thread] = found
    return found


_SHARED: dict[EngineThread, AioEngine] = {}


def _nothing(_: object) -> None:
    pass
