"""A provider that keeps its streams, and the dialect of it: SSE with ids, resumed by
Last-Event-ID. It stands in for what a real dialect with cursors does."""

from collections.abc import Callable
from math import inf

import attrs
import trio

from streamnursery.supervisor.ports import ByteSink, ConnectProgress, HeadListener, Phase
from streamnursery.values.errors import ConnectionLostError, EngineError, TruncatedStreamError
from streamnursery.values.events import Finished, StreamEvent, TextDelta, UsageReport
from streamnursery.values.http import HttpHead, HttpRequest
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Endpoint
from streamnursery.values.usage import Usage
from streamnursery.wire.dialect import Cursor, Resumption, StreamDecoder
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.openai_chat.client import OpenAIChat


class NumberedStream:
    """Events `id: N`, `data: word`, the last one with the data `END`."""

    def __init__(self, after: int = 0) -> None:
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = "kept-1"
        self.response_model: str | None = None
        self.after = after
        self._rest = b""

    buffered = 0

    @property
    def cursor(self) -> Cursor | None:
        return Cursor("kept-1", self.after)

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        for record in whole:
            number, text = record.decode().removeprefix("id: ").split("\ndata: ")
            assert int(number) == self.after + 1, "a gap or a repeat in the sequence"
            self.after = int(number)
            if text == "END":
                self.done = True
                usage = Usage(input_tokens=7, output_tokens=self.after - 1)
                return [*events, UsageReport(usage), Finished("stop")]
            events.append(TextDelta(text))
        return events

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        self.failure = TruncatedStreamError("no end")
        return []


class Numbered(OpenAIChat):
    """The dialect."""

    def decoder(self, request: ChatRequest) -> NumberedStream:  # type: ignore[override]
        return NumberedStream()

    def resume(
        self,
        request: ChatRequest,
        endpoint: Endpoint,
        model: str,
        cursor: Cursor,
    ) -> Resumption:
        headers = (("last-event-id", str(cursor.after)),)
        return Resumption(f"/streams/{cursor.stream}", query={"stream": "true"}, headers=headers)

    def resumed(
        self,
        request: ChatRequest,
        broken: StreamDecoder,
    ) -> NumberedStream:
        assert isinstance(broken, NumberedStream)
        return NumberedStream(broken.after)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return error_from_answer(head, body, now=now)


@attrs.define(eq=False)
class Kept:
    """A transport and the provider behind it. `breaks` are, for each request in turn, the events
    after which the connection is lost; a status there answers instead."""

    words: list[str]
    breaks: list[int | None]
    statuses: list[int] = attrs.field(factory=list)
    requests: list[HttpRequest] = attrs.field(factory=list, init=False)
    open: int = attrs.field(default=0, init=False)

    async def open_(self, request: HttpRequest, progress: ConnectProgress) -> "KeptResponse":
        for phase in (Phase.CONNECTING, Phase.CONNECTED, Phase.SENDING):
            progress.enter(phase)
        await trio.sleep(0.1)
        number = len(self.requests)
        self.requests.append(request)
        status = self.statuses[number] if number < len(self.statuses) else 200
        after = int(dict(request.headers).get("last-event-id", 0))  # type: ignore[arg-type]
        most = self.breaks[number] if number < len(self.breaks) else None
        self.open += 1
        return KeptResponse(self, status, after, most)


class KeptTransport:
    """`Kept` as a `Transport`."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def open(self, request: HttpRequest, progress: ConnectProgress) -> "KeptResponse":
        return await self._kept.open_(request, progress)

    async def begin(
        self, request: HttpRequest, progress: ConnectProgress, after: object = None
    ) -> "KeptResponse":
        assert after is None
        return await self._kept.open_(request, progress)


class KeptResponse:
    """Sends event by event for as long as its sink takes them."""

    unseen = False

    def __init__(self, kept: Kept, status: int, after: int, most: int | None) -> None:
        headers = (("content-type", "text/event-stream" if status == 200 else "application/json"),)
        self.head = HttpHead(status, headers)
        self._kept = kept
        self._next = after
        self._most = most
        self._sink: ByteSink | None = None
        self._closed = False

    def expect(self, on_head: HeadListener) -> None:
        on_head(None)

    async def send(self, request: HttpRequest) -> None:
        """It was."""

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b""

    def attach(self, sink: ByteSink) -> None:
        self._sink = sink
        self.resume()

    def resume(self) -> None:
        assert self._sink is not None
        events = [*self._kept.words, "END"]
        while self._next < len(events):
            if self._most is not None and self._next >= self._most:
                self._sink.end(ConnectionLostError("the line broke"))
                return
            self._next += 1
            if not self._sink.feed(
                f"id: {self._next}\ndata: {events[self._next - 1]}\n\n".encode()
            ):
                return

    async def catch_up(self) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    def mark_unreusable(self) -> None:
        """The connection is nobody else's."""

    async def drain(
        self,
        until: float = inf,
        *,
        blank: bool = False,
        rest: Callable[[bytes], object] | None = None,
    ) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._kept.open -= 1
