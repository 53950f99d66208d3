"""An HTTP/2 connection and its three tasks: one reads, one writes, one keeps watch.

Rule 1: the tasks live in the transport's nursery, outside the scope of any request: a cancelled
        request leaves its RST_STREAM behind, and the writer sends it.
Rule 2: what has arrived counts first. A send that fails ends nothing but the sending: the reader
        reads on to FIN or RST, for as long as a peer may be silent.
Rule 3: no part waits for another: a read never waits for a sink, nor a stream for the writer.
Rule 4: a peer that stays silent is asked for a sign of life. One that gives none is gone.
Rule 5: it is closed once, by `_shut`, synchronously, and every open stream is ended.
"""

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import trio

from streamnursery.core.recovery.patience import LATE
from streamnursery.transport.http2.exchange import Http2Exchange
from streamnursery.transport.http2.state import Http2State
from streamnursery.transport.http2.stream import Http2Stream
from streamnursery.transport.network import READ_SIZE, Connection, without_frames
from streamnursery.transport.ports import ConnectProgress, Phase
from streamnursery.transport.pump import Readers
from streamnursery.values.errors import ConnectionLostError, EngineError, RateLimitedError
from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.http2 import Http2Settings

if TYPE_CHECKING:
    from streamnursery.transport.reader import Reading

_LAST_WORDS = 1.0
"""Seconds that a connection which failed has to say why."""


