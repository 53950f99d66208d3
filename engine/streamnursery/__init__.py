"""Run thousands of LLM streams at once without losing one.

    import streamnursery as sn
    import trio

    async def main():
        async with sn.open_engine() as eng:
            async with eng.stream("sim/fast", "Why is the sky blue?") as stream:
                async for text in stream.text():
                    print(text, end="")

    trio.run(main)

`streamnursery.aio` is the same for asyncio, `streamnursery.sync` for plain threads.

Public are the names here and those of the modules `aio`, `sync`, `errors`, `events`, `records`,
`settings`, `plugins`, `testing`, `simulator`, `telemetry`, `bench` and `batch`. Nothing else is.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamnursery._version import __version__ as __version__

if TYPE_CHECKING:
    from streamnursery import aio as aio
    from streamnursery import batch as batch
    from streamnursery import errors as errors
    from streamnursery import events as events
    from streamnursery import plugins as plugins
    from streamnursery import records as records
    from streamnursery import settings as settings
    from streamnursery import simulator as simulator
    from streamnursery import sync as sync
    from streamnursery import telemetry as telemetry
    from streamnursery import testing as testing
    from streamnursery._public import *

_MODULES = frozenset({
    "aio",
    "batch",
    "bench",
    "errors",
    "events",
    "plugins",
    "records",
    "settings",
    "simulator",
    "sync",
    "telemetry",
    "testing",
})


def __getattr__(name: str) -> object:
    # Loaded with the first use and not with the package: `streamnursery --help` needs none of it.
    if name in _MODULES:
        return import_module(f"streamnursery.{name}")
    if not name.startswith("_") or name == "__all__":
        public = import_module("streamnursery._public")
        if name in public.__all__ or name == "__all__":
            value = globals()[name] = getattr(public, name)
            return value
    msg = f"module 'streamnursery' has no attribute {name!r}{_moved(name)}"
    raise AttributeError(msg)


def _moved(name: str) -> str:
    """Where a name is that a reader may look for at the top."""
    for module in ("errors", "events", "plugins", "records", "settings"):
        if name in import_module(f"streamnursery.{module}").__all__:
            return f"; it is in streamnursery.{module}"
    return ""


def __dir__() -> list[str]:
    return sorted({*import_module("streamnursery._public").__all__, *_MODULES})
