"""One HTTP/1.1 exchange on one connection, from the request's first byte to the answer's last.

Rule 1: the connection has one owner. It is the exchange's until `_release`, which happens once,
        synchronously, and in the step in which the message ended, failed or was given up.
Rule 2: an answer says more than the way the request went: a send that fails is not an error as
        long as an answer can be read (an early 401 or 413 above all).
Rule 3: at most one party waits on the connection for reading: whoever starts or pulls, or the
        rounds that are made while the head is expected, or a sink is attached and not full.
Rule 4: a sink that raises in `feed` loses its own stream. One that raises in `end` has nobody
        left to report to, and ends the engine as a bug.
"""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import trio

from streamnursery.transport.http1_message import ResponseReader, encode_head
from streamnursery.transport.network import READ_SIZE, Connection, without_frames
from streamnursery.transport.ports import ByteSink, ConnectProgress, HeadListener
from streamnursery.transport.pump import Readers
from streamnursery.transport.reader import MOST_UNREAD
from streamnursery.transport.refused_heads import head_refusal
from streamnursery.values.errors import ConnectionLostError, EngineError
from streamnursery.values.http import HttpHead, HttpRequest

if TYPE_CHECKING:
    from streamnursery.transport.reader import Reading

DRAIN_BYTES = 64 * 1024
DRAIN_SECONDS = 0.05


