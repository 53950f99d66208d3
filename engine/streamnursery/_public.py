"""The public names at the top, gathered. `streamnursery` loads this with the first one it is asked
for; a few come later, with what they alone need, such as httpx with `open_transport`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamnursery._version import __version__
from streamnursery.facade import (
    Engine,
    open_engine,
)
from streamnursery.logs import (
    JsonFormatter,
    log_observer,
)
from streamnursery.pipeline.broadcast import Broadcast
from streamnursery.pipeline.stream import TokenStream
from streamnursery.values.completion import (
    Completion,
    Outcome,
)
from streamnursery.values.errors import (
    AdmissionError,
    AuthError,
    BudgetExceededError,
    CallbackError,
    ConfigError,
    ConnectionLostError,
    ContentError,
    ContextTooLongError,
    DeadlineError,
    EngineClosedError,
    EngineError,
    ModelError,
    NetworkError,
    OverloadedError,
    PatienceError,
    ProtocolError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestError,
    ServerError,
    StorageError,
    StreamCancelledError,
    TruncatedStreamError,
)
from streamnursery.values.events import (
    ChoiceFinished,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Rerouted,
    Restarted,
    Resumed,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.money import Money
from streamnursery.values.partial import (
    Choice,
    Partial,
    ToolCall,
)
from streamnursery.values.policy import (
    Patience,
    Priority,
    Retries,
)
from streamnursery.values.request import ChatRequest
from streamnursery.values.secret import Secret
from streamnursery.values.session import SessionSettings
from streamnursery.values.settings import (
    Endpoint,
    EngineConfig,
    ModelSettings,
    Route,
)
from streamnursery.values.task import TaskProfile
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.sessions import Session
    from streamnursery.transport.http import open_transport

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
]


_LATER = {
    "JsonFormatter": "logs",
    "Session": "sessions",
    "log_observer": "logs",
    "open_transport": "transport.http",
}
"""Names that bring modules along which most programs do not need."""


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"streamnursery.{_LATER[name]}"), name)
    msg = f"module 'streamnursery' has no attribute {name!r}"
    raise AttributeError(msg)
