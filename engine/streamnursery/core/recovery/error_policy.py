"""What may follow from an error: where its request may go, and what it says about its route."""

from enum import Enum

import attrs


class RetryScope(Enum):
    """Where a failed request may go, and where first."""

    NOWHERE = "nowhere"
    """It would fail anywhere, or the fault is on our side."""
    HERE_FIRST = "here, then onwards"
    BACKUP_FIRST = "the model's next route, then here, then onwards"
    ONWARDS_FIRST = "onwards, then here"
    OTHER_KEY = "onwards with another key"
    LARGER_WINDOW = "onwards, unless the window there is known to be too small"


class CallOutcome(Enum):
    """What a call says about its route."""

    SUCCESS = "success"
    SLOW = "slow"
    """An answer, but its first token came late."""
    FAILURE = "failure"
    IGNORED = "ignored"
    """Cancelled, or ended by something that is not the route's doing."""


@attrs.frozen
class ErrorPolicy:
    """One class of error."""

    scope: RetryScope
    outcome: CallOutcome
    """For its route's breaker. A rate limit pauses the route and does not count; a provider that
    refuses a key, a model or a prompt is alive; the total clock and the deadline are the request's
    own size and wish."""
    exit_code: int
    """Of a command that failed with it; `cli/exits.py` names the numbers."""
    means: str
    advice: str
    command: str = ""
    """What to type next on the command line; empty: run it again, or the doctor."""
    retried: str = ""
    """For the documentation, where the scope alone would mislead."""