class Http1Exchange:
    """A request and its response; implements `HttpResponse` once its head is there."""

    __slots__ = (
        "_live",
        "_message",
        "_nursery",
        "_on_head",
        "_paused",
        "_readers",
        "_reading",
        "_released",
        "_sent",
        "_sink",
        "_spoiled",
        "_target",
        "_unfit",
        "connection",
        "peer",
        "reused",
    )

    needs_http1 = False

    def __init__(
        self,
        connection: Connection,
        request: HttpRequest,
        nursery: trio.Nursery,
        readers: Readers,
        released: Callable[["Http1Exchange"], None],
        unfit: Callable[["Http1Exchange"], None],
        *,
        reused: bool,
    ) -> None:
        self.connection = connection
        self.peer = request.peer
        self.reused = reused
        """The connection was idle, and may have been dead."""
        self._target = request.target
        self._message = ResponseReader(request.method, request.peer.origin.authority)
        self._nursery = nursery
        self._readers = readers
        self._released = released
        self._unfit = unfit
        self._spoiled = False
        self._live = True
        """The connection is ours."""
        self._sent = False
        self._on_head: HeadListener | None = None
        self._sink: ByteSink | None = None
        self._paused = False
        self._reading: Reading | None = None
        """Rounds are being made for the sink."""

    @property
    def head(self) -> HttpHead:
        assert self._message.head is not None, "there is no head yet"
        return self._message.head

    @property
    def unseen(self) -> bool:
        """As `HttpExchange`: not one byte of an answer came on a connection that had been idle, so
        the server has perhaps never seen the request."""
        return self.reused and not self._message.received

    @property
    def reusable(self) -> bool:
        """The request went out whole and the message came back whole, and nothing else did."""
        return self._sent and self._message.reusable and not self._spoiled

    async def start(self, request: HttpRequest, progress: ConnectProgress) -> None:
        """Send `request` and wait for the final head, in the place of `send` and `expect`.

        Raises:
            EngineError: there will be no head. The connection is closed, as after cancellation.
        """
        try:
            with trio.CancelScope(deadline=progress.deadline) as watch:
                await self.send(request)
                while self._waits_for_head:
                    await self.wait_readable()
                    self._read()
            if watch.cancelled_caught:
                await self._outlast(progress)
        except BaseException:
            self.close()
            raise
        if self._message.head is None:
            self._check_failure()

    @property
    def _waits_for_head(self) -> bool:
        return self._message.head is None and self._message.failure is None

    async def _outlast(self, progress: ConnectProgress) -> None:
        """The head is late, or lies unread: the reader may not have looked until now."""
        while self._waits_for_head:
            for _ in range(MOST_UNREAD):
                if not (self._read() and self._waits_for_head):
                    break
            if self._waits_for_head:
                progress.strike()
                with trio.CancelScope(deadline=progress.deadline):
                    await self.wait_readable()

    async def send(self, request: HttpRequest) -> None:
        """As `HttpExchange`; a large body is sent by a task of its own."""
        if len(request.body) > READ_SIZE:
            self._nursery.start_soon(self._send, request)
            return
        try:
            # As a view, which shows nothing of it in a traceback.
            await self.connection.send_all(memoryview(encode_head(request) + request.body))
        except (OSError, trio.ClosedResourceError):
            return  # the answer says more
        self._sent = True

    def expect(self, on_head: HeadListener) -> None:
        """As `HttpExchange`."""
        self._on_head = on_head
        if self._waits_for_head:
            self._reading = self._readers.start(self)
        else:
            self._tell_head()

    def _tell_head(self) -> None:
        tell, self._on_head = self._on_head, None
        if tell is not None:
            head = self._message.head
            if head is None:
                tell(self._message.failure)
            else:
                tell(head_refusal(self, head, self._target))

    async def _send(self, request: HttpRequest) -> None:
        try:
            await self.connection.send_all(memoryview(encode_head(request)))
            await self.connection.send_all(memoryview(request.body))
        except (OSError, trio.ClosedResourceError):
            return  # the answer says more
        self._sent = True

    async def wait_readable(self) -> None:
        """Return when there is something to read or nothing to wait for."""
        try:
            await self.connection.wait_readable()
        except trio.ClosedResourceError:
            return  # nothing to wait for

    def _read(self) -> bool:
        """One read, if the connection is still ours and has something; whether it had."""
        if not self._live:
            return False
        message = self._message
        try:
            data = self.connection.recv_nowait(READ_SIZE)
        except trio.WouldBlock:
            return False
        except OSError as error:
            reason = error.strerror or str(error)
            message.lose(f"broke the connection ({reason})", without_frames(error))
        else:
            if data:
                message.feed(data)
            else:
                message.feed_eof()
        if message.complete or message.failure is not None:
            self._release()
        return True

    def _release(self) -> None:
        self._stop_reading()
        if self._live:
            self._live = False
            self._released(self)

    def _stop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.stop()

    def _check_failure(self) -> None:
        if self._message.failure is not None:
            raise self._message.failure.with_traceback(None)

    # The body, pulled. ----------------------------------------------------------------------

    async def receive_some(self) -> bytes:
        """As `HttpResponse`; a checkpoint in any case."""
        if self._message.has_news:
            await trio.lowlevel.checkpoint()
        while not self._message.has_news:
            await self.wait_readable()
            self._read()
        data = self._message.take()
        if not data:
            self._check_failure()
        return data

    # The body, pushed. ----------------------------------------------------------------------

    def attach(self, sink: ByteSink) -> None:
        self._sink = sink
        self._paused = False
        self._go_on()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._go_on()

    def _go_on(self) -> None:
        """Hand on what is there, and have the rest read."""
        self._deliver()
        if self._wants_more:
            self._message.forget_headers()
            if self._reading is None:
                self._reading = self._readers.start(self)

    @property
    def _wants_more(self) -> bool:
        return (self._sink is not None and not self._paused) or self._on_head is not None

    def on_readable(self) -> bool:
        """One round for the head or the sink; False ends the rounds."""
        self._read()
        if self._on_head is None:
            self._deliver()
        elif not self._waits_for_head:
            self._tell_head()
        if (self._sink is not None and not self._paused) or self._on_head is not None:
            return True
        if self._reading is not None:
            self._stop_reading()
        return False

    def poll(self) -> bool:
        """As `Readable`."""
        found = self._read()
        if self._on_head is None:
            self._deliver()
        elif not self._waits_for_head:
            self._tell_head()
        if not self._wants_more:
            self._stop_reading()
        return found

    async def catch_up(self) -> bool:
        """As `HttpResponse`."""
        if self._reading is not None:
            return await self._reading.catch_up()
        await trio.lowlevel.checkpoint()
        return False

    def _deliver(self) -> None:
        sink = self._sink
        if sink is None:
            return
        message = self._message
        data = message.take()
        if data:
            try:
                self._paused = not sink.feed(data)
            except Exception as bug:  # noqa: BLE001 - a stream's own fault must not end the others
                self._give_up("its reader failed", bug)
        if (message.complete or message.failure is not None) and self._sink is sink:
            self._sink = None
            sink.end(message.failure)

    def abandon(self, why: str, cause: BaseException | None = None) -> bool:
        """Give the answer up; False if there is no sink left to end."""
        self._give_up(why, cause)
        attached = self._sink is not None or self._on_head is not None
        self._tell_head()
        self._deliver()
        return attached

    def _give_up(self, why: str, cause: BaseException | None = None) -> None:
        error = ConnectionLostError(f"the answer of {self.peer.origin} was given up: {why}")
        error.__cause__ = cause
        self._message.fail(error)
        self._release()

    # The end. -------------------------------------------------------------------------------

    def skip_body(self) -> None:
        """Take the head for the whole answer."""
        self._message.skip_body()
        self._release()

    async def drain(
        self,
        until: float = inf,
        *,
        blank: bool = False,
        rest: Callable[[bytes], object] | None = None,
    ) -> None:
        """As `HttpResponse`; shielded."""
        if self._live:
            sink = DrainSink(self.mark_unreusable if blank else None, rest)
            self._sink, self._paused = sink, False
            if self._reading is None:
                self._read()
            self._go_on()
            if not sink.ended.is_set():
                until = min(until, trio.current_time() + DRAIN_SECONDS)
                with trio.move_on_at(until, shield=True):
                    await sink.ended.wait()
        self.close()

    def mark_unreusable(self) -> None:
        self._spoiled = True
        if not self._live:  # it went back with the last byte, before anybody looked at it
            self._unfit(self)

    def close(self) -> None:
        self._on_head = self._sink = None
        if self._live:
            self._give_up("it was closed before its end")


class DrainSink:
    """Takes what stands behind an answer, up to a bound."""

    def __init__(
        self,
        mark_unreusable: Callable[[], None] | None = None,
        rest: Callable[[bytes], object] | None = None,
    ) -> None:
        """`mark_unreusable` is called when more comes than blank lines, `rest` with all of it."""
        self._rest = rest
        self._mark_unreusable = mark_unreusable
        self.ended = trio.Event()
        self._left = DRAIN_BYTES

    def feed(self, data: bytes) -> bool:
        self._left -= len(data)
        if self._mark_unreusable is not None and data.strip():
            self._mark_unreusable()
        if self._rest is not None:
            self._rest(data)
        if self._left < 0:
            self.ended.set()
        return self._left >= 0

    def end(self, _error: EngineError | None) -> None:
        self.ended.set()
