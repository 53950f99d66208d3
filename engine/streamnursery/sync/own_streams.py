"""Own streams of threads: each attempt's iterator has its own thread."""

import threading
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial

from streamnursery.bridge.own_streams import MOST_AHEAD, HostItems
from streamnursery.scheduler.run.own_streams import OwnItem
from streamnursery.sync.waits import SyncBridge


class SyncPuller:
    """See `bridge.own_streams.Puller`. An iterator that waits in its own call ends when that
    call has returned: a thread cannot be interrupted."""

    def __init__(
        self, bridge: SyncBridge, host: object, make: Callable[[], Iterable[OwnItem]]
    ) -> None:
        self.host = host
        self._bridge = bridge
        self._make = make
        self._room = threading.Semaphore(MOST_AHEAD)
        self._stopped = False
        self._context = copy_context()

    def begin(self, items: HostItems) -> None:
        run = partial(self._context.copy().run, self._run, items)
        threading.Thread(target=run, name="own stream", daemon=True).start()

    def taken(self) -> None:
        self._room.release()

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    def _run(self, items: HostItems) -> None:
        error: Exception | None = None
        try:
            self._pull(items)
        except Exception as raised:  # noqa: BLE001 - fails the stream
            error = raised
        finally:
            self._bridge.tell(partial(items.end, error))

    def _pull(self, items: HostItems) -> None:
        iterator = iter(self._make())
        try:
            for item in iterator:
                self._room.acquire()
                if self._stopped:
                    break
                self._bridge.tell(partial(items.put, item))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
