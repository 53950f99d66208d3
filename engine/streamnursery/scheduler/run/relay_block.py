"""`async with` around one relay: a stream whose bytes are handed on."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import trio

from streamnursery.pipeline.channel import BufferTotal
from streamnursery.pipeline.delivery import Delivery
from streamnursery.pipeline.relayed import Refusal, RelayedAnswer
from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.run.dispatcher import ChannelMaker, StreamBlock
from streamnursery.supervisor.relay import Relayed
from streamnursery.values.errors import EngineError, OverloadedError


class RelayBlock(AbstractAsyncContextManager[RelayedAnswer]):
    """Entering it waits for the head of the answer. `begin` and `leave` are those of
    `StreamBlock`, for other readers."""

    def __init__(
        self,
        block: StreamBlock,
        asking: Relayed,
        buffers: BufferTotal,
        handle: Callable[[Delivery], TokenStream],
    ) -> None:
        """`handle` makes what reads the channel."""
        self._block = block
        self._handle = handle
        self._asking = asking
        self._buffers = buffers
        self._token: trio.lowlevel.TrioToken | None = None
        self._left = False

    def refusal(self) -> Refusal | None:
        """The latest answer that said no."""
        return self._asking.refusal

    def begin(
        self, make_channel: ChannelMaker | None = None, on_over: Callable[[], None] | None = None
    ) -> Delivery:
        """Start it; its body counts as buffered until it is over.

        Raises:
            OverloadedError: there is no room for the body.
            RequestError, EngineClosedError: as for a stream.
        """
        size, buffers = len(self._asking.body.data), self._buffers
        if not buffers.keep(size):
            msg = (
                f"{size:,} bytes of a relayed request find no room in engine.max_buffered_bytes; "
                "raise it, or relay fewer at once"
            )
            raise OverloadedError(msg)

        def over() -> None:
            buffers.let_go(size)
            if on_over is not None:
                on_over()

        try:
            delivery = self._block.begin(make_channel, over)
        except EngineError:
            buffers.let_go(size)
            raise
        delivery.counts_when_put = True
        return delivery

    def leave(self) -> None:
        self._left = True
        self._block.leave()

    def abandon(self) -> None:
        """Leave without waiting; from any thread, idempotent."""
        if self._token is not None:
            with suppress(trio.RunFinishedError):  # the run has ended it
                self._token.run_sync_soon(self._leave_once)

    def _leave_once(self) -> None:
        if not self._left:
            self.leave()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> RelayedAnswer:
        try:
            delivery = self.begin()
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        self._token = trio.lowlevel.current_trio_token()
        answer = RelayedAnswer(self._handle(delivery), self.refusal)
        try:
            await answer._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return answer

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        await self._block.__aexit__()
