"""The engine for scripts, notebooks and threads: the verbs of `streamnursery` as plain calls.

    import streamnursery.sync as sn

    print(sn.complete("sim/fast", "Why is the sky blue?").text)

    with sn.open_engine() as eng:
        with eng.stream("sim/fast", "Why is the sky blue?") as stream:
            for text in stream.text():
                print(text, end="")

The engine runs in its own thread (docs/sync.md). Names that are not listed here, such as
`errors` and `settings`, are those of `streamnursery`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamnursery._version import __version__ as __version__
from streamnursery.bridge.names import *
from streamnursery.sync.broadcast import SyncBroadcast as Broadcast
from streamnursery.sync.engine import SyncEngine as Engine
from streamnursery.sync.opening import (
    complete as complete,
)
from streamnursery.sync.opening import (
    open_engine as open_engine,
)
from streamnursery.sync.opening import (
    shared as shared,
)
from streamnursery.sync.opening import (
    stream as stream,
)
from streamnursery.sync.session import SyncSession as Session
from streamnursery.sync.stream import SyncTokenStream as TokenStream

if TYPE_CHECKING:
    from streamnursery.logs import JsonFormatter as JsonFormatter
    from streamnursery.logs import log_observer as log_observer
    from streamnursery.sync import batch as batch
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
    "complete",
    "log_observer",
    "open_engine",
    "open_transport",
    "shared",
    "stream",
]


def __getattr__(name: str) -> object:
    if name.startswith("_"):
        msg = f"module 'streamnursery.sync' has no attribute {name!r}"
        raise AttributeError(msg)
    if name == "batch":
        return import_module(f"{__name__}.batch")
    return getattr(import_module("streamnursery"), name)
