"""One stream, several reading threads.

The readers are those of `pipeline/broadcast.py`, which know nothing of threads: their steps are
taken under one lock, which is let go while a thread waits.
"""

import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Protocol, TypeVar

from streamnursery.bridge.words import same_words
from streamnursery.pipeline.broadcast import Broadcast, Reader, ReaderStatistics, WhenFull
from streamnursery.values.events import StreamEvent

T = TypeVar("T")


class ReadsByThread(Protocol):
    """A stream as a thread reads it."""

    def receive(self) -> list[StreamEvent]: ...

    def cancel(self) -> None: ...

    def detach(self) -> None: ...


class SyncBroadcast:
    """The readers of one stream, each in its thread, and the journal of its latest events."""

    def __init__(self, stream: ReadsByThread, replay_bytes: int) -> None:
        self.lock = threading.Lock()
        self._inner = Broadcast(
            _Source(stream, self.lock),
            replay_bytes,
            event=lambda: _BlockingEvent(self.lock),
            checkpoint=_no_wait,
        )

    @property
    def replay_bytes(self) -> int:
        return self._inner.replay_bytes

    @property
    @same_words(Broadcast.first_offset)
    def first_offset(self) -> int:
        return self._inner.first_offset

    @property
    @same_words(Broadcast.next_offset)
    def next_offset(self) -> int:
        return self._inner.next_offset

    @property
    def readers(self) -> int:
        return self._inner.readers

    @same_words(Broadcast.reader)
    def reader(
        self, *, offset: int | None = None, max_events: int = 1024, when_full: WhenFull = "block"
    ) -> "SyncReader":
        inner = self._inner.reader(offset=offset, max_events=max_events, when_full=when_full)
        return SyncReader(inner, self.lock)

    @same_words(Broadcast.cancel)
    def cancel(self) -> None:
        self._inner.cancel()


class SyncReader(Iterator[StreamEvent]):
    """One of several readers: `with shared.reader() as events: for event in events`."""

    def __init__(self, inner: Reader, lock: threading.Lock) -> None:
        self._inner = inner
        self._lock = lock

    def __enter__(self) -> "SyncReader":
        with self._lock:
            self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()

    @same_words(Reader.detach)
    def detach(self) -> None:
        with self._lock:
            self._inner.detach()

    def __iter__(self) -> "SyncReader":
        return self

    def __next__(self) -> StreamEvent:
        try:
            with self._lock:
                return _driven(self._inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def statistics(self) -> ReaderStatistics:
        with self._lock:
            return self._inner.statistics()


class _BlockingEvent:
    """Waits in its thread, without the lock."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        self._lock.release()
        try:
            self._event.wait()
        finally:
            self._lock.acquire()


class _Source:
    """Reads the stream in the thread that asks, without the lock."""

    def __init__(self, stream: ReadsByThread, lock: threading.Lock) -> None:
        self._stream = stream
        self._lock = lock

    async def receive(self) -> list[StreamEvent]:
        self._lock.release()
        try:
            return self._stream.receive()
        finally:
            self._lock.acquire()

    def cancel(self) -> None:
        self._stream.cancel()

    def detach(self) -> None:
        self._stream.detach()


async def _no_wait() -> None:
    pass


def _driven(steps: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never suspends: its waits are those of its thread."""
    try:
        steps.send(None)
    except StopIteration as returned:
        value: T = returned.value
        return value
    raise AssertionError("a reader has waited for an event loop")
