"""Own streams of coroutines: the iterator runs on the loop that has opened the stream."""

from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import TYPE_CHECKING

from streamnursery.aio.waits import Bridge
from streamnursery.bridge.hosting import AsyncHost, Spawned
from streamnursery.bridge.own_streams import MOST_AHEAD, HostItems
from streamnursery.scheduler.run.own_streams import OwnItem

if TYPE_CHECKING:
    from streamnursery.pipeline.broadcast import LoopEvent


class AioPuller:
    """See `bridge.own_streams.Puller`. One for each attempt."""

    def __init__(
        self, bridge: Bridge, host: AsyncHost, make: Callable[[], AsyncIterable[OwnItem]]
    ) -> None:
        self.host = host
        self._bridge = bridge
        self._make = make
        self._room = MOST_AHEAD
        self._free: LoopEvent | None = None
        self._task: Spawned | None = None
        self._started = False

    def begin(self, items: HostItems) -> None:
        self._items = items
        self.host.call_soon(self._begin)

    def taken(self) -> None:
        self.host.call_soon(self._taken)

    def stop(self) -> None:
        self.host.call_soon(self._stop)

    # On the host. ------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._task = self.host.spawn(self._run)

    def _taken(self) -> None:
        self._room += 1
        if self._free is not None:
            self._free.set()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if not self._started:  # a task that is cancelled before its first step takes none
            self._bridge.tell(partial(self._items.end, None))

    async def _run(self) -> None:
        self._started = True
        error: Exception | None = None
        try:
            await self._pull()
        except Exception as raised:  # noqa: BLE001 - fails the stream
            error = raised
        finally:
            self._bridge.tell(partial(self._items.end, error))

    async def _pull(self) -> None:
        iterator = aiter(self._make())
        try:
            async for item in iterator:
                self._bridge.tell(partial(self._items.put, item))
                self._room -= 1
                while self._room <= 0:
                    self._free = self.host.event()
                    await self._free.wait()
        finally:
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await aclose()
