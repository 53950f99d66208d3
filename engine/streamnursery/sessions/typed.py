"""A session's events as stream events, for dialogues whose answers were not asked for by
`stream`."""

from collections.abc import AsyncIterator
from typing import Any

from streamnursery.values.events import Failed, StreamEvent
from streamnursery.wire.dialect import DialogueDecoder


class TypedEvents:
    """One answer after the other, each ended by `Finished` or `Failed`. Events that say nothing of
    an answer are passed over."""

    def __init__(self, events: AsyncIterator[dict[str, Any]], decoder: DialogueDecoder) -> None:
        self._events = events
        self._decoder = decoder
        self._ready: list[StreamEvent | Failed] = []

    def __aiter__(self) -> "TypedEvents":
        return self

    async def __anext__(self) -> StreamEvent | Failed:
        while not self._ready:
            self._ready += self._decoder.feed(await self._events.__anext__())
        return self._ready.pop(0)