class Http2Connection:
    """Made by `Http2Book`; implements `Readable` and `Line`."""

    def __init__(
        self,
        connection: Connection,
        peer: Peer,
        settings: Http2Settings,
        changed: Callable[["Http2Connection"], None],
    ) -> None:
        """`changed` is called whenever there may be more room or less, and at the end."""
        self.peer = peer
        self.reserved = 0
        """Places that were promised; each belongs to one `begin`."""
        self.closed = False
        self.connection = connection
        self._reading: Reading | None = None
        self._settings = settings
        self._changed = changed
        self._state = Http2State(peer.origin.authority, settings)
        self._news = trio.lowlevel.ParkingLot()
        self._writer = trio.CancelScope()
        self._watch = trio.CancelScope()
        self._used = False
        self._heard_at = self._idle_since = trio.current_time()
        self._asked_at: float | None = None
        """When a sign of life was asked for that has not come."""
        self._was_late = False
        self._deaf_since: float | None = None
        """When sending failed."""
        self._seen: tuple[int, int, int, bool, str, bool] = (0, 0, 0, False, "", False)
        """What makes up its room, as last reported."""

    def start(self, nursery: trio.Nursery, readers: Readers) -> None:
        for task in (self._write, self._keep_watch):
            nursery.start_soon(self._guarded, task)
        self._reading = readers.start(self)

    @property
    def streams(self) -> int:
        """Streams that are not over."""
        return len(self._state.streams)

    @property
    def load(self) -> int:
        return self.streams + self.reserved

    @property
    def idle(self) -> bool:
        return not self.load

    @property
    def room(self) -> int:
        """Streams that could be begun beside the promised ones."""
        return 0 if self.closed else self._state.room - self.reserved

    @property
    def draining(self) -> bool:
        """It takes no new streams any more."""
        return self.closed or bool(self._state.draining) or self._state.failure is not None

    @property
    def settled(self) -> bool:
        """The peer's settings are known."""
        return self._state.settled

    @property
    def unanswered(self) -> int:
        """Streams, and promised places, to which no answer has begun."""
        return self.reserved + sum(s.head is None for s in self._state.streams.values())

    @property
    def served(self) -> int:
        """Answers that have begun here."""
        return self._state.served

    @property
    def taken(self) -> int | None:
        """Streams that the peer looked at, if it has closed without looking at all of them."""
        goodbye = self._state.goodbye
        return goodbye.taken if goodbye is not None else None

    @property
    def pinged_too_often(self) -> bool:
        """The peer has closed it and asked for calm, after we had asked for signs of life."""
        goodbye = self._state.goodbye
        return goodbye is not None and goodbye.calm and self._state.pinged

    @property
    def needs_http1(self) -> bool:
        return self._state.needs_http1

    def begin(self, request: HttpRequest, progress: ConnectProgress) -> Http2Exchange | None:
        """Use a place that was promised. None if there is none any more."""
        self.reserved -= 1
        if self.closed or not self._state.room:
            return None
        progress.enter(Phase.CONNECTED)
        progress.enter(Phase.SENDING)
        stream = self._state.open(request)
        exchange = stream.owner = Http2Exchange(stream, self, request.target)
        # Alone on a connection that was idle: it may have died meanwhile, unnoticed.
        stream.racing = self._used and self.streams == 1
        self._used = True
        self._seen = self._now()
        self._wake_writer()
        return exchange

    # What exchanges ask for. ----------------------------------------------------------------

    def cancel(self, stream: Http2Stream) -> None:
        self._state.cancel(stream)
        self._wake_writer()
        self._look()

    def consumed(self, stream: Http2Stream, nbytes: int) -> None:
        if self._state.consumed(stream, nbytes):
            self._wake_writer()

    # Reading. -------------------------------------------------------------------------------

    async def wait_readable(self) -> None:
        with suppress(trio.ClosedResourceError):
            await self.connection.wait_readable()

    def on_readable(self) -> bool:
        """One round for all streams; False ends the reader."""
        self.poll()
        return not (self.closed or self._state.failure is not None)

    def poll(self) -> bool:
        """As `Readable`."""
        if self.closed or self._state.failure is not None:
            return False
        try:
            data = self.connection.recv_nowait(READ_SIZE)
        except trio.WouldBlock:
            return False
        except OSError as error:
            reason = error.strerror or str(error)
            self._lose(f"broke the connection ({reason}); try again", without_frames(error))
            return True
        if not data:
            self._lose("closed the connection before the end of the answer; try again")
            return True
        self._heard_at, self._asked_at = trio.current_time(), None
        self._tell(self._state.receive(data, self._heard_at))
        if self._state.failure is not None:
            self._end_with_last_words()
        else:
            self._wake_writer()
            self._look()
        return True

    async def catch_up(self) -> bool:
        """As `Reading`: of what has arrived for any stream."""
        if self._reading is not None:
            return await self._reading.catch_up()
        await trio.lowlevel.checkpoint()
        return False

    def abandon(self, why: str, cause: BaseException | None = None) -> bool:
        """End it at once; False if there was no stream to end."""
        told = bool(self._state.streams)
        self._lose(f"has lost the connection: {why}", cause)
        return told

    def _tell(self, news: list[Http2Stream]) -> None:
        for stream in news:
            if stream.owner is not None:
                stream.owner.on_news()

    def _lose(
        self,
        what: str,
        cause: BaseException | None = None,
        kind: type[EngineError] = ConnectionLostError,
    ) -> None:
        goodbye = self._state.goodbye
        if goodbye is not None and goodbye.calm and kind is ConnectionLostError:
            kind, what = RateLimitedError, f"{what}; it asks for calm ({goodbye.why})"
        lost = self._state.lose(kind, what, cause)
        for stream in lost:
            stream.unprocessed = stream.racing and not stream.received
        self._shut()
        self._tell(lost)

    def _end_with_last_words(self) -> None:
        """The peer broke the protocol: say so, but do not wait for it."""
        if self._deaf_since is not None:
            self._shut()
            return
        self._writer.deadline = trio.current_time() + _LAST_WORDS
        self._wake_writer()
        self._look()

    def _shut(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self._reading is not None:
            self._reading.stop()
        self.connection.close()
        self._watch.cancel()
        self._writer.cancel()
        self._changed(self)

    def _now(self) -> tuple[int, int, int, bool, str, bool]:
        state = self._state
        failed = state.failure is not None
        streams = len(state.streams)
        return streams, state.served, state.limit, state.settled, state.draining, failed

    def _look(self) -> None:
        """After anything that may have changed how much room there is."""
        state, seen = self._state, self._now()
        if self.closed or seen == self._seen:
            return
        self._seen = seen
        if not state.streams:
            self._idle_since = trio.current_time()
            self._watch.deadline = min(self._watch.deadline, self._next_look())
            if (state.draining or self._deaf_since is not None) and state.failure is None:
                self._shut()
                return
        self._changed(self)

    # Writing. -------------------------------------------------------------------------------

    def _wake_writer(self) -> None:
        if self._state.outbox.pending and self._news:
            self._news.unpark()

    async def _write(self) -> None:
        try:
            with self._writer:
                await self._write_on()
        finally:
            if self._state.failure is not None:
                self._shut()

    async def _write_on(self) -> None:
        """Until sending fails, or the last words have been said."""
        state = self._state
        while self._deaf_since is None:
            data = memoryview(state.output())  # which shows nothing of it in a traceback
            if data:
                await self._send(data)
            elif state.failure is not None:
                return
            else:
                await self._news.park()

    async def _send(self, data: memoryview) -> None:
        try:
            await self.connection.send_all(data)
        except (OSError, trio.ClosedResourceError):
            self._deaf_since = trio.current_time()
            self._state.draining = self._state.draining or "sending failed"
            self._watch.deadline = -inf
            self._look()

    # Watching. ------------------------------------------------------------------------------

    def _next_look(self) -> float:
        """When this connection has to be looked at again, if nothing happens until then."""
        settings = self._settings
        if self._deaf_since is not None:
            return self._deaf_since + settings.ping_timeout
        if self._asked_at is not None:
            date = self._asked_at + settings.ping_timeout
        else:
            date = self._heard_at + settings.ping_after
        return min(date, self._idle_since + settings.idle) if self.idle else date

    async def _keep_watch(self) -> None:
        while not self.closed:
            with trio.CancelScope(deadline=self._next_look()) as self._watch:
                await trio.sleep_forever()
            now = trio.current_time()
            if self.closed or now < self._next_look():
                continue
            if self._deaf_since is not None:
                self._lose("broke the connection while something was sent; try again")
            elif self._asked_at is not None:
                if await self.catch_up() or self._put_off(now):
                    continue  # the sign of life lay unread, or could not be seen
                silence = now - self._heard_at
                self._lose(f"gave no sign of life for {silence:.3g} s; try again")
            elif self.idle and now >= self._idle_since + self._settings.idle:
                self._shut()
            else:
                self._asked_at, self._was_late = now, False
                self._state.ping()
                self._wake_writer()

    def _put_off(self, now: float) -> bool:
        """Whether this look comes late since the process stood still; then once for each silence
        the peer has longer, by as much."""
        late = now - self._next_look()
        if late < LATE or self._was_late:
            return False
        self._was_late = True
        self._asked_at = now - self._settings.ping_timeout + min(late, self._settings.ping_timeout)
        return True

    async def _guarded(self, task: Callable[[], object]) -> None:
        """A fault of ours in one connection is no reason to end the others."""
        try:
            await task()  # type: ignore[misc]
        except Exception as bug:
            if not self.abandon("a task of ours failed", bug):
                raise

    def close(self) -> None:
        """End it at once; answers under way end with ConnectionLostError."""
        self.abandon("the transport was closed")

    def __repr__(self) -> str:
        state = "closed" if self.closed else self._state.draining or "open"
        return f"<{type(self).__name__} {self.peer.origin} {state}, {self.streams} streams>"
