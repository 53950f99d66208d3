"""A relay as a coroutine reads it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from streamnursery.aio.stream import AioStreamBlock
from streamnursery.aio.waits import Bridge
from streamnursery.bridge.hosting import AsyncHost
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.streams import RelayHalf
from streamnursery.pipeline.relayed import RelayedAnswer


class AioRelayBlock(AbstractAsyncContextManager[RelayedAnswer]):
    """`async with` around one relay. Entering it waits for the head of the answer."""

    def __init__(
        self, bridge: Bridge, make_half: Callable[[AsyncHost, Mailbox], RelayHalf]
    ) -> None:
        self._half: RelayHalf | None = None

        def kept(host: AsyncHost, box: Mailbox) -> RelayHalf:
            self._half = make_half(host, box)
            return self._half

        self._block = AioStreamBlock(bridge, kept)

    async def __aenter__(self) -> RelayedAnswer:
        stream = await self._block.__aenter__()
        assert self._half is not None
        answer = RelayedAnswer(stream, self._half.refusal)
        try:
            await answer._begin()
        except BaseException:
            await self._block.__aexit__()
            raise
        return answer

    async def __aexit__(self, *_: object) -> None:
        await self._block.__aexit__()

    def abandon(self) -> None:
        """Leave without waiting; from any thread, idempotent."""
        self._block.abandon()
