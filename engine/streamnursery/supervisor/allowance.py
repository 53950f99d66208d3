"""Watches one attempt outgrow the money that was reserved for it."""

import attrs

from streamnursery.core.money.settlement import AttemptEnd, received_tokens
from streamnursery.core.recovery.transcript import Transcript
from streamnursery.supervisor.ports import Reservation
from streamnursery.values.cost import CostSource
from streamnursery.values.errors import AttemptState, EngineError
from streamnursery.values.events import StreamEvent

NOTHING_SENT = AttemptEnd(AttemptState.NOT_SENT)
_FIRST_LOOK = 16
"""Content events before the text is looked at: one event may hold many tokens."""


@attrs.define(eq=False)
class Allowance:
    """What an attempt may still receive. The text is counted now and then, not per read."""

    reservation: Reservation
    transcript: Transcript
    look_at: int = attrs.field(default=_FIRST_LOOK, init=False)
    """Content events at which `outgrown` is to be asked."""
    withheld: list[StreamEvent] = attrs.field(factory=list, init=False)
    """The end of the answer, which is handed out once its cost is on the disk."""
    _before: int = attrs.field(default=0, kw_only=True)
    """Characters that earlier attempts delivered."""

    def without_end(self, events: list[StreamEvent]) -> list[StreamEvent]:
        """The last events of a whole answer, but for those that wait for the books."""
        if not self.reservation.durable:
            return events
        self.withheld = events[-1:]
        return events[:-1]

    def begin_again(self) -> None:
        """What earlier attempts delivered is void, and leaves the transcript."""
        self._before = 0

    def outgrown(self, content_events: int) -> EngineError | None:
        """Why the stream has to stop; None when there is money for more."""
        tokens = self.received(content_events)
        refused = self.reservation.grow(tokens)
        left = max(0, self.reservation.look_at - tokens)
        # Half of the way, at the tokens per event so far: a few looks for each reservation.
        self.look_at = content_events + max(1, left * content_events // (2 * max(1, tokens)))
        return refused

    def received(self, content_events: int) -> int:
        """Tokens that this attempt has delivered."""
        characters = max(0, self.transcript.characters - self._before)
        return received_tokens(content_events, characters)

    def settle(self, ending: AttemptEnd, content_events: int) -> None:
        self.reservation.settle(ending, self.received(content_events) if content_events else 0)

    def bill(self, content_events: int) -> CostSource:
        return self.reservation.bill(self.received(content_events) if content_events else 0)
