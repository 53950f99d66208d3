"""The stream of an API whose writer sends each token as events: with their names, and
with the faults of the chat stream."""

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from streamnursery.simulator.chat import AnswerSpec, Events
from streamnursery.simulator.script import BadJson, BadUtf8
from streamnursery.wire.openai_chat.server import Part

_encode = msgspec.json.encode


class Telling(Protocol):
    """A writer of such an API."""

    def opening(self) -> list[bytes]: ...

    def token(self, part: Part, content: Any, /) -> list[bytes]:
        """Its last event has the token; those before it end and begin items."""


T = TypeVar("T", bound=Telling)


class ToldEvents(Events, Generic[T]):
    """As server-sent events, named by their `type`."""

    marker = b'"type":"'
    """Stands before the name."""

    def __init__(self, sheet: AnswerSpec, telling: T) -> None:
        super().__init__(sheet)
        self._told = telling
        self._last = b""
        self._piece = b""
        """The last token as JSON."""

    def _opening(self) -> Iterator[bytes]:
        yield self._framed(self._told.opening())

    def _token(self, _index: int, part: Part, content: Any) -> bytes:
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        self._piece = _encode(piece)
        return self._framed(self._told.token(part, content))

    def _spoiled(self, count: int, event: bytes) -> bytes:
        """Only the token's own event, and not those that open its item."""
        if not any(isinstance(fault, BadJson | BadUtf8) for fault in self._faults[count]):
            return event
        before = event[: len(event) - len(self._last)]
        return before + super()._spoiled(count, self._last)

    def _with_bad_utf8(self, event: bytes) -> bytes:
        before, found, after = event.rpartition(self._piece)
        return before + b'"\xe2\x82"' + after if found else event

    def _framed(self, told: list[bytes]) -> bytes:
        framed = [self._event(data) for data in told]
        self._last = framed[-1] if framed else b""
        return b"".join(framed)

    def _event(self, data: bytes) -> bytes:
        kind = data.partition(self.marker)[2].partition(b'"')[0]
        comments = self._before.removesuffix(b"data: ")
        name = b"event: " + kind + self._newline if kind else b""
        return comments + name + b"data: " + data + self._after
