"""A session's events as stream events, for dialogues whose answers nobody asked for by `stream`."""

import json
from collections.abc import AsyncIterator
from typing import Any

from streamnursery.values.events import Failed, Finished, StreamEvent
from streamnursery.wire.openai_responses.event import Event
from streamnursery.wire.openai_responses.turn import ResponsesTurn

_BEGINS = "response.created"


class TypedEvents:
    """One answer after the other, each ended by `Finished` or `Failed`. Events that say nothing of
    an answer are passed over."""

    def __init__(self, events: AsyncIterator[dict[str, Any]]) -> None:
        self._events = events
        self._turn = ResponsesTurn()
        self._ready: list[StreamEvent | Failed] = []

    def __aiter__(self) -> "TypedEvents":
        return self

    async def __anext__(self) -> StreamEvent | Failed:
        while not self._ready:
            self._take(await self._events.__anext__())
        return self._ready.pop(0)

    def _take(self, raw: dict[str, object]) -> None:
        if raw.get("type") == _BEGINS:
            self._turn = ResponsesTurn()
        turn = self._turn
        if turn.done or turn.failure is not None:
            if raw.get("type") != "error":
                return
            turn = self._turn = ResponsesTurn()
        events: list[StreamEvent] = []
        event = Event(**{name: raw.get(name) for name in Event.__struct_fields__})
        turn.take(event, json.dumps(raw).encode(), events)
        self._ready += events
        if turn.failure is not None:
            self._ready.append(Failed(turn.failure))
        assert not events or not turn.done or type(events[-1]) is Finished
