"""One stream, several readers.

Rule 1: there is no task between them. A reader with nothing left to read takes the next batch from
        the stream for all; the others wait for it.
Rule 2: each reader has its own bounded buffer. A full one that blocks holds back the stream, and
        with it the provider; one that drops forgets its oldest events and counts them; one that
        coalesces joins neighbouring text, never across a mark, and blocks when full of bytes.
Rule 3: the journal keeps the latest events, to a bound in bytes, for readers that come late.
Rule 4: when the last reader has left, the stream is left: `on_abort` says what that means.
"""

from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

import attrs
import trio

from streamnursery.pipeline.policies import Pieces, event_group, join_events
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.events import (
    Finished,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from streamnursery.values.opaque import OpaquePart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

REPLAY_BYTES = 256 * 1024
_EVENT_BYTES = 64

WhenFull: TypeAlias = Literal["block", "drop_oldest", "coalesce"]
"""What a reader's full buffer does."""
MAX_BYTES = 256 * 1024
"""Text that a reader who coalesces may leave unread before it holds back the stream."""


class LoopEvent(Protocol):
    """As trio's and asyncio's."""

    def set(self) -> None: ...

    async def wait(self) -> object: ...


class Source(Protocol):
    """The receive end of a stream, as far as it is needed here."""

    async def receive(self) -> list[StreamEvent]: ...

    def cancel(self) -> None: ...

    def detach(self) -> None: ...


@attrs.frozen
class ReaderStatistics:
    """A snapshot of one reader."""

    offset: int
    """Number of the next event it will be handed; the first event of the stream is 0."""
    current_events: int
    """Events in its buffer."""
    dropped: int
    """Events it was never handed."""
    coalesced: int = 0
    """Events it was handed as part of another."""


class Broadcast:
    """The readers of one stream, and the journal of its latest events."""

    def __init__(
        self,
        source: Source,
        replay_bytes: int,
        *,
        event: "Callable[[], LoopEvent]" = trio.Event,
        checkpoint: "Callable[[], Awaitable[object]]" = trio.lowlevel.checkpoint,
    ) -> None:
        """`event` and `checkpoint` are those of the readers' event loop."""
        _whole("replay_bytes", replay_bytes, low=0)
        self.checkpoint = checkpoint
        self._event = event
        self.replay_bytes = replay_bytes
        self._source = source
        self._journal: deque[tuple[StreamEvent, int]] = deque()
        self._journal_bytes = 0
        self._end = 0
        """Events so far."""
        self._readers: dict[Reader, None] = {}
        self._error: EngineError | None = None
        self._over = False
        self._pulling = False
        self._news = self._event()

    @property
    def first_offset(self) -> int:
        """The earliest event that a new reader may begin at."""
        return self._end - len(self._journal)

    @property
    def next_offset(self) -> int:
        """Number of the next event of the stream."""
        return self._end

    @property
    def readers(self) -> int:
        return len(self._readers)

    def reader(
        self, *, offset: int | None = None, max_events: int = 1024, when_full: WhenFull = "block"
    ) -> "Reader":
        """A reader for the length of a block, from event `offset` on or from the next one.

        Raises:
            RequestError: the journal does not go back to `offset`, or an option has no sense.
        """
        _whole("max_events", max_events, low=1)
        if when_full not in get_args(WhenFull):
            msg = f"when_full must be 'block', 'drop_oldest' or 'coalesce', not {when_full!r}"
            raise RequestError(msg)
        if offset is not None:
            _whole("offset", offset, low=0)
        return Reader(self, offset, max_events, when_full)

    def cancel(self) -> None:
        """End the stream for all its readers."""
        self._source.cancel()

    # For readers. ----------------------------------------------------------------------------

    def enter(self, reader: "Reader", offset: int | None) -> list[StreamEvent]:
        """Add a reader; what the journal has for it."""
        at = self._end if offset is None else offset
        if not self.first_offset <= at <= self._end:
            msg = (
                f"offset {at} cannot be replayed: the journal holds events {self.first_offset} to "
                f"{self._end}; broadcast with a larger replay_bytes than {self.replay_bytes}"
            )
            raise RequestError(msg)
        self._readers[reader] = None
        return [event for event, _ in list(self._journal)[at - self.first_offset :]]

    def has(self, reader: "Reader") -> bool:
        return reader in self._readers

    def leave(self, reader: "Reader") -> None:
        if self._readers.pop(reader, self) is self:
            return
        self.wake()
        if not self._readers and not self._over:
            self._source.detach()

    async def more(self) -> bool:
        """Wait until something has happened; False once there is nothing more to come."""
        if self._over:
            await self.checkpoint()
            if self._error is not None:
                raise self._error.with_traceback(None)
            return False
        if self._pulling or any(reader.holds_back for reader in self._readers):
            await self._news.wait()
        else:
            await self._pull()
        return True

    async def _pull(self) -> None:
        self._pulling = True
        try:
            self._share(await self._source.receive())
        except trio.EndOfChannel:
            self._over = True
        except EngineError as error:
            self._over, self._error = True, error
        finally:
            # Also when this reader was cancelled: another one takes over.
            self._pulling = False
            self.wake()

    def _share(self, events: list[StreamEvent]) -> None:
        for event in events:
            size = _EVENT_BYTES + _text_bytes(event)
            self._journal.append((event, size))
            self._journal_bytes += size
        self._end += len(events)
        while self._journal_bytes > self.replay_bytes:
            self._journal_bytes -= self._journal.popleft()[1]
        for reader in self._readers:
            reader.put(events)

    def wake(self) -> None:
        self._news.set()
        self._news = self._event()


class Reader:
    """One of several readers: `with shared.reader() as events: async for event in events`."""

    def __init__(
        self, shared: Broadcast, offset: int | None, max_events: int, when_full: WhenFull
    ) -> None:
        self._shared = shared
        self._from = offset
        self._max_events = max_events
        self._drops = when_full == "drop_oldest"
        self._joins = when_full == "coalesce"
        self._events: deque[StreamEvent | Pieces[StreamEvent]] = deque()
        self._bytes = 0
        """Of text, counted for a reader that coalesces."""
        self._offset = 0
        self._dropped = 0
        self._coalesced = 0
        self._unchecked = 0
        """Events that may be handed out before the next checkpoint."""
        self._inside = False

    def __enter__(self) -> "Reader":
        if self._inside:
            raise RequestError("a reader's block is entered once; ask for another reader")
        self._inside = True
        replayed = self._shared.enter(self, self._from)
        self._offset = self._shared.next_offset - len(replayed)
        if self._joins:
            self.put(replayed)
        else:
            self._events.extend(replayed)
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.detach()

    def detach(self) -> None:
        """Read no more; the other readers go on. Idempotent."""
        self._events.clear()
        self._shared.leave(self)

    def __aiter__(self) -> "Reader":
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._events or not self._unchecked:
            if self._events:
                await self._shared.checkpoint()
            else:
                await self._more()
            self._unchecked = len(self._events)
        self._unchecked -= 1
        held_back = self.holds_back
        event = self._taken(self._events.popleft())
        if held_back and not self.holds_back:
            self._shared.wake()
        return event

    async def _more(self) -> None:
        """Wait until something has happened; a checkpoint in any case."""
        if not self._inside:
            await self._shared.checkpoint()
            raise RequestError("enter the reader first: with shared.reader() as events: ...")
        if not self._shared.has(self):
            await self._shared.checkpoint()
            raise StopAsyncIteration
        if not await self._shared.more():
            raise StopAsyncIteration

    def _taken(self, event: StreamEvent | Pieces[StreamEvent]) -> StreamEvent:
        self._offset += len(event.items) if isinstance(event, Pieces) else 1
        whole = join_events(event.items) if isinstance(event, Pieces) else event
        if self._joins:
            self._bytes -= _text_bytes(whole)
        return whole

    @property
    def holds_back(self) -> bool:
        """Whether the stream waits for this reader."""
        if self._joins:
            return self._bytes >= MAX_BYTES
        return not self._drops and len(self._events) >= self._max_events

    def put(self, events: list[StreamEvent]) -> None:
        """Add what was read of the stream; never waits."""
        if self._joins:
            for event in events:
                self._join(event)
            return
        self._events.extend(events)
        if self._drops:
            while len(self._events) > self._max_events and type(self._events[0]) is not Finished:
                self._events.popleft()
                self._offset += 1
                self._dropped += 1

    def _join(self, event: StreamEvent) -> None:
        """Into the newest one, if the buffer is full of events and it goes on there."""
        self._bytes += _text_bytes(event)
        last = self._events[-1] if self._events else None
        group = event_group(event)
        if len(self._events) < self._max_events or last is None or group is None:
            self._events.append(event)
            return
        if not isinstance(last, Pieces) and event_group(last) == group:
            last = self._events[-1] = Pieces(group, [last])
        if isinstance(last, Pieces) and last.group == group:
            last.items.append(event)
            self._coalesced += 1
        else:
            self._events.append(event)

    def statistics(self) -> ReaderStatistics:
        return ReaderStatistics(self._offset, len(self._events), self._dropped, self._coalesced)


def _text_bytes(event: StreamEvent) -> int:
    match event:
        case TextDelta() | ReasoningDelta() | RefusalDelta():
            return len(event.text.encode("utf-8", "surrogatepass"))
        case ToolCallDelta():
            return len(event.arguments.encode("utf-8", "surrogatepass"))
        case OpaquePart():
            return len(memoryview(event.data))
        case _:
            return 0


def _whole(name: str, value: object, *, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        msg = f"{name} must be a whole number >= {low}, not {value!r}"
        raise RequestError(msg)
