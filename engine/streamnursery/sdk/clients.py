"""The clients that an SDK is given. The HTTP library is imported when one is made."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streamnursery.aio.engine import AioEngine
from streamnursery.facade import Engine
from streamnursery.sdk.door import async_door, door
from streamnursery.sync.engine import SyncEngine
from streamnursery.values.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

Library: TypeAlias = Literal["httpx", "httpx2"]


def async_client(eng: Engine | AioEngine | None = None, *, library: Library | None = None) -> Any:
    """An `AsyncClient` whose requests an engine relays: `AsyncOpenAI(http_client=async_client())`.

    `eng` is a `streamnursery.aio` engine, for any event loop, or under trio the engine itself; None
    takes the engine of this process, which is opened by the first request. `library` is "httpx2" or
    "httpx"; None takes the first of them that is installed. Give the SDK `max_retries=0`: the
    engine has retried what may be retried. Closing the client leaves the engine open.

    Raises:
        ConfigError: neither library is installed, or `eng` is no such engine.
    """
    if eng is not None and not isinstance(eng, Engine | AioEngine):
        msg = (
            f"async_client takes an engine of streamnursery or streamnursery.aio, not "
            f"{type(eng).__name__}; client() takes one of streamnursery.sync"
        )
        raise ConfigError(msg)
    found = _library(library)
    # No timeout: the clocks are the engine's, and so is the wait in its queue.
    return found.AsyncClient(transport=async_door(found, eng), timeout=None)


def client(eng: SyncEngine | None = None, *, library: Library | None = None) -> Any:
    """A `Client` for plain threads whose requests an engine relays: `OpenAI(http_client=client())`.

    `eng` is a `streamnursery.sync` engine; None takes the engine of this process.

    Raises:
        ConfigError: as `async_client`.
    """
    if eng is not None and not isinstance(eng, SyncEngine):
        msg = (
            f"client takes an engine of streamnursery.sync, not {type(eng).__name__}; "
            "async_client() takes the others"
        )
        raise ConfigError(msg)
    found = _library(library)
    return found.Client(transport=door(found, eng), timeout=None)


def _library(name: Library | None) -> "ModuleType":
    for choice in ("httpx2", "httpx") if name is None else (name,):
        if choice not in ("httpx", "httpx2"):
            msg = f"library must be 'httpx' or 'httpx2', not {choice!r:.40}"
            raise ConfigError(msg)
        try:
            return import_module(choice)
        except ImportError:
            continue
    msg = f"{name or 'httpx'} is not installed: pip install {name or 'httpx'}"
    raise ConfigError(msg)
