"""One request and its response over HTTP/2, for the task that waits for it.

Rule 1: the connection is never the exchange's. It has a stream of it, which `close` ends, well or
        with RST_STREAM, synchronously and in any state.
Rule 2: bytes are given back to the peer when the sink has taken them and wants more: a sink that
        is full holds up its own stream, and the connection reads on for the others.
Rule 3: a sink that raises in `feed` loses its own stream.
"""

from collections.abc import Callable
from math import inf
from typing import Protocol

import trio

from streamnursery.transport.http1 import DRAIN_SECONDS, DrainSink
from streamnursery.transport.http2.stream import Http2Stream
from streamnursery.transport.ports import ByteSink, ConnectProgress, HeadListener
from streamnursery.transport.reader import MOST_UNREAD
from streamnursery.transport.refused_heads import head_refusal
from streamnursery.values.errors import ConnectionLostError
from streamnursery.values.http import HttpHead, HttpRequest, Peer


class ExchangeConnection(Protocol):
    """The connection, as its exchanges know it."""

    peer: Peer

    @property
    def needs_http1(self) -> bool: ...

    def cancel(self, stream: Http2Stream) -> None:
        """Reset the stream, unless it is over."""

    def consumed(self, stream: Http2Stream, nbytes: int) -> None: ...

    async def catch_up(self) -> bool:
        """As `Reading`."""


class Http2Exchange:
    """Made by `Http2Connection.begin`; implements `HttpResponse` once its head is there."""

    def __init__(self, stream: Http2Stream, connection: ExchangeConnection, target: str) -> None:
        self.peer = connection.peer
        self._target = target
        self._on_head: HeadListener | None = None
        self._stream = stream
        self._connection = connection
        self._sink: ByteSink | None = None
        self._paused = False
        self._held = 0
        """Bytes that a full sink has taken, and that are given back when it has room."""
        self._news: trio.Event | None = None

    @property
    def head(self) -> HttpHead:
        assert self._stream.head is not None, "there is no head yet"
        return self._stream.head

    @property
    def unseen(self) -> bool:
        """As `HttpExchange`: the server has certainly done nothing with the request."""
        return self._stream.unprocessed

    @property
    def needs_http1(self) -> bool:
        """The server has said so."""
        return self._connection.needs_http1

    async def send(self, request: HttpRequest) -> None:
        """As `HttpExchange`: the connection sends it."""

    def expect(self, on_head: HeadListener) -> None:
        """As `HttpExchange`."""
        self._on_head = on_head
        self._tell_head()

    def _tell_head(self) -> None:
        tell = self._on_head
        if tell is not None and not self._waits_for_head:
            self._on_head = None
            stream = self._stream
            head = stream.head
            tell(stream.failure if head is None else head_refusal(self, head, self._target))

    async def start(self, _request: HttpRequest, progress: ConnectProgress) -> None:
        """Wait for the final head, in the place of `expect`; the body is sent meanwhile.

        Raises:
            EngineError: there will be no head. The stream is over, as after cancellation.
        """
        try:
            with trio.CancelScope(deadline=progress.deadline) as watch:
                await self._wait_for_head()
            if watch.cancelled_caught:
                await self._outlast(progress)
        except BaseException:
            self.close()
            raise
        if self._stream.head is None:
            self._check_failure()

    async def _wait_for_head(self) -> None:
        while self._waits_for_head:
            await self._wait_for_news()

    @property
    def _waits_for_head(self) -> bool:
        return self._stream.head is None and not self._stream.ended

    async def _outlast(self, progress: ConnectProgress) -> None:
        """The head is late, or lies unread on the connection."""
        while self._waits_for_head:
            for _ in range(MOST_UNREAD):
                if not (await self._connection.catch_up() and self._waits_for_head):
                    break
            if self._waits_for_head:
                progress.strike()
                with trio.CancelScope(deadline=progress.deadline):
                    await self._wait_for_head()

    async def _wait_for_news(self) -> None:
        self._news = trio.Event()
        try:
            await self._news.wait()
        finally:
            self._news = None

    def on_news(self) -> None:
        """Something has arrived for this stream, or it has ended; called once per read."""
        if self._news is not None:
            self._news.set()
        if self._on_head is not None:
            self._tell_head()
        self._deliver()

    def _check_failure(self) -> None:
        if self._stream.failure is not None:
            raise self._stream.failure.with_traceback(None)

    # The body, pulled. ----------------------------------------------------------------------

    async def receive_some(self) -> bytes:
        """As `HttpResponse`; a checkpoint in any case."""
        stream = self._stream
        if stream.has_news:
            await trio.lowlevel.checkpoint()
        while not stream.has_news:
            await self._wait_for_news()
        data = stream.take()
        if data:
            self._connection.consumed(stream, len(data))
        else:
            self._check_failure()
        return data

    # The body, pushed. ----------------------------------------------------------------------

    def attach(self, sink: ByteSink) -> None:
        self._sink = sink
        self._go_on()

    def resume(self) -> None:
        if self._paused:
            self._go_on()

    async def catch_up(self) -> bool:
        """As `HttpResponse`: of the connection, which has the bytes of other streams too."""
        return await self._connection.catch_up()

    def mark_unreusable(self) -> None:
        """As `HttpResponse`: the connection is not this answer's alone."""

    def _go_on(self) -> None:
        self._paused = False
        held, self._held = self._held, 0
        if held:
            self._connection.consumed(self._stream, held)
        self._deliver()

    def _deliver(self) -> None:
        """Hand on what is there, and the end after it."""
        stream, sink = self._stream, self._sink
        if sink is None:
            return
        while not self._paused and self._sink is sink and (data := stream.take()):
            self._feed(sink, data)
        if stream.ended and self._sink is sink and not stream.has_body:
            self._sink = None
            sink.end(stream.failure)

    def _feed(self, sink: ByteSink, data: bytes) -> None:
        try:
            self._paused = not sink.feed(data)
        except Exception as bug:  # noqa: BLE001 - a stream's own fault must not end the others
            self._give_up("its reader failed", bug)
            return
        if self._paused:
            self._held += len(data)
        else:
            self._connection.consumed(self._stream, len(data))

    # The end. -------------------------------------------------------------------------------

    def _give_up(self, why: str, cause: BaseException | None = None) -> None:
        error = ConnectionLostError(f"the answer of {self.peer.origin} was given up: {why}")
        error.__cause__ = cause
        self._stream.forget_body()
        self._stream.fail(error)
        self._connection.cancel(self._stream)

    def skip_body(self) -> None:
        """Take the head for the whole answer."""
        self._stream.forget_body()
        if not self._stream.ended:
            self._stream.complete = True
        self._connection.cancel(self._stream)

    async def drain(
        self,
        until: float = inf,
        *,
        blank: bool = False,  # noqa: ARG002
        rest: Callable[[bytes], object] | None = None,
    ) -> None:
        """As `HttpResponse`; shielded. A stream that ends by itself needs no reset."""
        if not self._stream.ended:
            sink = DrainSink(rest=rest)
            self._sink = sink
            self._go_on()
            if not sink.ended.is_set():
                until = min(until, trio.current_time() + DRAIN_SECONDS)
                with trio.move_on_at(until, shield=True):
                    await sink.ended.wait()
        self.close()

    def close(self) -> None:
        self._on_head = self._sink = None
        if self._stream.ended:
            self._stream.forget_body()
        else:
            self._give_up("it was closed before its end")
        if self._news is not None:
            self._news.set()
        self._stream.owner = None  # nothing more is told, and no circle is left
