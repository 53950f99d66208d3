"""Lifecycle records as a plain thread reads them."""

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager

from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.many import items_of
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.records import ForeignRecords
from streamnursery.scheduler.run.observers import DropPolicy
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.errors import RequestError
from streamnursery.values.lifecycle import LifecycleRecord


class SyncRecordStream(Iterator[LifecycleRecord]):
    """Records as they happen; ends when its block or the engine does."""

    def __init__(self, host: SyncHost, foreign: ForeignRecords) -> None:
        self._host = host
        self._foreign = foreign
        self._records: deque[LifecycleRecord] = deque()

    @property
    def dropped(self) -> int:
        """Records that did not fit."""
        return self._foreign.dropped

    def __iter__(self) -> "SyncRecordStream":
        return self

    def __next__(self) -> LifecycleRecord:
        box = self._foreign.box
        while not self._records:
            self._host.wait_to_read(box, _nothing)
            batches, _ = self._host.outbox.take(box)
            self._records.extend(items_of(batches))
            if not batches and box.ended:
                raise StopIteration
        return self._records.popleft()


class SyncRecordsBlock(AbstractContextManager[SyncRecordStream]):
    """`with` around them: what happens between entering and leaving is heard."""

    def __init__(self, bridge: SyncBridge, max_records: int, drop: DropPolicy) -> None:
        self._bridge = bridge
        self._max_records = max_records
        self._drop = drop
        self._foreign: ForeignRecords | None = None

    def __enter__(self) -> SyncRecordStream:
        if self._foreign is not None:
            raise RequestError("this block can be entered once; call events() again")
        host, thread = self._bridge.host(), self._bridge.thread
        foreign = self._foreign = ForeignRecords(host, self._max_records, self._drop)
        # Calls keep their order: what is begun from here on is heard.
        self._bridge.tell(lambda: thread.engine._observers.add_stream(foreign))
        return SyncRecordStream(host, foreign)

    def __exit__(self, *_: object) -> None:
        foreign, thread = self._foreign, self._bridge.thread
        assert foreign is not None
        self._bridge.tell(lambda: thread.engine._observers.remove_stream(foreign))
        foreign.close()  # a thread that still reads gets the end at once


def _nothing(_: Mailbox) -> None:
    pass
