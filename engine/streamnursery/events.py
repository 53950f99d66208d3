"""The events of a stream."""

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
from streamnursery.values.opaque import OpaquePart

__all__ = [
    "ChoiceFinished",
    "Failed",
    "Finished",
    "OpaquePart",
    "ReasoningDelta",
    "RefusalDelta",
    "Rerouted",
    "Restarted",
    "Resumed",
    "StreamEvent",
    "TextDelta",
    "ToolCallDelta",
    "UsageReport",
]
