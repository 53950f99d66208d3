"""The thread of one request through its breaks: what was said so far, and how it goes on.

`core/recovery/interruption` decides; this file knows the facts and makes the next way of asking.
"""

from collections.abc import Callable
from typing import TypeAlias

import attrs

from streamnursery.core.recovery.interruption import (
    Broken,
    GoOn,
    Usable,
    go_on,
    refused_for_good,
    uncontinuable,
)
from streamnursery.core.recovery.next_step import Failure, GiveUp, Step
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.attempt import Attempt
from streamnursery.supervisor.resume import AfterCursor, Asking, FromTheStart, GoOnWith
from streamnursery.values.errors import EngineError
from streamnursery.values.policy import OnInterrupt
from streamnursery.values.request import ChatRequest
from streamnursery.values.usage import Usage
from streamnursery.wire.dialect import StreamDecoder

Decide: TypeAlias = Callable[[Failure, Usable], Step]


@attrs.define(eq=False)
class Continuity:
    """Begins with the request as it was made."""

    delivery: Delivery
    asking: Asking
    """How the next attempt asks."""
    error: EngineError | None = attrs.field(default=None, init=False)
    """What broke the stream last."""
    _broken: Broken | None = attrs.field(default=None, init=False)
    _how: OnInterrupt | None = attrs.field(default=None, init=False)
    """The rung that is being tried."""
    _decoder: StreamDecoder | None = attrs.field(default=None, init=False)
    """Of the attempt that broke."""
    _said: int = attrs.field(default=0, init=False)
    """Content events since the answer began."""
    _spent: Usage | None = attrs.field(default=None, init=False)
    """Tokens of the attempt that broke."""

    def after(self, failure: Failure, attempt: Attempt | None, decide: Decide) -> GoOn | GiveUp:
        """How to go on after `failure`, of `attempt` or of a closed gate, once content was
        delivered; `asking` is changed accordingly."""
        failure = attrs.evolve(failure, committed=False)
        if attempt is not None and attempt.claimed:
            self._broke(failure, attempt)
        broken = self._broken
        assert broken is not None
        if self._how is not None and refused_for_good(self._how, failure):
            self._broken = broken = attrs.evolve(broken, refused=broken.refused | {self._how})
            failure = broken.failure
        step = go_on(self.delivery.on_interrupt, broken, lambda usable: decide(failure, usable))
        if isinstance(step, GoOn) and step.how != self._how:
            self._how = step.how
            self.asking = self._next_asking(step.how, broken)
        return step

    def _broke(self, failure: Failure, attempt: Attempt) -> None:
        spent = attempt.usage
        if self._how == "resume" and spent is not None and spent.estimated:
            spent = spent.plus(self._spent)
        if self._how == "restart":
            self._said = 0
        self._said += attempt.content_events
        self._spent, self._how, self._decoder = spent, None, attempt.decoder
        self.error = attempt.error
        self._broken = Broken(
            failure,
            attempt.stop,
            uncontinuable(self.delivery.request, self.delivery.partial(), self._said),
            resumable=self._decoder is not None and self._decoder.cursor is not None,
        )

    def _next_asking(self, how: OnInterrupt, broken: Broken) -> Asking:
        request, text = self.delivery.request, self.delivery.partial().text
        if how == "restart":
            return FromTheStart(request, broken.failure.what, self._spent)
        if how == "continue":
            return GoOnWith(_for_the_rest(request, self._said), text, self._spent)
        assert self._decoder is not None
        cursor = self._decoder.cursor
        assert cursor is not None
        return AfterCursor(request, cursor, self._decoder, len(text))


def _for_the_rest(request: ChatRequest, said: int) -> ChatRequest:
    """Of `max_tokens` what is left; a content event is a token at least."""
    if request.max_tokens is None:
        return request
    return attrs.evolve(request, max_tokens=request.max_tokens - said)
