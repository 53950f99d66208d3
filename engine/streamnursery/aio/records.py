"""Lifecycle records as a coroutine reads them."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

from streamnursery.aio.waits import Bridge
from streamnursery.bridge.hosting import AsyncHost
from streamnursery.bridge.many import items_of
from streamnursery.bridge.records import ForeignRecords
from streamnursery.scheduler.run.observers import DropPolicy
from streamnursery.values.errors import RequestError
from streamnursery.values.lifecycle import LifecycleRecord


class AioRecordStream(AsyncIterator[LifecycleRecord]):
    """Records as they happen; ends when its block or the engine does."""

    def __init__(self, host: AsyncHost, foreign: ForeignRecords) -> None:
        self._host = host
        self._foreign = foreign
        self._records: deque[LifecycleRecord] = deque()

    @property
    def dropped(self) -> int:
        """Records that did not fit."""
        return self._foreign.dropped

    def __aiter__(self) -> "AioRecordStream":
        return self

    async def __anext__(self) -> LifecycleRecord:
        if self._records:
            return self._records.popleft()
        outbox, box = self._host.outbox, self._foreign.box
        while True:
            if outbox.ask(box)[0]:
                await self._host.wait(box)
            else:
                await self._host.checkpoint()
            batches, _ = outbox.take(box)
            self._records.extend(items_of(batches))
            if self._records:
                return self._records.popleft()
            if box.ended:
                raise StopAsyncIteration


class AioRecordsBlock(AbstractContextManager[AioRecordStream]):
    """`with` around them: what happens between entering and leaving is heard."""

    def __init__(self, bridge: Bridge, max_records: int, drop: DropPolicy) -> None:
        self._bridge = bridge
        self._max_records = max_records
        self._drop = drop
        self._foreign: ForeignRecords | None = None

    def __enter__(self) -> AioRecordStream:
        if self._foreign is not None:
            raise RequestError("this block can be entered once; call events() again")
        host, thread = self._bridge.hosts.current(), self._bridge.thread
        foreign = self._foreign = ForeignRecords(host, self._max_records, self._drop)
        # Calls keep their order: what is begun from here on is heard.
        self._bridge.tell(lambda: thread.engine._observers.add_stream(foreign))
        return AioRecordStream(host, foreign)

    def __exit__(self, *_: object) -> None:
        foreign, thread = self._foreign, self._bridge.thread
        assert foreign is not None

        def remove() -> None:
            foreign.close()
            thread.engine._observers.remove_stream(foreign)

        self._bridge.tell(remove)
        self._host_closed(foreign)

    @staticmethod
    def _host_closed(foreign: ForeignRecords) -> None:
        foreign.close()  # a reader that still waits meets the end at once
