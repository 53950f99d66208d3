"""A stream as a coroutine reads it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

import trio

from streamnursery.aio.served import ServedStream
from streamnursery.aio.waits import Bridge
from streamnursery.bridge.hosting import AsyncHost
from streamnursery.bridge.outbox import Mailbox, Unread
from streamnursery.bridge.streams import StreamHalf
from streamnursery.bridge.view import StreamView
from streamnursery.bridge.words import same_words
from streamnursery.pipeline.broadcast import REPLAY_BYTES, Broadcast
from streamnursery.pipeline.stream import TokenStream
from streamnursery.values.completion import Completion
from streamnursery.values.errors import RequestError
from streamnursery.values.events import Finished, StreamEvent, TextDelta

_NOTHING: Iterator[StreamEvent] = iter(())


class AioTokenStream(StreamView):
    """Iterate it inside its block: it ends after `Finished`, or raises what ended it.

    One task reads a stream. Every read after a failure raises the same error object.
    """

    def __init__(self, bridge: Bridge, host: AsyncHost, half: StreamHalf) -> None:
        self._bridge = bridge
        self._thread = bridge.thread
        self._host = host
        self._half = half
        self._box = half.box
        self._outbox = host.outbox
        self._batch = _NOTHING
        self._unread = Unread(0, 0)
        self._finished = False
        """`Finished` was handed out."""

    def __aiter__(self) -> "AioTokenStream":
        return self

    async def __anext__(self) -> StreamEvent:
        while True:
            if not self._unread.revoked:
                for event in self._batch:
                    if type(event) is Finished:
                        self._finished = True
                    return event
            if self._finished:
                await self._host.checkpoint()
                raise StopAsyncIteration
            await self._more()

    async def _more(self, seconds: float | None = None) -> None:
        """The next batches, or nothing after so long.

        Raises:
            StopAsyncIteration, EngineError: there are none.
        """
        box = self._box
        parked, report = self._outbox.ask(box)
        if report:
            self._bridge.report(box)
        if parked:
            await self._host.wait(box, seconds)
        else:
            await self._host.checkpoint()  # before anything is taken: a cancel loses nothing
        batches, _ = self._outbox.take(box)
        if batches:
            first = batches[0][1]
            more: Iterator[StreamEvent] = (
                iter(first) if len(batches) == 1 else chain.from_iterable(b for _, b in batches)
            )
            self._batch = more
        elif box.ended:
            self._over()

    def _over(self) -> NoReturn:
        if self._box.error is not None:
            raise self._box.error.with_traceback(None)
        raise StopAsyncIteration

    @same_words(TokenStream.receive)
    async def receive(self) -> list[StreamEvent]:
        begun = list(self._batch)
        if begun:
            # What iterating has left of its batch. A cancel here must not lose it.
            self._batch = iter(begun)
            await self._host.checkpoint()
        while True:
            batch = [] if self._unread.revoked else list(self._batch)
            if batch:
                return batch
            try:
                await self._more()
            except StopAsyncIteration:
                raise trio.EndOfChannel from None

    async def begun(self) -> None:
        """Until the engine has begun it.

        Raises:
            EngineError: it could not be.
        """
        await self._more()
        assert self._half.channel is not None
        self._unread = self._half.channel.unread

    async def receive_within(self, seconds: float | None) -> list[StreamEvent]:
        """As `receive`; nothing after so long, and then `StopAsyncIteration`."""
        while True:
            events = [] if self._unread.revoked else list(self._batch)
            if events:
                return events
            await self._more(seconds)
            if seconds is not None:
                return [] if self._unread.revoked else list(self._batch)

    @same_words(TokenStream.text)
    def text(self) -> "AioTextStream":
        TokenStream(self._delivery).text()  # which reports what text alone cannot show
        return AioTextStream(self)

    @same_words(TokenStream.completion, "aio")
    async def completion(self) -> Completion:
        try:
            while True:
                await self.receive()
        except trio.EndOfChannel:
            return self._delivery.completion()

    @same_words(TokenStream.broadcast, "aio")
    def broadcast(self, *, replay_bytes: int = REPLAY_BYTES) -> Broadcast:
        host = self._host
        return Broadcast(self, replay_bytes, event=host.event, checkpoint=host.checkpoint)


class AioTextStream(AsyncIterator[str]):
    """The text deltas of choice 0 as strings."""

    __slots__ = ("_stream",)

    def __init__(self, stream: AioTokenStream) -> None:
        self._stream = stream

    def __aiter__(self) -> "AioTextStream":
        return self

    async def __anext__(self) -> str:
        while True:
            event = await self._stream.__anext__()
            if type(event) is TextDelta:
                return event.text


class AioStreamBlock(AbstractAsyncContextManager[AioTokenStream]):
    """`async with` around one stream: it is over, and all it held is free, when the block has
    been left. `sse()` and `lines()` give it to a web framework instead."""

    def __init__(
        self, bridge: Bridge, make_half: Callable[[AsyncHost, Mailbox], StreamHalf]
    ) -> None:
        self._bridge = bridge
        self._make_half: Callable[[AsyncHost, Mailbox], StreamHalf] | None = make_half
        self._host: AsyncHost | None = None
        self._half: StreamHalf | None = None

    async def __aenter__(self) -> AioTokenStream:
        make_half, self._make_half = self._make_half, None
        if make_half is None:
            raise RequestError("a stream's block can be entered once; call stream() again")
        self._host = host = self._bridge.hosts.current()
        self._half = half = make_half(host, Mailbox())
        stream = AioTokenStream(self._bridge, host, half)
        self._bridge.thread.post(half)
        try:
            await stream.begun()
        except BaseException:
            await self.__aexit__()
            raise
        return stream

    async def __aexit__(self, *_: object) -> None:
        assert self._half is not None and self._host is not None
        box, outbox = self._half.box, self._host.outbox
        try:
            if not box.over:
                await self._bridge.leave(self._host, box, self._half.leave)
            elif not self._half.left:
                self._bridge.tell(self._half.leave)
        finally:
            if outbox.drop(box):
                self._bridge.report(box)

    def abandon(self) -> None:
        """Leave without waiting; from any thread, idempotent."""
        if self._half is not None:
            self._bridge.tell(self._half.leave)

    def sse(self, *, ping: float | None = 15.0) -> "ServedStream":
        """The events as Server-Sent Events, for a response such as Starlette's
        `StreamingResponse(eng.stream("gpt-4.1", "Hi").sse(), media_type="text/event-stream")`.

        Each event is one `data:` line with a JSON object, whose `event` is the kind in snake case;
        the last one is `finished` or `failed`. The object enters the block and leaves it: when
        the answer is whole, when its iteration is cancelled or closed, and when it is dropped.
        After `ping` seconds without an event it sends a comment, by which a server notices that
        the client has gone; None sends none.
        """
        return ServedStream(self, sse=True, ping=ping)

    def lines(self) -> "ServedStream":
        """The same as lines of JSON (`application/x-ndjson`), without comments."""
        return ServedStream(self, sse=False, ping=None)

    if not TYPE_CHECKING:

        def __aiter__(self) -> NoReturn:
            msg = (
                "a stream is read inside its block: `async with eng.stream(...) as stream:`, then "
                "`async for event in stream:`"
            )
            raise RequestError(msg)
