"""Run thousands of LLM streams at once without losing one.

    import streamnursery as sn
    import trio

    async def main():
        async with sn.open_engine() as eng:
            async with eng.stream("sim/fast", "Why is the sky blue?") as stream:
                async for text in stream.text():
                    print(text, end="")

    trio.run(main)

Everything here is public, and so are `streamnursery.testing`, `streamnursery.simulator` and
`streamnursery.bench`; nothing else is.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamnursery._version import __version__ as __version__

if TYPE_CHECKING:
    from streamnursery._public import *


def __getattr__(name: str) -> object:
    # Loaded with the first use and not with the package: `streamnursery --help` needs none of it.
    if not name.startswith("_") or name == "__all__":
        public = import_module("streamnursery._public")
        if name in public.__all__ or name == "__all__":
            value = globals()[name] = getattr(public, name)
            return value
    msg = f"module 'streamnursery' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return list(import_module("streamnursery._public").__all__)
