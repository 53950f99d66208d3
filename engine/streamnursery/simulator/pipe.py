"""Two connected ends of a bounded byte stream in memory, which behaves like TCP.

Rule 1: each way holds at most `window` bytes that were sent and not read; a sender waits for
        room. Acknowledgements take no time.
Rule 2: what is sent is stamped with its time of arrival. No task and no timer belongs to a
        segment: a reader sleeps until the head of the queue is due.
Rule 3: bytes arrive in the order in which they were sent, and a way ends once: FIN after its
        last byte, or RST, which discards what was not read.
Rule 4: `send_eof` ends one way, `close` both. Closing with unread bytes, in flight ones
        included, resets the other end. Bytes sent before a FIN stay readable.
Rule 5: a sender to an end that has closed learns it a round trip later, as BrokenPipeError.
Rule 6: a cancelled `send_all` has sent a prefix, a cancelled wait has changed nothing.

    pipe(link=Link(), back=None) -> (PipeConnection, PipeConnection)
"""

from collections.abc import Callable
from math import inf

import attrs
import trio

from streamnursery.serving.stream import Buffer
from streamnursery.simulator.pipe_direction import DirectionStatistics, Link, PipeDirection


@attrs.frozen
class PipeStatistics:
    """A snapshot of one end."""

    incoming: DirectionStatistics
    outgoing: DirectionStatistics
    closed: bool


class PipeConnection:
    """One end. One task may read while another one sends; a second of either kind that has to
    wait gets `trio.BusyResourceError`."""

    def __init__(self, incoming: PipeDirection, outgoing: PipeDirection) -> None:
        self._in = incoming
        self._out = outgoing
        self._closed = False
        self._eof_sent = False

    @property
    def on_readable(self) -> Callable[[], None] | None:
        """Called synchronously whenever `readable_at` has become earlier. It must not raise."""
        return self._in.on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        self._in.on_readable = callback

    @property
    def readable_at(self) -> float:
        """When `recv_nowait` will have something to say, on trio's clock; inf: not known yet."""
        return self._in.readable_at()

    def recv_nowait(self, max_bytes: int) -> bytes:
        """What has arrived, `max_bytes` (1 or more) of it at most; b"" after FIN.

        Raises:
            trio.WouldBlock: nothing has arrived.
            ConnectionResetError: RST has arrived.
            trio.ClosedResourceError: closed here.
        """
        self._check_open()
        return self._in.take(max_bytes, trio.current_time())

    async def wait_readable(self) -> None:
        """Return once `recv_nowait` has something to say; a checkpoint in any case.

        Raises:
            trio.ClosedResourceError: closed here, also while waiting.
        """
        if self._closed or self._in.readable_at() <= trio.current_time():
            await trio.lowlevel.checkpoint()
            self._check_open()
        while (at := self._in.readable_at()) > trio.current_time():
            await self._in.reader.sleep(at)
            self._check_open()

    def send_nowait(self, data: Buffer, *, apart: bool = False) -> int:
        """Send what the window has room for and return its length, 0 when it is full.

        `apart` keeps these bytes from sharing a read with others, whatever the segment size.

        Raises:
            ConnectionResetError, BrokenPipeError: the other end reset or closed.
            trio.ClosedResourceError: closed here, or after `send_eof`.
        """
        self._check_open()
        if self._eof_sent:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        now = trio.current_time()
        if self._in.reset_arrived(now):
            raise ConnectionResetError("the other end reset the connection")
        if now >= self._out.broken_at:
            raise BrokenPipeError("the other end has closed the connection")
        size = len(data) if self._out.reader_gone else min(len(data), self._out.room())
        if size:
            piece = data if size == len(data) else memoryview(data)[:size]
            self._out.put(bytes(piece), now, apart=apart)
        return size

    async def wait_writable(self) -> None:
        """Return once `send_nowait` may do something; a checkpoint in any case.

        Raises:
            trio.ClosedResourceError: closed here, also while waiting.
        """
        if self._closed or self._writable():
            await trio.lowlevel.checkpoint()
            self._check_open()
        while not self._writable():
            await self._out.sender.sleep(inf)
            self._check_open()

    def _writable(self) -> bool:
        return self._out.room() > 0 or self._out.reader_gone or self._eof_sent

    async def send_all(self, data: Buffer, *, apart: bool = False) -> None:
        """Send all of `data`; cancelled, a prefix of it. Errors as for `send_nowait`."""
        await trio.lowlevel.checkpoint()
        with memoryview(data) as view:
            sent = self.send_nowait(view, apart=apart)
            while sent < len(view):
                await self.wait_writable()
                with view[sent:] as rest:
                    sent += self.send_nowait(rest, apart=apart)

    def send_eof(self) -> None:
        """Half-close: the other end reads FIN after the last byte, and may still send."""
        self._check_open()
        self._eof_sent = True
        self._out.finish(trio.current_time())
        self._out.sender.wake()

    def close(self) -> None:
        """FIN, or RST when bytes are unread. Idempotent; wakes who waits here with
        `trio.ClosedResourceError`."""
        self._shut(reset=self._in.nbytes > 0)

    def reset(self) -> None:
        """Close with RST: the other end loses what it has not read."""
        self._shut(reset=True)

    def _shut(self, *, reset: bool) -> None:
        if self._closed:
            return
        self._closed = True
        now = trio.current_time()
        if reset:
            self._out.reset(now)
        else:
            self._out.finish(now)
        self._in.abandon()
        self._out.sender.wake()

    def fileno(self) -> int | None:
        return None

    @property
    def closed(self) -> bool:
        return self._closed

    def statistics(self) -> PipeStatistics:
        return PipeStatistics(self._in.statistics(), self._out.statistics(), self._closed)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the pipe was closed here")


def pipe(
    link: Link | None = None, back: Link | None = None
) -> tuple[PipeConnection, PipeConnection]:
    """Two connected ends; `link` leads from the first to the second, `back` (by default the
    same) from the second to the first."""
    link = link or Link()
    there, again = PipeDirection(link), PipeDirection(back or link)
    return PipeConnection(again, there), PipeConnection(there, again)
