"""One of a host's own calls among its requests: run by the host, under leases of the engine."""

from collections.abc import Callable
from typing import Any

import attrs

from streamnursery.bridge.channel import Wakes
from streamnursery.bridge.outbox import Mailbox
from streamnursery.scheduler.run.own_calls import CallTries, settled
from streamnursery.values.call_options import Call
from streamnursery.values.completion import Outcome
from streamnursery.values.errors import EngineError, StreamCancelledError


@attrs.define(eq=False)
class OwnCall:
    """Puts itself into the box once it is over, as the halves of requests do."""

    host: Wakes
    box: Mailbox
    number: int
    call: Call
    tries: CallTries = attrs.field(init=False)
    value: Any = attrs.field(default=None, init=False)
    error: EngineError | None = attrs.field(default=None, init=False)
    bug: BaseException | None = attrs.field(default=None, init=False)
    """Raised to the consumer."""
    stop: Callable[[], object] | None = attrs.field(default=None, init=False)
    """Ends what runs it; from the host."""
    started: bool = attrs.field(default=False, init=False)
    left: bool = attrs.field(default=False, init=False)
    """It is not wanted any more."""
    _told: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.tries = CallTries(self.call)

    def cancel(self) -> None:
        """From the host, outside of what runs it."""
        self.left = True
        if self.stop is not None:
            self.stop()
        if not self.started:  # a task that is cancelled before its first step takes none
            self.error = StreamCancelledError("the call was cancelled before it began")
            self.tell_over()

    def tell_over(self) -> None:
        if self._told:
            return
        self._told = True
        if self.host.outbox.tell(self.box, [self]):
            self.host.wake()

    def outcome(self) -> Outcome:
        return settled(self.number, self.tries, self.value, self.error)
