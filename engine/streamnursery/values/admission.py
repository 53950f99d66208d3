"""What became of a demand for slots and units, and what one waits for."""

from enum import Enum

import attrs


class AdmissionOutcome(Enum):
    """How a demand left the admission."""

    DISPATCHED = "dispatched"
    """It got everything."""
    REJECTED_CAPACITY = "rejected: capacity"
    """At once: the queue is full, or it is above a limit by itself."""
    REJECTED_DEADLINE = "rejected: deadline"
    """At once: its deadline lies before the earliest date."""
    REJECTED_BUDGET = "rejected: budget"
    """At once: it may cost more than a budget has left."""
    REJECTED_CLOSED = "rejected: closed"
    """The engine was closed or draining."""
    EVICTED_EXPIRED = "evicted: expired"
    """Its deadline passed while it waited, or a limit was lowered below what it needs."""
    EVICTED_CANCELLED = "evicted: cancelled"
    """The caller left while it waited."""


@attrs.frozen
class Explanation:
    """Why a request would wait, or does; printable."""

    model: str
    endpoint: str | None
    limit: str | None
    """The limit that binds, in words; None: nothing does, it could start now."""
    earliest: float | None
    """Seconds from now at which it could start at the earliest; None: not known, since it hangs
    on when others end, or on a limit that admits nothing."""
    ahead: int
    """Requests that wait for the same model at the same endpoint."""
    input_tokens: int
    """Estimated, as limits per minute count them."""
    output_tokens: int

    @property
    def waits_for(self) -> str | None:
        """The limit, with the date where it has one."""
        if self.limit is None or self.earliest is None:
            return self.limit
        return f"{self.limit}, in {self.earliest:.3g} s at the earliest"

    def __str__(self) -> str:
        where = self.model if self.endpoint is None else f"{self.model} at {self.endpoint}"
        size = f"about {self.input_tokens} input and {self.output_tokens} output tokens"
        if self.limit is None:
            return f"{where}: could start now ({size})"
        return f"{where}: would wait for {self.waits_for}; {self.ahead} ahead ({size})"
