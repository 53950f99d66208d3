"""A stream as the body of a response: it owns the stream's block.

Rule 1: to stop iterating ends the stream upstream: by closing, by a cancel inside
        `__anext__`, and by letting go of the object, which is all that some servers do.
Rule 2: the status has been sent when something fails: errors are the last event.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from streamnursery.bridge.json_events import event_json, failed_json
from streamnursery.values.errors import EngineError

if TYPE_CHECKING:
    from streamnursery.values.events import StreamEvent


class ReadsWithin(Protocol):
    """A stream inside its block."""

    async def receive_within(self, seconds: float | None) -> "list[StreamEvent]":
        """The events of one read; none after so long."""


class ServedBlock(Protocol):
    """The block of a stream."""

    async def __aenter__(self) -> ReadsWithin: ...

    async def __aexit__(self, *_: object) -> None: ...

    def abandon(self) -> None:
        """Leave without waiting; from any thread."""


_COMMENT = b": nothing yet\n\n"


class ServedStream(AsyncIterator[bytes]):
    """Pieces of a body, one for each read of the provider. Iterated once."""

    def __init__(self, block: ServedBlock, *, sse: bool, ping: float | None) -> None:
        self._block = block
        self._before, self._after = (b"data: ", b"\n\n") if sse else (b"", b"\n")
        self._ping = ping
        self._stream: ReadsWithin | None = None
        self._last = False
        """The last event has been handed out."""
        self._closed = False

    def __aiter__(self) -> "ServedStream":
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._closed or self._last:
                raise StopAsyncIteration
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End the stream; idempotent."""
        if not self._closed:
            self._closed = True
            if self._stream is not None:
                await self._block.__aexit__()

    def __del__(self) -> None:
        if not self._closed and self._stream is not None:
            self._block.abandon()

    async def _next(self) -> bytes:
        try:
            if self._stream is None:
                self._stream = await self._block.__aenter__()
            events = await self._stream.receive_within(self._ping)
        except StopAsyncIteration:
            raise
        except EngineError as error:
            self._last = True
            return self._before + failed_json(error) + self._after
        return self._body(events) if events else _COMMENT

    def _body(self, events: "list[StreamEvent]") -> bytes:
        return b"".join(self._before + event_json(event) + self._after for event in events)
