"""`open_engine`: an engine for the length of a block."""

import math
import random
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

import trio

from streamnursery.config.plugins import installed
from streamnursery.config.prices import load_published
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.routing.router import RoutingPolicy
from streamnursery.facade.assembly import Outside
from streamnursery.facade.engine import Engine
from streamnursery.facade.limits import ConfigSource, settings_of
from streamnursery.facade.top import serve_top
from streamnursery.scheduler.money.ledger_store import LedgerStore
from streamnursery.scheduler.run.observers import Observer
from streamnursery.storage.disk import Disk, RealDisk
from streamnursery.transport.network import Network, TrioNetwork
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.errors import ConfigError, RequestError, StorageError
from streamnursery.values.settings import EngineConfig
from streamnursery.wire.dialect import Dialect
from streamnursery.wire.registry import Dialects

P = ParamSpec("P")


class EngineBlock(AbstractAsyncContextManager[Engine]):
    """`async with` around an engine."""

    def __init__(self, inner: AbstractAsyncContextManager[Engine, bool | None]) -> None:
        self._inner = inner

    # Neither adds a frame: a warning names the caller's line.
    def __aenter__(self) -> Coroutine[Any, Any, Engine]:
        return self._inner.__aenter__()

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Coroutine[Any, Any, bool | None]:
        return self._inner.__aexit__(kind, error, trace)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            msg = (
                f"open_engine() has no attribute {name!r}; it is a block that gives the engine: "
                f"`async with open_engine() as eng:`, then `eng.{name:.80}`"
            )
            raise AttributeError(msg)


def _block(opened: Callable[P, AsyncIterator[Engine]]) -> Callable[P, EngineBlock]:
    """A decorator: the engine's block, and an error that explains the argument names of other
    clients."""
    make = asynccontextmanager(opened)

    @wraps(opened)
    def open_block(*args: P.args, **kwargs: P.kwargs) -> EngineBlock:
        for name in _OTHERS.keys() & kwargs.keys():
            msg = f"open_engine() takes no {name}; {_OTHERS[name]}"
            raise ConfigError(msg)
        return EngineBlock(make(*args, **kwargs))

    return open_block


_OTHERS = {
    "api_key": 'a key belongs to an endpoint: set OPENAI_API_KEY, or open_engine({"endpoints": '
    '{"openai": {"key": sn.Secret("...")}}})',
    "base_url": "a URL belongs to an endpoint: set OPENAI_BASE_URL, or "
    'open_engine({"endpoints": {"mine": {"url": "http://host:8000/v1"}}})',
    "model": 'a model is named by each request: await eng.complete("gpt-4.1", "Hi")',
    "timeout": "time is allowed by each request, timeout=30, or in the configuration: "
    'open_engine({"defaults": {"patience": {"total": 30}}})',
    "max_retries": "retries are configured: "
    'open_engine({"defaults": {"retries": {"attempts": 3}}})',
}
"""What clients of other libraries are made with, and where it goes here."""


@_block
async def open_engine(
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
) -> AsyncIterator[Engine]:
    """An engine for the length of the block: `async with open_engine() as eng:`.

    `config` is a config value, a mapping in the shape of the TOML file, or a file's path; None
    reads the usual files and the environment. `sim/...` models need none of it. Leaving the
    block cancels what still runs; `await eng.drain()` first lets it finish.

    `seed` fixes the engine's dice; `network`, `wall` (Unix time) and `disk` (where
    `budgets.ledger` lies) replace the real ones.
    `observers` are called with every lifecycle record, `log_observer()` for one; they must not
    block, and one that raises is not called again. `router` chooses the model of a `TaskProfile`
    instead of the default rules. `dialects` are wire languages beside the built-in ones
    (docs/dialects.md). `store` makes what keeps the books of the budgets, such as a database that
    several machines share: it gets the `Ledger` with the limits, and implements `LedgerStore`.

    Raises:
        ConfigError: with every mistake at once.
        RequestError: not called under trio.
        StorageError: the ledger cannot be used; on leaving: it could not be written to its end.
    """
    _require_trio()
    await trio.lowlevel.checkpoint()
    languages = Dialects(dialects, installed)
    settings = settings_of(config, languages)
    if network is None:
        load_published(settings)
    for warning in _warnings(settings):
        warnings.warn(warning, stacklevel=3)
    outside = Outside(
        network or TrioNetwork(),
        wall,
        random.Random(seed),
        tuple(observers),
        disk or RealDisk(),
        router,
        languages,
        store,
    )
    ledgers: list[LedgerStore] = []
    try:
        with bare_errors():
            async with trio.open_nursery() as nursery:
                engine = Engine(nursery, settings, outside)
                ledgers.append(engine._spending.store)
                await engine._spending.store.open()
                nursery.start_soon(engine._spending.store.run, name="ledger")
                if settings.top_socket:
                    await nursery.start(serve_top, engine, settings.top_socket)
                try:
                    yield engine  # noqa: ASYNC119 - `_block` makes a context manager of it
                finally:
                    engine._close()
                    nursery.cancel_scope.cancel()
    except BaseException as error:
        await _close_after(ledgers, error)
        raise
    await ledgers[0].close()


def _warnings(settings: EngineConfig) -> Iterator[str]:
    """What is allowed, and should not stay so."""
    for endpoint in settings.endpoints.values():
        if endpoint.insecure:
            yield f"endpoint {endpoint.name!r} is insecure: its certificate is not checked"
        if endpoint.exposed_key_file:
            yield (
                f"endpoint {endpoint.name!r}: every user of this machine may read its key file; "
                "chmod 600 it"
            )


_LAST_SECONDS = 0.5
"""For a ledger to be closed in a program that was interrupted."""


async def _close_after(ledgers: list[LedgerStore], error: BaseException) -> None:
    """The error that ended the engine goes first, whatever the disk says."""
    # An interrupted program ends soon, whatever a store waits for.
    seconds = math.inf if isinstance(error, Exception) else _LAST_SECONDS
    for ledger in ledgers:
        with trio.move_on_after(seconds):
            try:
                await ledger.close()
            except StorageError as other:
                error.add_note(str(other))


def _require_trio() -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        msg = (
            "this is the engine for trio, and no trio runs here: under asyncio write `import "
            "streamnursery.aio as sn`, in plain threads `import streamnursery.sync as sn`, or call "
            "your main function with trio.run(main)"
        )
        raise RequestError(msg) from None
