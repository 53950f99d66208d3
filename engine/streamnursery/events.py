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

__all__ = [
    "ChoiceFinished",
    "Failed",
    "Finished",
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
