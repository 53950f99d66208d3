"""Observers of records: channels for users, and their functions.

Rule 1: telling never waits: a channel that is full drops by its own policy, and counts.
Rule 2: a function that fails does not affect the others: its error becomes a record for the
        others, once, and it is not called again.
Rule 3: a function that blocks holds up every stream of the engine; that is reported once.
Rule 4: without observers a record costs one look at an empty list.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, TypeAlias

import attrs
import trio

from streamnursery.values.admission import AdmissionOutcome
from streamnursery.values.demand import Demand
from streamnursery.values.errors import RequestError
from streamnursery.values.lifecycle import LifecycleRecord, NotAdmitted, Record

Observer: TypeAlias = Callable[[LifecycleRecord], None]
DropPolicy: TypeAlias = Literal["oldest", "newest"]

MAX_BLOCKING = 0.1
"""Seconds of real time that one call of an observer may take unreported."""


@attrs.frozen
class ObserverFailed(LifecycleRecord):
    """An observer raised and has been taken off the list."""

    observer: str
    error: Exception


@attrs.frozen
class ObserverBlocked(LifecycleRecord):
    """One call of an observer took longer than 100 ms, and nothing else ran meanwhile. Reported
    once per observer."""

    observer: str
    seconds: float


class RecordStream:
    """Records as they happen; ends when its block or the engine does."""

    def __init__(self, max_records: int, drop: DropPolicy) -> None:
        self.dropped = 0
        """Records that did not fit."""
        self._records: deque[LifecycleRecord] = deque()
        self._max_records = max_records
        self._drop = drop
        self._news = trio.Event()
        self._closed = False

    def __aiter__(self) -> "RecordStream":
        return self

    async def __anext__(self) -> LifecycleRecord:
        await trio.lowlevel.checkpoint()
        while not self._records:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        return self._records.popleft()

    def put(self, record: LifecycleRecord) -> None:
        """For the engine."""
        if len(self._records) >= self._max_records:
            self.dropped += 1
            if self._drop == "newest":
                return
            self._records.popleft()
        self._records.append(record)
        self._news.set()

    def close(self) -> None:
        """For the engine."""
        self._closed = True
        self._news.set()


class Observers:
    """Everybody who listens."""

    def __init__(
        self, functions: tuple[Observer, ...] = (), *, wall: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._functions = list(functions)
        self.listening = bool(functions)
        """Whether anybody hears what is emitted."""
        self._wall = wall
        self._reported: list[Observer] = []
        self._streams: dict[RecordStream, None] = {}

    def add(self, function: Observer) -> None:
        """Add `function`, as the last one."""
        self._functions.append(function)
        self.listening = True

    def remove(self, function: Observer) -> None:
        """Call `function` no more, if it still is called."""
        if function in self._functions:
            self._functions.remove(function)
            self.listening = bool(self._functions or self._streams)

    def emit(self, record: Record) -> None:
        if self.listening:
            self._tell(record)

    def not_admitted(self, demand: Demand, outcome: AdmissionOutcome, waited: float) -> None:
        """An attempt was turned away after `waited` seconds in the queue."""
        now = trio.current_time()
        self.emit(NotAdmitted(now, demand.rank[1], demand.model, outcome.value, waited))

    def listen(self, max_records: int, drop: DropPolicy) -> AbstractContextManager[RecordStream]:
        """Its own channel for the length of the block."""
        check_events(max_records, drop)
        return self._listening(max_records, drop)

    @contextmanager
    def _listening(self, max_records: int, drop: DropPolicy) -> Iterator[RecordStream]:
        stream = RecordStream(max_records, drop)
        self.add_stream(stream)
        try:
            yield stream
        finally:
            stream.close()
            self.remove_stream(stream)

    def add_stream(self, stream: RecordStream) -> None:
        self._streams[stream] = None
        self.listening = True

    def remove_stream(self, stream: RecordStream) -> None:
        del self._streams[stream]
        self.listening = bool(self._functions or self._streams)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()

    def _tell(self, record: LifecycleRecord) -> None:
        for stream in self._streams:
            stream.put(record)
        for function in tuple(self._functions):
            # A record about one of them may have taken others off the list meanwhile.
            if function in self._functions:
                self._call(function, record)

    def _call(self, function: Observer, record: LifecycleRecord) -> None:
        called_at = self._wall()
        try:
            function(record)
        except Exception as error:  # noqa: BLE001 - the caller's code, whatever it raises
            self._functions.remove(function)
            self._tell(ObserverFailed(*_about(record), _name(function), error))
        seconds = self._wall() - called_at
        if seconds > MAX_BLOCKING and function not in self._reported:
            self._reported.append(function)
            self._tell(ObserverBlocked(*_about(record), _name(function), seconds))


def _about(record: LifecycleRecord) -> tuple[float, int, str]:
    return record.at, record.request, record.model


def _name(function: Observer) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def check_events(max_records: object, drop: object) -> None:
    """Raise `RequestError` unless `events` can be called with them."""
    if drop not in ("oldest", "newest"):
        msg = f"drop must be 'oldest' or 'newest', not {drop!r}"
        raise RequestError(msg)
    if not isinstance(max_records, int) or isinstance(max_records, bool) or max_records < 1:
        msg = f"max_records must be a whole number >= 1, not {max_records!r}"
        raise RequestError(msg)
