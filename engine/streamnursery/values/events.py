"""What a consumer reads from a stream.

Events are msgspec structs and not attrs classes, because one is made per token: a frozen
struct costs a fifth of a frozen attrs class (docs/adr/0008).
"""

from typing import Literal, TypeAlias

import msgspec

from streamnursery.values.errors import EngineError
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.usage import Usage

FinishKind: TypeAlias = Literal[
    "stop", "length", "tool_calls", "refusal", "paused", "filtered", "other"
]
"""Why an answer ended, in the same words for every provider: by itself, or at a stop sequence; at a
limit of tokens; with calls of tools; with the model's refusal; to be sent back as it is and gone on
with; withheld by a filter of the provider's; for another reason, or for none that was given."""


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer."""

    text: str
    index: int = 0
    """Which of the `n` choices it belongs to."""


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's visible reasoning."""

    text: str
    index: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a refusal."""

    text: str
    index: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call. `arguments` is text and is never parsed by the engine."""

    tool_index: int
    id: str | None = None
    """Sent once per call, with its first piece."""
    name: str | None = None
    arguments: str = ""
    index: int = 0


class UsageReport(msgspec.Struct, frozen=True):
    """Token counts from the provider for one attempt, of which the last report counts."""

    usage: Usage


class ChoiceFinished(msgspec.Struct, frozen=True, gc=False):
    """One choice has ended. `reason` is the provider's own word."""

    index: int
    reason: str


class Rerouted(msgspec.Struct, frozen=True):
    """The request goes on at another endpoint or model. Nothing of its answer had been delivered,
    or `Restarted` or `Resumed` follows before more of it is."""

    source: str
    target: str
    why: str
    dropped: tuple[str, ...] = ()
    """Kinds of opaque parts of the request's messages that came from another dialect than the
    target's, and are not sent to it."""


class Restarted(msgspec.Struct, frozen=True):
    """What was delivered so far is void: the answer begins again. Comes right before the first
    event of the new attempt, so that what was delivered stays valid until there is a better one."""

    attempt: int
    why: str


class Resumed(msgspec.Struct, frozen=True):
    """The answer goes on in another attempt."""

    attempt: int
    at: int
    """Characters of choice 0 that had been delivered since the last `Restarted`."""


class Finished(msgspec.Struct, frozen=True):
    """Always the last event, at most once, only with the dialect's evidence of completion."""

    reason: str | None
    """Finish reason of choice 0, in the provider's own word; None when it ended without one."""
    kind: FinishKind = "other"
    """What that word means."""


class Failed(msgspec.Struct, frozen=True):
    """The last event of a failed stream among merged ones; a stream that is read alone raises
    instead."""

    error: EngineError


StreamEvent: TypeAlias = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | OpaquePart
    | UsageReport
    | ChoiceFinished
    | Rerouted
    | Restarted
    | Resumed
    | Finished
)

CONTENT = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, OpaquePart)
"""The events that commit an attempt and feed the content clock."""

MARKS = (Restarted, Resumed)
"""Text on both sides of one comes from different attempts and is never joined into one event."""
