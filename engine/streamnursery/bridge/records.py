"""Lifecycle records on their way to another thread."""

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context

from streamnursery.bridge.channel import Wakes
from streamnursery.bridge.outbox import MOST, Mailbox, Unread
from streamnursery.scheduler.run.observers import DropPolicy, Observer, RecordStream
from streamnursery.values.lifecycle import LifecycleRecord, StreamStarted


class ForeignRecords(RecordStream):
    """A stream of records whose reader is a host; full, it drops by its policy, and counts."""

    def __init__(self, host: Wakes, max_records: int, drop: DropPolicy) -> None:
        super().__init__(max_records, drop)
        self.box = Mailbox()
        self._host = host
        self._unread = Unread(max_records, 0)
        self._oldest = drop == "oldest"

    def put(self, record: LifecycleRecord) -> None:
        outbox = self._host.outbox
        wake, dropped = outbox.offer(self.box, self._unread, record, oldest=self._oldest)
        self.dropped += dropped
        if wake:
            self._host.wake()

    def close(self) -> None:
        if self._host.outbox.end(self.box, None):
            self._host.wake()


class LoopObserver:
    """An observer that is called on its loop and not in the engine's thread, `MOST` records in
    a row at most. When it raises, the engine hears of it with the next record: it takes the
    observer off its list, as it does with its own."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._call_soon: Callable[[Callable[[], None]], None]
        self._lock = threading.Lock()
        self._records: deque[tuple[LifecycleRecord, Context]] = deque()
        self._armed = False
        self._error: Exception | None = None
        self._context: Context = copy_context()
        self.__qualname__ = getattr(observer, "__qualname__", type(observer).__qualname__)

    def bind(self, call_soon: Callable[[Callable[[], None]], None]) -> None:
        """How its loop is reached; once, before the engine is opened."""
        self._call_soon = call_soon

    def __call__(self, record: LifecycleRecord) -> None:
        if self._error is not None:
            raise self._error
        # The first record of a request is emitted in its caller's context, and heard there.
        context = copy_context() if type(record) is StreamStarted else self._context
        with self._lock:
            self._records.append((record, context))
            armed, self._armed = self._armed, True
        if not armed:
            self._call_soon(self._tell)

    def _tell(self) -> None:
        with self._lock:
            found = [self._records.popleft() for _ in range(min(MOST, len(self._records)))]
            self._armed = more = bool(self._records)
        for record, context in found:
            if self._error is None:
                self._call(record, context)
        if more:
            self._call_soon(self._tell)

    def _call(self, record: LifecycleRecord, context: Context) -> None:
        try:
            context.run(self._observer, record)
        except Exception as error:  # noqa: BLE001 - the caller's code, whatever it raises
            self._error = error
