"""One request's way to its consumer: what is delivered, what is known, how it ended.

Rule 1: a delivery is settled exactly once: complete, failed or cancelled. A second outcome
        changes nothing.
Rule 2: an expected failure travels behind the events before it. A deadline and a cancel do not
        wait their turn: unread events are dropped (`revoke`), what was put stays in the partial.
Rule 3: content put here is committed, read or not.
"""

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any

import attrs
import trio

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.pipeline.channel import Channel
from streamnursery.values.completion import Completion
from streamnursery.values.errors import (
    AttemptRecord,
    EngineClosedError,
    EngineError,
    StreamCancelledError,
)
from streamnursery.values.events import Finished, FinishKind, StreamEvent
from streamnursery.values.partial import Partial
from streamnursery.values.policy import OnInterrupt
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage


class StreamOutcome(Enum):
    """How a request ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


@attrs.frozen
class DrainBounds:
    """How far an attempt without a reader is read on."""

    seconds: float
    nbytes: int


@attrs.define(eq=False)
class Delivery:
    """Written by the engine, read through `TokenStream`."""

    request: ChatRequest
    channel: Channel[StreamEvent]
    deadline: float
    started_at: float
    on_settled: Callable[["Delivery"], None]
    on_interrupt: tuple[OnInterrupt, ...] = ("fail",)
    drain: DrainBounds | None = None
    """What `on_abort="drain"` allows; None cancels."""
    number: int = 0
    """Of the request within its engine, from 1."""
    callers_scope: bool = False
    """The deadline is that of a cancel scope around the caller: who meets it has cancelled."""
    transcript: Transcript = attrs.field(factory=Transcript, init=False)
    outcome: StreamOutcome | None = attrs.field(default=None, init=False)
    error: EngineError | None = attrs.field(default=None, init=False)
    committed: bool = attrs.field(default=False, init=False)
    finished: bool = attrs.field(default=False, init=False)
    """`Finished` was put; the answer is whole."""
    revoked: bool = attrs.field(default=False, init=False)
    """Nothing more may be handed out, not even from a batch begun."""
    attempts: list[AttemptRecord] = attrs.field(factory=list, init=False)
    route: str | None = attrs.field(default=None, init=False)
    attempt: int = attrs.field(default=0, init=False)
    """Number of the latest attempt."""
    request_id: str | None = attrs.field(default=None, init=False)
    response_id: str | None = attrs.field(default=None, init=False)
    response_model: str | None = attrs.field(default=None, init=False)
    dialect: str | None = attrs.field(default=None, init=False)
    """Of the answer, once it is whole."""
    finish_kind: FinishKind = attrs.field(default="other", init=False)
    waits: str | Callable[[], str] | None = attrs.field(default=None, init=False)
    """What for, in words, or who can say it; `waiting_for` asks."""
    admitted_at: float | None = attrs.field(default=None, init=False)
    first_token_at: float | None = attrs.field(default=None, init=False)
    last_token_at: float | None = attrs.field(default=None, init=False)
    ended_at: float | None = attrs.field(default=None, init=False)
    content_events: int = attrs.field(default=0, init=False)
    under_way: bool = attrs.field(default=False, init=False)
    """A provider may be answering right now."""
    draining: bool = attrs.field(default=False, init=False)
    """The reader has left, and the answer is read on for its usage."""
    _to_drain: int = attrs.field(default=0, init=False)
    spent: Usage | None = attrs.field(default=None, init=False)
    """Tokens of the attempts before the last mark."""
    input_estimate: int | None = attrs.field(default=None, init=False)
    """Tokens, as the latest attempt was admitted with."""
    scope: trio.CancelScope = attrs.field(init=False)
    """Around the stream's task."""
    over: bool = attrs.field(default=False, init=False)
    """The stream's task has ended."""
    counts_when_put: bool = attrs.field(default=False, init=False)
    """The deadline asks that `Finished` was put in time, and not that it was taken."""
    on_over: Callable[[], None] | None = attrs.field(default=None, init=False)
    """Called then, for a reader that is not a task of this run."""
    _leaving: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    """The task that has left the stream's block, and waits for that."""
    _settled: trio.Event | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.scope = trio.CancelScope(deadline=self.deadline)

    @property
    def waiting_for(self) -> str | None:
        """What the request waits for now, in words; None once it has ended."""
        return self.waits() if callable(self.waits) else self.waits

    def put(self, events: list[StreamEvent], nbytes: int) -> bool:
        """Deliver a batch; False when the sender must stop until the channel has room."""
        self.note(events, nbytes)
        return self.channel.put(events, nbytes)

    def note(self, events: list[StreamEvent], nbytes: int) -> None:
        """Keep what a batch says."""
        self.transcript.add(events)
        if self.draining:
            self._to_drain -= nbytes
            if self._to_drain <= 0:
                self.scope.cancel()
        if type(last := events[-1]) is Finished:
            self.finished = True
            self.finish_kind = last.kind

    def spend(self, usage: Usage | None) -> None:
        """Count the tokens of an attempt that others follow."""
        if usage is not None:
            self.spent = usage.plus(self.spent)

    def complete(self) -> None:
        """The answer is whole, and its `Finished` was put or taken in time."""
        self._settle(StreamOutcome.COMPLETE, None)

    def fail(self, error: EngineError) -> None:
        """Settle with `error`, which the consumer gets after the events before it."""
        self._settle(_outcome_of(error), error)

    def revoke(self, error: EngineError) -> None:
        """Settle with `error` now: events that were not read yet are dropped."""
        if self.outcome is None:
            self.revoked = True
            self.channel.discard()
            self._settle(_outcome_of(error), error)

    def abandon(self) -> None:
        """The consumer has left before the end."""
        message = "the stream's block was left before the stream had ended"
        self.revoke(StreamCancelledError(message))

    def leave_to_drain(self) -> bool:
        """As `abandon`, but what a provider is sending is read on; False: there is no such thing,
        and nothing was done."""
        if self.drain is None or self.outcome is not None or not self.under_way:
            return False
        self.draining = True
        self._to_drain = self.drain.nbytes
        self.scope.deadline = trio.current_time() + self.drain.seconds
        go_on = self.channel.on_room if self.channel.statistics().sender_waiting else None
        self.abandon()
        if go_on is not None:
            go_on()
        return True

    @property
    def counts_when_taken(self) -> bool:
        """The deadline counts to the last event delivered, also when the consumer is slow."""
        return self.deadline < inf and self.outcome is None and not self.counts_when_put

    async def wait_settled(self) -> None:
        """Until the request has its outcome; the consumer taking `Finished` settles it too."""
        if self.outcome is None:
            self._settled = trio.Event()
            await self._settled.wait()

    def end(self) -> None:
        """The stream's task has ended."""
        self.over = True
        if self.error is not None and len(self.error.attempts) < len(self.attempts):
            # Of a stream that was cut short, the attempt under way ends after its outcome.
            self.error.attempts = tuple(self.attempts)
        if self._leaving is not None:
            trio.lowlevel.reschedule(self._leaving)
            self._leaving = None
        if self.on_over is not None:
            self.on_over()

    async def wait_over(self) -> None:
        """Until the stream's task has ended, for who leaves its block; nothing cuts it short."""
        if self.over:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._leaving = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    @property
    def usage(self) -> Usage | None:
        """Tokens of all attempts together, as far as they are known."""
        current = self.transcript.usage
        return current.plus(self.spent) if current is not None else self.spent

    def partial(self) -> Partial:
        """What was delivered, with the tokens of all attempts."""
        return Partial(self.transcript.choices(), self.usage)

    def timings(self) -> Timings:
        return Timings(
            started_at=self.started_at,
            admitted_at=self.admitted_at,
            first_token_at=self.first_token_at,
            last_token_at=self.last_token_at,
            ended_at=self.ended_at,
            content_events=self.content_events,
        )

    def completion(self) -> Completion[Any]:
        """The whole answer; only once `finished`."""
        return Completion(
            choices=self.transcript.choices(),
            usage=self._whole_usage(),
            timings=self.timings(),
            route=self.route or "",
            model=self.response_model,
            response_id=self.response_id,
            request_id=self.request_id,
            attempts=tuple(self.attempts),
            finish_kind=self.finish_kind,
            dialect=self.dialect,
            response_format=self.request.response_format,
        )

    def _whole_usage(self) -> Usage:
        """`usage`, or our own estimate where the provider has not reported it: the input as it was
        estimated for the admission, and a token for each event of content."""
        usage = self.usage or Usage()
        if usage.input_tokens is not None and usage.output_tokens is not None:
            return usage
        spent, made = usage.input_tokens, usage.output_tokens
        return attrs.evolve(
            usage,
            input_tokens=self.input_estimate if spent is None else spent,
            output_tokens=self.content_events if made is None else made,
            estimated=True,
        )

    def _settle(self, outcome: StreamOutcome, error: EngineError | None) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        self.waits = None
        self.ended_at = trio.current_time()
        if error is not None:
            error.model = error.model or self.request.model
            error.partial = self.partial()
            error.committed = self.committed
            error.attempts = tuple(self.attempts)
            self.error = error
        if not self.revoked:  # which has discarded it
            self.channel.close()
        if self._settled is not None:
            self._settled.set()
        self.on_settled(self)


def _outcome_of(error: EngineError) -> StreamOutcome:
    # An engine that was closed has cancelled its streams; a bug has failed them.
    closed = isinstance(error, EngineClosedError) and error.__cause__ is None
    cancelled = closed or isinstance(error, StreamCancelledError)
    return StreamOutcome.CANCELLED if cancelled else StreamOutcome.FAILED
