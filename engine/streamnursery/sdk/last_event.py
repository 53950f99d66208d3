"""Event streams whose end the SDK is told in its API's own words.

anthropic hands errors of the HTTP library on as they are, so its user would meet an exception of
httpx where the stream breaks off. Its API has an event for that, which the SDK raises as its own
error. Such an event can only stand behind a whole one: bytes are handed on up to the last blank
line, and what is behind it waits for the rest of its event, which an SDK could not use before.
"""

from collections.abc import AsyncIterator, Iterator

import msgspec

from streamnursery.values.errors import EngineError

_BLANK = (b"\n\n", b"\r\n\r\n", b"\r\r")


class WholeEvents:
    """Bytes of an event stream, cut at blank lines."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What can be handed on now; may be nothing."""
        held = self._held
        before = max(0, len(held) - 3)  # a blank line may begin in what is held
        held += data
        found = ((held.rfind(blank, before), len(blank)) for blank in _BLANK)
        end = max((at + length for at, length in found if at >= 0), default=0)
        whole = bytes(held[:end])
        del held[:end]
        return whole

    def end(self) -> bytes:
        """The rest, of an answer that ended by itself."""
        rest = bytes(self._held)
        self._held.clear()
        return rest


def wants_whole_events(language: str, status: int, content_type: str) -> bool:
    """Whether the language has an event for an error, and its SDK needs one."""
    streams = content_type.partition(";")[0].strip().lower() == "text/event-stream"
    return language == "anthropic-messages" and status == 200 and streams


def error_event(error: EngineError) -> bytes:
    """The last event of a stream that broke off.

    Source: https://docs.claude.com/en/api/messages-streaming (error events)
    """
    said = {"type": "error", "error": {"type": "api_error", "message": str(error)}}
    return b"event: error\ndata: " + msgspec.json.encode(said) + b"\n\n"


class AsyncWholeEvents(AsyncIterator[bytes]):
    """An answer's bytes in whole events, and behind them its error as one."""

    def __init__(self, answer: AsyncIterator[bytes]) -> None:
        self._answer, self._events, self._over = answer, WholeEvents(), False

    async def __anext__(self) -> bytes:
        while not self._over:
            try:
                whole = self._events.feed(await self._answer.__anext__())
            except StopAsyncIteration:
                self._over, whole = True, self._events.end()
            except EngineError as error:
                self._over, whole = True, error_event(error)
            if whole:
                return whole
        raise StopAsyncIteration


def whole_events(answer: Iterator[bytes]) -> Iterator[bytes]:
    """The same for threads."""
    events = WholeEvents()
    try:
        for data in answer:
            if whole := events.feed(data):
                yield whole
        yield events.end()
    except EngineError as error:
        yield error_event(error)
