"""The caller's own calls under the engine's limits: they run on the caller's loop."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from streamnursery.aio.waits import Bridge
from streamnursery.bridge.hosting import AsyncHost, Interruption
from streamnursery.bridge.leases import LeaseHalf, OpenLease
from streamnursery.bridge.outbox import Mailbox
from streamnursery.scheduler.admission.nesting import Holding, let_go
from streamnursery.scheduler.run.calls import CallLease
from streamnursery.values.errors import RequestError


class AioCallBlock(AbstractAsyncContextManager[CallLease]):
    """`async with` around one call."""

    def __init__(self, bridge: Bridge, open_lease: Callable[[AsyncHost], OpenLease]) -> None:
        self._bridge = bridge
        self._open_lease: Callable[[AsyncHost], OpenLease] | None = open_lease
        self._host: AsyncHost
        self._half: LeaseHalf
        self._interruption: Interruption
        self._call: CallLease
        self._holding: Holding

    async def __aenter__(self) -> CallLease:
        open_lease, self._open_lease = self._open_lease, None
        if open_lease is None:
            raise RequestError("a lease's block can be entered once; call lease() again")
        self._host = host = self._bridge.hosts.current()
        box = Mailbox()
        half = self._half = LeaseHalf(host, box, open_lease(host), self._fire, host.task())
        self._bridge.thread.post(half)
        try:
            if host.outbox.park(box):
                await host.wait(box)
        except BaseException as error:
            await self._leave(error)
            raise
        if box.over:
            assert half.error is not None
            raise half.error
        self._interruption = host.interruption()
        self._call = CallLease(half.model)
        self._holding = half.hold()
        return self._call

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> bool:
        let_go(self._holding)
        interrupted = self._interruption.ended(error)
        await self._leave(error)
        if interrupted and self._half.error is not None:
            raise self._half.error from None
        return interrupted

    async def _leave(self, error: BaseException | None) -> None:
        usage = self._call.usage if hasattr(self, "_call") else None
        half = self._half
        await self._bridge.leave(self._host, half.box, lambda: half.release(usage, error))

    def _fire(self) -> None:
        """In the engine's thread: `cancel_all`, or the engine is closing."""
        self._host.call_soon(lambda: self._interruption.fire())
