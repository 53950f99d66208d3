"""The engine for asyncio: the verbs of `streamnursery`, awaited on your own event loop.

    import asyncio

    import streamnursery.aio as sn

    async def main():
        async with sn.open_engine() as eng:
            async with eng.stream("sim/fast", "Why is the sky blue?") as stream:
                async for text in stream.text():
                    print(text, end="")

    asyncio.run(main())

The engine runs in its own thread (docs/asyncio.md). Names that are not listed here, such as
`errors` and `settings`, are those of `streamnursery`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamnursery._public import Broadcast as Broadcast
from streamnursery._version import __version__ as __version__
from streamnursery.aio.engine import AioEngine as Engine
from streamnursery.aio.opening import open_engine as open_engine
from streamnursery.aio.opening import shared as shared
from streamnursery.aio.session import AioSession as Session
from streamnursery.aio.stream import AioTokenStream as TokenStream
from streamnursery.bridge.names import *

if TYPE_CHECKING:
    from streamnursery.aio import batch as batch
    from streamnursery.logs import JsonFormatter as JsonFormatter
    from streamnursery.logs import log_observer as log_observer
    from streamnursery.transport.http import open_transport as open_transport

__all__ = [
    "AdmissionError",
    "AuthError",
    "Broadcast",
    "BudgetExceededError",
    "CallbackError",
    "ChatRequest",
    "Choice",
    "ChoiceFinished",
    "Completion",
    "ConfigError",
    "ConnectionLostError",
    "ContentError",
    "ContextTooLongError",
    "DeadlineError",
    "Endpoint",
    "Engine",
    "EngineClosedError",
    "EngineConfig",
    "EngineError",
    "Failed",
    "Finished",
    "JsonFormatter",
    "ModelError",
    "ModelSettings",
    "Money",
    "NetworkError",
    "Outcome",
    "OverloadedError",
    "Partial",
    "Patience",
    "PatienceError",
    "Priority",
    "ProtocolError",
    "ProviderError",
    "QuotaError",
    "RateLimitedError",
    "ReasoningDelta",
    "RefusalDelta",
    "RequestError",
    "Rerouted",
    "Restarted",
    "Resumed",
    "Retries",
    "Route",
    "Secret",
    "ServerError",
    "Session",
    "SessionSettings",
    "StorageError",
    "StreamCancelledError",
    "StreamEvent",
    "TaskProfile",
    "TextDelta",
    "TokenStream",
    "ToolCall",
    "ToolCallDelta",
    "TruncatedStreamError",
    "Usage",
    "UsageReport",
    "__version__",
    "log_observer",
    "open_engine",
    "open_transport",
    "shared",
]


def __getattr__(name: str) -> object:
    if name.startswith("_"):
        msg = f"module 'streamnursery.aio' has no attribute {name!r}"
        raise AttributeError(msg)
    if name == "batch":
        return import_module(f"{__name__}.batch")
    return getattr(import_module("streamnursery"), name)
