"""One stream, and the readers that share it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import (
    Broadcast,
    RequestError,
    StreamCancelledError,
    TokenStream,
    TruncatedStreamError,
)
from streamnursery.pipeline.broadcast import Reader
from streamnursery.plugins import Channel
from streamnursery.simulator import Cut, Plan, Profile, Stall
from tests.support.checkpoints import Call, Raised, Table
from tests.support.scene import AT_ONCE, PACED, always, scene

TABLE = Table()
Opened: TypeAlias = AbstractAsyncContextManager[TokenStream]


@asynccontextmanager
async def running(
    profile: Profile = AT_ONCE, plan: Plan | None = None
) -> AsyncIterator[TokenStream]:
    """What comes at once has come, and nobody has read of it."""
    async with scene(plan, profile=profile, model={"retries": {"attempts": 1}}) as s:
        async with s.engine.stream("m", "hello") as stream:
            await wait_all_tasks_blocked()
            yield stream


@asynccontextmanager
async def ended() -> AsyncIterator[TokenStream]:
    async with running() as stream:
        await stream.completion()
        yield stream


@asynccontextmanager
async def cancelled() -> AsyncIterator[TokenStream]:
    """Its reader had taken one event of five, and the provider was silent since."""
    async with running(plan=always(Stall(5, None))) as stream:
        await anext(stream)
        stream.cancel()
        yield stream


@asynccontextmanager
async def broken() -> AsyncIterator[TokenStream]:
    """All has been read but the error."""
    async with running(plan=always(Cut(3, how="end"))) as stream:
        for _ in range(3):
            await anext(stream)
        yield stream


@asynccontextmanager
async def read_by_another() -> AsyncIterator[TokenStream]:
    async with running(PACED) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.completion)
        await wait_all_tasks_blocked()
        yield stream


@asynccontextmanager
async def begun() -> AsyncIterator[TokenStream]:
    """Its reader has taken one event of a batch."""
    async with running() as stream:
        await anext(stream)
        yield stream


# The stream itself. --------------------------------------------------------------------------

CALLS: dict[str, Callable[[TokenStream], Awaitable[Any]]] = {
    "TokenStream.__anext__": lambda stream: stream.__anext__(),
    "TokenStream.receive": lambda stream: stream.receive(),
    "TokenStream.completion": lambda stream: stream.completion(),
    "TextStream.__anext__": lambda stream: stream.text().__anext__(),
}
ENDS: dict[str, Raised] = {
    "TokenStream.receive": trio.EndOfChannel,
    "TokenStream.completion": None,
}


def case(name: str, when: str, opened: Callable[[], Opened], raises: Raised = None) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        async with opened() as stream:
            yield lambda: CALLS[name](stream)

    TABLE.case(name, when, raises)(ready)


for _name in CALLS:
    case(_name, "events have come", running)
    case(_name, "the first comes later", lambda: running(PACED))
    case(_name, "it has ended", ended, ENDS.get(_name, StopAsyncIteration))
    case(_name, "it was cancelled", cancelled, StreamCancelledError)
    case(_name, "it broke", broken, TruncatedStreamError)
    case(_name, "another task reads it", read_by_another, trio.BusyResourceError)
case("TokenStream.receive", "a part of a batch is left", begun)
case("TokenStream.completion", "a part of a batch is left", begun)


# Its readers. --------------------------------------------------------------------------------


def reading(
    when: str, opened: Callable[[], Opened], call: Callable[[Broadcast], Any], raises: Raised = None
) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        async with opened() as stream:
            with call(stream.broadcast()) as events:
                yield events.__anext__

    TABLE.case("Reader.__anext__", when, raises)(ready)


reading("events have come", running, lambda shared: shared.reader())
reading("the first comes later", lambda: running(PACED), lambda shared: shared.reader())
reading("the stream has ended", ended, lambda shared: shared.reader(), StopAsyncIteration)
reading("the stream broke", broken, lambda shared: shared.reader(), TruncatedStreamError)


@asynccontextmanager
async def replayed() -> AsyncIterator[tuple[Broadcast, Reader]]:
    """A reader that came late, and has events from the journal."""
    async with running() as stream:
        shared = stream.broadcast()
        with shared.reader() as first:
            await anext(first)
            with shared.reader(offset=0) as late:
                yield shared, late


@TABLE.case("Reader.__anext__", "events are replayed")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with replayed() as (_, late):
        yield late.__anext__


@TABLE.case("Reader.__anext__", "it was detached", StopAsyncIteration)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with replayed() as (_, late):
        late.detach()
        yield late.__anext__


@TABLE.case("Reader.__anext__", "its block was not entered", RequestError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with running() as stream:
        yield stream.broadcast().reader().__anext__


@TABLE.case("Broadcast.more", "events have come")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with running() as stream:
        yield stream.broadcast().more


@TABLE.case("Broadcast.more", "the stream broke", TruncatedStreamError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with broken() as stream:
        shared = stream.broadcast()
        await shared.more()
        yield shared.more


@TABLE.case("Channel.receive", "a batch is there")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    channel: Channel[int] = Channel(max_items=10, max_bytes=100)
    channel.put([1], 1)
    yield channel.receive


@TABLE.case("Channel.receive", "it was closed")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    channel: Channel[int] = Channel(max_items=10, max_bytes=100)
    channel.close()
    yield channel.receive


@TABLE.case("Channel.receive", "another task receives", trio.BusyResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    channel: Channel[int] = Channel(max_items=10, max_bytes=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.receive)
        await wait_all_tasks_blocked()
        yield channel.receive
        channel.close()
