"""Many requests from one source: pulled on demand, all settled, none in another's way.

Rule 1: at most `max_in_flight` requests have been taken from the source and not yet been handed
        to the consumer; the next one is taken when one of them is.
Rule 2: a request that fails is an outcome. Only the source's own exception leaves the block.
Rule 3: leaving the block cancels what runs and closes a source that has a `close`.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.pipeline.merge import MergedEvent, MergedEvents, next_of
from streamnursery.pipeline.stream import TokenStream
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.call_options import Call
from streamnursery.values.completion import Completion, Outcome
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.events import Failed
from streamnursery.values.request import ChatRequest

Work: TypeAlias = ChatRequest | Call
"""One of many."""
ChatRequests: TypeAlias = Iterable[ChatRequest] | AsyncIterable[ChatRequest]
Requests: TypeAlias = ChatRequests | Iterable[Work] | AsyncIterable[Work]
Answer: TypeAlias = Callable[[int, Work], Awaitable[Outcome]]
"""The outcome of one; what it raises is a bug."""
OpenStream: TypeAlias = Callable[[ChatRequest], AbstractAsyncContextManager[TokenStream]]
_Step: TypeAlias = Callable[[int, Work], Awaitable[None]]


def answering(complete: Callable[[ChatRequest], Awaitable[Completion]]) -> Answer:
    """Of requests alone."""

    async def answer(index: int, request: Work) -> Outcome:
        try:
            return Outcome(index, request, completion=await complete(_checked(request)))
        except EngineError as error:
            return Outcome(index, request, error=error)

    return answer


class Outcomes:
    """Results as they finish."""

    def __init__(self, channel: trio.MemoryReceiveChannel[Outcome]) -> None:
        self._channel = channel

    def __aiter__(self) -> "Outcomes":
        return self

    async def __anext__(self) -> Outcome:
        return await next_of(self._channel)


async def settle(answer: Answer, requests: Requests, max_in_flight: int) -> list[Outcome]:
    """The outcome of every request, in the order of the source."""
    settled: list[Outcome] = []

    async def one(index: int, request: Work) -> None:
        settled.append(await _outcome(answer, index, request))

    await _for_each(one, requests, max_in_flight)
    settled.sort(key=lambda outcome: outcome.index)
    return settled


@asynccontextmanager
async def as_completed(
    answer: Answer, requests: Requests, max_in_flight: int
) -> AsyncIterator[Outcomes]:
    """Outcomes as they come; a slow consumer holds back the source, not correctness."""
    await trio.lowlevel.checkpoint()
    send, receive = trio.open_memory_channel[Outcome](0)

    async def one(index: int, request: Work) -> None:
        await send.send(await _outcome(answer, index, request))

    async def feed() -> None:
        async with send:
            await _for_each(one, requests, max_in_flight)

    with receive:  # closed last: a sender that is still waiting must meet the cancel instead
        async with _in_background(feed):
            yield Outcomes(receive)


@asynccontextmanager
async def merge(
    open_stream: OpenStream, requests: ChatRequests, max_in_flight: int
) -> AsyncIterator[MergedEvents]:
    """The events of all streams; each ends with `Finished` or `Failed`."""
    await trio.lowlevel.checkpoint()
    send, receive = trio.open_memory_channel[list[MergedEvent]](0)

    async def one(index: int, request: Work) -> None:
        try:
            async with open_stream(_checked(request)) as stream:
                while True:
                    await send.send([(index, event) for event in await stream.receive()])
        except trio.EndOfChannel:
            pass
        except EngineError as error:
            await send.send([(index, Failed(error))])

    async def feed() -> None:
        async with send:
            await _for_each(one, requests, max_in_flight)

    with receive:  # closed last: a sender that is still waiting must meet the cancel instead
        async with _in_background(feed):
            yield MergedEvents(receive)


@asynccontextmanager
async def _in_background(feed: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    with bare_errors():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            yield
            nursery.cancel_scope.cancel()


async def _outcome(answer: Answer, index: int, request: Work) -> Outcome:
    if not isinstance(request, ChatRequest | Call):
        await trio.lowlevel.checkpoint()
        return Outcome(index, request, error=not_a_request(request, calls=True))
    return await answer(index, request)


def _checked(request: object) -> ChatRequest:
    if isinstance(request, ChatRequest):
        return request
    raise not_a_request(request, calls=False)


def not_a_request(request: object, *, calls: bool) -> RequestError:
    """What is wrong with what a source has given."""
    wanted = "ChatRequest values or Calls" if calls else "ChatRequest values"
    return RequestError(f"the source must yield {wanted}, not {type(request).__name__}")


async def _for_each(work: _Step, requests: Requests, max_in_flight: int) -> None:
    """Run `work` on each item in its own task, `max_in_flight` at a time."""
    await trio.lowlevel.checkpoint()
    if max_in_flight < 1:
        msg = f"max_in_flight must be 1 or more, not {max_in_flight}"
        raise RequestError(msg)
    room = trio.Semaphore(max_in_flight)

    @trio.lowlevel.enable_ki_protection
    async def one(index: int, request: Work) -> None:
        try:
            if buggify.world is not None:
                await buggify.world.pause("bulk.next")
            await work(index, request)
        finally:
            room.release()

    with bare_errors():
        async with _Source.of(requests) as source, trio.open_nursery() as nursery:
            index = 0
            await room.acquire()
            async for request in source:
                nursery.start_soon(one, index, request)
                index += 1
                try:
                    room.acquire_nowait()  # as many at once as there is room for
                except trio.WouldBlock:
                    await room.acquire()


@attrs.define
class _Source:
    """A sync or async iterable, read as async and closed at the end."""

    _iterator: Iterator[Work] | AsyncIterator[Work]

    @classmethod
    def of(cls, requests: Requests) -> "_Source":
        if isinstance(requests, AsyncIterable):
            return cls(aiter(requests))
        if isinstance(requests, Iterable) and not isinstance(requests, str | bytes):
            return cls(iter(requests))
        msg = f"requests must be an iterable of ChatRequest, not {type(requests).__name__}"
        raise RequestError(msg)

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> Work:
        if isinstance(self._iterator, AsyncIterator):
            return await anext(self._iterator)
        for request in self._iterator:
            return request
        raise StopAsyncIteration

    async def __aenter__(self) -> "_Source":
        return self

    async def __aexit__(self, *_: object) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            # The source's own cleanup: it may wait, though not for ever.
            with trio.move_on_after(1, shield=True):
                await aclose()
