"""The events of many streams through one bounded channel."""

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamnursery.values.events import Failed, StreamEvent

T = TypeVar("T")
MergedEvent: TypeAlias = "tuple[int, StreamEvent | Failed]"


class MergedEvents:
    """`(index, event)` pairs. Events of one stream keep their order; a batch stays together."""

    def __init__(self, channel: trio.MemoryReceiveChannel[list[MergedEvent]]) -> None:
        self._channel = channel
        self._batch: Iterator[MergedEvent] = iter(())

    def __aiter__(self) -> "MergedEvents":
        return self

    async def __anext__(self) -> MergedEvent:
        while True:
            for pair in self._batch:
                return pair
            self._batch = iter(await next_of(self._channel))


async def next_of(channel: trio.MemoryReceiveChannel[T]) -> T:
    """For `__anext__`. A checkpoint also at the end, where the channel's own look is none."""
    try:
        return await channel.receive()
    except trio.EndOfChannel:
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration from None
    except trio.ClosedResourceError:
        await trio.lowlevel.checkpoint()
        raise
