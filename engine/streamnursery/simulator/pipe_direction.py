"""One direction of a pipe: what was sent, when it arrives, how it ends. Waits for nothing but
those who sleep on it; the rules are those of `pipe`."""

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

Ending: TypeAlias = Literal["open", "fin", "rst"]


def _check(ok: bool, name: str, want: str, value: object) -> None:
    if not ok:
        msg = f"Link.{name} must be {want}, not {value!r}"
        raise ValueError(msg)


@attrs.frozen
class Link:
    """What lies between two ends, one way."""

    latency: float = 0.0
    """Seconds from the sending of a segment to its arrival."""
    bandwidth: float = inf
    """Bytes per second; a segment arrives whole, with its last byte."""
    segment_size: int | None = None
    """None: a read takes all that has arrived. Otherwise bytes travel in segments of at most
    this many, never across the border of two sends, and a read takes one of them."""
    window: int = 64 * 1024
    """Bytes sent and not yet read, at most."""

    def __attrs_post_init__(self) -> None:
        _check(0 <= self.latency < inf, "latency", "seconds >= 0", self.latency)
        _check(self.bandwidth > 0, "bandwidth", "bytes per second > 0", self.bandwidth)
        size = self.segment_size
        _check(size is None or size > 0, "segment_size", "bytes > 0 or None", size)
        _check(self.window > 0, "window", "bytes > 0", self.window)


@attrs.frozen
class DirectionStatistics:
    """One way of a pipe; `sent = received + discarded + current`, in bytes."""

    current_bytes: int
    """Sent and not yet read."""
    max_bytes: int
    peak_bytes: int
    sent_bytes: int
    received_bytes: int
    discarded_bytes: int
    """Lost to a reset or sent to an end that had closed."""
    sender_waiting: bool
    reader_waiting: bool
    ended: Ending


class Sleeper:
    """Where one task sleeps until it is woken or its time has come."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    @property
    def waiting(self) -> bool:
        return self._task is not None

    def wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def sleep(self, until: float) -> None:
        if self._task is not None:
            await trio.lowlevel.checkpoint()
            raise trio.BusyResourceError("another task waits for this end of the pipe")
        if until == inf:
            await self._park()
        else:
            with trio.CancelScope(deadline=until):
                await self._park()

    async def _park(self) -> None:
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class PipeDirection:
    """What travels in one direction."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.reader = Sleeper()
        self.sender = Sleeper()
        self.on_readable: Callable[[], None] | None = None
        self.reader_gone = False
        self.broken_at = inf
        self.ended: Ending = "open"
        self.nbytes = 0
        self._ends_at = inf
        self._end_seen = False
        self._segments: deque[tuple[float, bytes, bool]] = deque()
        self._offset = 0
        self._free_at = 0.0
        self._last_arrival = 0.0
        self._sent = 0
        self._received = 0
        self._discarded = 0
        self._peak = 0

    # The sending end. -----------------------------------------------------------------------

    def room(self) -> int:
        return self.link.window - self.nbytes

    def put(self, data: bytes, now: float, *, apart: bool) -> None:
        self._sent += len(data)
        if self.reader_gone:
            self._discarded += len(data)
            self.broken_at = min(self.broken_at, now + 2 * self.link.latency)
            return
        was_empty = not self._segments
        size = self.link.segment_size
        if size is None or len(data) <= size:
            self._append(data, now, apart=apart or size is not None)
        else:
            for start in range(0, len(data), size):
                self._append(data[start : start + size], now, apart=True)
        self.nbytes += len(data)
        self._peak = max(self._peak, self.nbytes)
        if was_empty:
            self._notify()

    def _append(self, data: bytes, now: float, *, apart: bool) -> None:
        self._free_at = max(now, self._free_at) + len(data) / self.link.bandwidth
        self._last_arrival = max(self._free_at + self.link.latency, self._last_arrival)
        self._segments.append((self._last_arrival, data, apart))

    def finish(self, now: float) -> None:
        if self.ended == "open":
            self.ended = "fin"
            self._ends_at = max(now + self.link.latency, self._last_arrival)
            self._notify()

    def reset(self, now: float) -> None:
        if self.ended == "rst" or self._end_seen:
            return
        self.ended = "rst"
        self._ends_at = now + self.link.latency
        # What has not left yet never will.
        while self._segments and self._segments[-1][0] > self._ends_at:
            self._drop(len(self._segments.pop()[1]))
        if not self._segments:
            self._forget()
        self._notify()

    def _notify(self) -> None:
        self.reader.wake()
        if self.on_readable is not None:
            self.on_readable()

    # The reading end. -----------------------------------------------------------------------

    def readable_at(self) -> float:
        return min(self._segments[0][0], self._ends_at) if self._segments else self._ends_at

    def reset_arrived(self, now: float) -> bool:
        return self.ended == "rst" and now >= self._ends_at

    def take(self, max_bytes: int, now: float) -> bytes:
        if self.reset_arrived(now):
            self._end_seen = True
            self._forget()
            raise ConnectionResetError("the other end reset the connection")
        if self._segments and self._segments[0][0] <= now:
            data = self._take_arrived(max_bytes, now)
            self.nbytes -= len(data)
            self._received += len(data)
            self.sender.wake()
            return data
        if not self._segments and now >= self._ends_at:
            self._end_seen = True
            return b""
        raise trio.WouldBlock

    def _take_arrived(self, max_bytes: int, now: float) -> bytes:
        parts: list[bytes] = []
        room = max_bytes
        while room and self._segments:
            arrival, data, apart = self._segments[0]
            if arrival > now or (parts and apart):
                break
            start = self._offset
            if len(data) - start > room:
                self._offset += room
                parts.append(data[start : self._offset])
                break
            self._segments.popleft()
            self._offset = 0
            parts.append(data[start:] if start else data)
            room -= len(parts[-1])
            if apart:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abandon(self) -> None:
        """The reader closed: nothing will be read any more."""
        self.reader_gone = True
        self._forget()
        self._notify()
        self.sender.wake()

    def _drop(self, nbytes: int) -> None:
        self.nbytes -= nbytes
        self._discarded += nbytes

    def _forget(self) -> None:
        self._drop(self.nbytes)
        self._segments.clear()
        self._offset = 0

    def statistics(self) -> DirectionStatistics:
        return DirectionStatistics(
            current_bytes=self.nbytes,
            max_bytes=self.link.window,
            peak_bytes=self._peak,
            sent_bytes=self._sent,
            received_bytes=self._received,
            discarded_bytes=self._discarded,
            sender_waiting=self.sender.waiting,
            reader_waiting=self.reader.waiting,
            ended=self.ended,
        )
