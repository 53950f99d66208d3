"""The receive end of a stream: what a consumer holds."""

from collections.abc import Iterator
from typing import NoReturn

import attrs
import trio

from streamnursery.pipeline.broadcast import REPLAY_BYTES, Broadcast
from streamnursery.pipeline.channel import ChannelStatistics
from streamnursery.pipeline.delivery import Delivery, StreamOutcome
from streamnursery.values.completion import Completion
from streamnursery.values.cost import Cost, total_cost
from streamnursery.values.errors import (
    AttemptRecord,
    EngineError,
    RequestError,
    StreamCancelledError,
)
from streamnursery.values.events import Finished, StreamEvent, TextDelta
from streamnursery.values.partial import Partial
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

_NOTHING: Iterator[StreamEvent] = iter(())


@attrs.frozen
class StreamStatistics:
    """A snapshot of one stream."""

    outcome: StreamOutcome | None
    """None while it runs."""
    waiting_for: str | None
    route: str | None
    attempts: int
    content_events: int
    buffer: ChannelStatistics


class TokenStream:
    """Iterate it inside its block: it ends after `Finished`, or raises what ended it.

    One task reads a stream. Every read after a failure raises the same error object.
    """

    __slots__ = ("_batch", "_delivery")

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._batch = _NOTHING

    def __aiter__(self) -> "TokenStream":
        return self

    async def __anext__(self) -> StreamEvent:
        # A batch is handed out without a checkpoint per event.
        delivery = self._delivery
        while True:
            if not delivery.revoked:
                for event in self._batch:
                    if type(event) is Finished:
                        delivery.complete()
                    return event
            batch = await delivery.channel.receive()
            if batch is None:
                await self._over()
            else:
                self._batch = iter(batch)

    async def receive(self) -> list[StreamEvent]:
        """The events of one read, at least one: for consumers that work by the batch.

        Raises:
            trio.EndOfChannel: `Finished` has been handed out.
            EngineError: what ended the stream.
        """
        begun = list(self._batch)
        if begun:
            # What iterating has left of its batch. A cancel here must not lose it.
            self._batch = iter(begun)
            await trio.lowlevel.checkpoint()
        while True:
            batch = [] if self._delivery.revoked else list(self._batch)
            if batch:
                if type(batch[-1]) is Finished:
                    self._delivery.complete()
                return batch
            more = await self._delivery.channel.receive()
            if more is not None:
                self._batch = iter(more)
                continue
            try:
                await self._over()
            except StopAsyncIteration:
                raise trio.EndOfChannel from None

    async def _over(self) -> NoReturn:
        """Nothing more will come: say how it ended."""
        delivery = self._delivery
        if delivery.error is not None:
            # The caller's deadline is ours too, and his own Cancelled comes first.
            await trio.lowlevel.checkpoint_if_cancelled()
            raise delivery.error.with_traceback(None)
        raise StopAsyncIteration

    def text(self) -> "TextStream":
        """The text of the answer, piece by piece.

        Raises:
            RequestError: the request asks for more than one choice, or may begin again, which text
                alone cannot tell.
        """
        if (self.request.n or 1) > 1:
            raise RequestError("text() reads one choice; with n > 1 iterate the events instead")
        if "restart" in self._delivery.on_interrupt:
            msg = (
                "text() has no place for the mark that on_interrupt='restart' sets; iterate the "
                "events, or ask for 'continue', 'resume' or 'fail'"
            )
            raise RequestError(msg)
        return TextStream(self)

    async def completion(self) -> Completion:
        """Read what is left and return the whole answer.

        Raises:
            EngineError: what ended the stream, with the partial.
        """
        try:
            while True:
                await self.receive()
        except trio.EndOfChannel:
            return self._delivery.completion()

    def cancel(self) -> None:
        """End the stream now; its reader gets `StreamCancelledError`. Idempotent."""
        self._delivery.revoke(StreamCancelledError("the stream was cancelled by cancel()"))
        self._delivery.scope.cancel()

    def detach(self) -> None:
        """Stop reading. What becomes of the answer, `on_abort` says: it is ended now, or read on
        in the background; the stream counts as cancelled in both cases. Idempotent."""
        delivery = self._delivery
        if delivery.outcome is None and not delivery.leave_to_drain():
            self.cancel()

    def broadcast(self, *, replay_bytes: int = REPLAY_BYTES) -> Broadcast:
        """Let several tasks read: `with shared.reader() as events: async for event in events`.

        A reader that comes late may begin at an earlier event, as long as that is among the last
        `replay_bytes` (as UTF-8, and 64 for each event). Who broadcasts does not read himself.

        Raises:
            RequestError: `replay_bytes` is not a whole number >= 0.
        """
        return Broadcast(self, replay_bytes)

    @property
    def number(self) -> int:
        """Of the request within its engine, from 1; records carry it as `request`."""
        return self._delivery.number

    @property
    def request(self) -> ChatRequest:
        return self._delivery.request

    @property
    def timings(self) -> Timings:
        return self._delivery.timings()

    @property
    def last_content_at(self) -> float | None:
        """When the last read with content arrived, on trio's clock."""
        return self._delivery.last_token_at

    @property
    def usage(self) -> Usage | None:
        """Tokens of all attempts, from the providers' last reports; None so far or for ever."""
        return self._delivery.usage

    @property
    def cost(self) -> Cost:
        """What the attempts that are over cost together; worked out when it is read."""
        return total_cost(self._delivery.attempts)

    @property
    def partial(self) -> Partial:
        """What has been delivered so far, read or not."""
        return self._delivery.partial()

    @property
    def route(self) -> str | None:
        """`endpoint/model` of the current attempt."""
        return self._delivery.route

    @property
    def request_id(self) -> str | None:
        """The provider's id of the HTTP exchange."""
        return self._delivery.request_id

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        return tuple(self._delivery.attempts)

    @property
    def error(self) -> EngineError | None:
        """What ended the stream, if something did."""
        return self._delivery.error

    def waiting_for(self) -> str | None:
        """What the stream waits for right now, in words; None once it has ended."""
        return None if self._delivery.outcome is not None else self._delivery.waiting_for

    def statistics(self) -> StreamStatistics:
        d = self._delivery
        return StreamStatistics(
            outcome=d.outcome,
            waiting_for=self.waiting_for(),
            route=d.route,
            attempts=len(d.attempts),
            content_events=d.content_events,
            buffer=d.channel.statistics(),
        )

    def __repr__(self) -> str:
        state = self._delivery.outcome.value if self._delivery.outcome else "running"
        return f"<TokenStream {self.request.model} {state}>"


class TextStream:
    """The text deltas of choice 0 as strings."""

    __slots__ = ("_stream",)

    def __init__(self, stream: TokenStream) -> None:
        self._stream = stream

    def __aiter__(self) -> "TextStream":
        return self

    async def __anext__(self) -> str:
        while True:
            event = await self._stream.__anext__()
            if type(event) is TextDelta:
                return event.text
