"""The events of many streams through one bounded channel."""

from typing import TYPE_CHECKING, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamnursery.values.events import Failed, StreamEvent

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
            try:
                self._batch = iter(await self._channel.receive())
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
