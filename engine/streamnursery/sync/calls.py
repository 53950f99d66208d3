"""The caller's own calls under the engine's limits: they run in the calling thread."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.leases import LeaseHalf, OpenLease
from streamnursery.bridge.outbox import Mailbox
from streamnursery.scheduler.admission.nesting import Holding, let_go
from streamnursery.scheduler.run.calls import CallLease
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.errors import RequestError


class SyncCallBlock(AbstractContextManager[CallLease]):
    """`with` around one call. `cancel_all` cannot interrupt a thread: the block raises at its
    end."""

    def __init__(self, bridge: SyncBridge, open_lease: Callable[[SyncHost], OpenLease]) -> None:
        self._bridge = bridge
        self._open_lease: Callable[[SyncHost], OpenLease] | None = open_lease
        self._host: SyncHost
        self._half: LeaseHalf
        self._call: CallLease | None = None
        self._holding: Holding

    def __enter__(self) -> CallLease:
        open_lease, self._open_lease = self._open_lease, None
        if open_lease is None:
            raise RequestError("a lease's block can be entered once; call lease() again")
        self._host = host = self._bridge.host()
        box = Mailbox()
        half = self._half = LeaseHalf(host, box, open_lease(host), _nothing, host.task())
        self._bridge.thread.post(half)
        try:
            while not half.model and not box.over:
                host.wait(box)
        except BaseException as error:
            self._leave(error)
            raise
        if box.over:
            assert half.error is not None
            raise half.error
        self._call = CallLease(half.model)
        self._holding = half.hold()
        return self._call

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        let_go(self._holding)
        self._leave(error)
        if error is None and self._half.error is not None:
            raise self._half.error

    def stop_waiting(self) -> None:
        """From another thread: the slots are not wanted any more."""
        if hasattr(self, "_half") and not self._half.model:
            half = self._half
            self._bridge.tell(lambda: None if half.model else half.release(None, None))

    def _leave(self, error: BaseException | None) -> None:
        usage = None if self._call is None else self._call.usage
        half = self._half
        self._bridge.leave(self._host, half.box, lambda: half.release(usage, error))


def _nothing() -> None:
    pass
