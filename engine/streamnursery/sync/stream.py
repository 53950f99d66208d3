"""A stream as a plain thread reads it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

import trio

from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.json_events import event_json, failed_json
from streamnursery.bridge.outbox import Mailbox, Unread
from streamnursery.bridge.streams import StreamHalf
from streamnursery.bridge.view import StreamView
from streamnursery.bridge.words import same_words
from streamnursery.pipeline.broadcast import REPLAY_BYTES
from streamnursery.pipeline.stream import TokenStream
from streamnursery.sync.broadcast import SyncBroadcast
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.completion import Completion
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.events import Finished, StreamEvent, TextDelta

_NOTHING: Iterator[StreamEvent] = iter(())


class SyncTokenStream(StreamView):
    """Iterate it inside its block: it ends after `Finished`, or raises what ended it.

    One thread reads a stream. Every read after a failure raises the same error object.
    """

    def __init__(self, bridge: SyncBridge, host: SyncHost, half: StreamHalf) -> None:
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

    def __iter__(self) -> "SyncTokenStream":
        return self

    def __next__(self) -> StreamEvent:
        while True:
            if not self._unread.revoked:
                for event in self._batch:
                    if type(event) is Finished:
                        self._finished = True
                    return event
            if self._finished:
                raise StopIteration

            self._more()

    def _more(self) -> None:
        """The next batches, or nothing yet.

        Raises:
            StopIteration, EngineError: there are none.
        """
        box = self._box
        self._host.wait_to_read(box, self._bridge.report)
        batches, _ = self._outbox.take(box)
        if batches:
            first = batches[0][1]
            more: Iterator[StreamEvent] = (
                iter(first) if len(batches) == 1 else chain.from_iterable(b for _, b in batches)
            )
            self._batch = more
        elif box.ended:
            if box.error is not None:
                raise box.error.with_traceback(None)
            raise StopIteration

    def begun(self) -> None:
        """Until the engine has begun it.

        Raises:
            EngineError: it could not be.
        """
        while self._half.delivery is None:
            self._more()
        assert self._half.channel is not None
        self._unread = self._half.channel.unread

    @same_words(TokenStream.receive)
    def receive(self) -> list[StreamEvent]:
        while True:
            batch = [] if self._unread.revoked else list(self._batch)
            if batch:
                return batch
            try:
                self._more()
            except StopIteration:
                raise trio.EndOfChannel from None

    @same_words(TokenStream.text)
    def text(self) -> Iterator[str]:
        TokenStream(self._delivery).text()  # which reports what text alone cannot show
        return (event.text for event in self if type(event) is TextDelta)

    @same_words(TokenStream.completion, "sync")
    def completion(self) -> Completion:
        try:
            while True:
                self.receive()
        except trio.EndOfChannel:
            return self._delivery.completion()

    @same_words(TokenStream.broadcast, "sync")
    def broadcast(self, *, replay_bytes: int = REPLAY_BYTES) -> SyncBroadcast:
        return SyncBroadcast(self, replay_bytes)


class SyncStreamBlock(AbstractContextManager[SyncTokenStream]):
    """`with` around one stream: it is over, and all it held is free, when the block has been
    left. `sse()` and `lines()` give it to a web framework instead."""

    def __init__(
        self, bridge: SyncBridge, make_half: Callable[[SyncHost, Mailbox], StreamHalf]
    ) -> None:
        self._bridge = bridge
        self._make_half: Callable[[SyncHost, Mailbox], StreamHalf] | None = make_half
        self._host: SyncHost | None = None
        self._half: StreamHalf | None = None

    def __enter__(self) -> SyncTokenStream:
        make_half, self._make_half = self._make_half, None
        if make_half is None:
            raise RequestError("a stream's block can be entered once; call stream() again")
        self._host = host = self._bridge.host()
        self._half = half = make_half(host, Mailbox())
        stream = SyncTokenStream(self._bridge, host, half)
        self._bridge.thread.post(half)
        try:
            stream.begun()
        except BaseException:
            self.__exit__()
            raise
        return stream

    def __exit__(self, *_: object) -> None:
        assert self._half is not None and self._host is not None
        box, outbox = self._half.box, self._host.outbox
        try:
            if not box.over:
                self._bridge.leave(self._host, box, self._half.leave)
            elif not self._half.left:
                self._bridge.tell(self._half.leave)
        finally:
            if outbox.drop(box):
                self._bridge.report(box)

    def abandon(self) -> None:
        """Leave without waiting; from any thread, idempotent."""
        if self._half is not None:
            self._bridge.tell(self._half.leave)

    def sse(self) -> Iterator[bytes]:
        """The events as Server-Sent Events, for a response such as Django's
        `StreamingHttpResponse(eng.stream("m", "Hi").sse(), content_type="text/event-stream")`.

        Each event is one `data:` line with a JSON object, whose `event` is the kind in snake case;
        the last one is `finished` or `failed`. The generator enters the block and leaves it: at its
        end, when it is closed, and when it is dropped.
        """
        return self._served(b"data: ", b"\n\n")

    def lines(self) -> Iterator[bytes]:
        """The same as lines of JSON (`application/x-ndjson`)."""
        return self._served(b"", b"\n")

    def _served(self, before: bytes, after: bytes) -> Iterator[bytes]:
        try:
            with self as stream:
                while True:
                    events = stream.receive()
                    yield b"".join(before + event_json(event) + after for event in events)
        except trio.EndOfChannel:
            return
        except EngineError as error:  # the status has been sent: it is the last event
            yield before + failed_json(error) + after

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            msg = (
                "a stream is read inside its block: `with eng.stream(...) as stream:`, then "
                "`for event in stream:`"
            )
            raise RequestError(msg)
