"""Requests that are passed on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from trio.testing import wait_all_tasks_blocked

from streamnursery import RequestError, TruncatedStreamError
from streamnursery.errors import EngineClosedError
from streamnursery.pipeline.relayed import RelayedAnswer
from streamnursery.simulator import Cut, Plan, Profile
from tests.support.checkpoints import Call, Make, Raised, Table
from tests.support.relays import BODY, CHAT
from tests.support.scene import AT_ONCE, PACED, always, scene

TABLE = Table()
Opened: TypeAlias = AbstractAsyncContextManager[RelayedAnswer]


@asynccontextmanager
async def running(
    profile: Profile = AT_ONCE, plan: Plan | None = None
) -> AsyncIterator[RelayedAnswer]:
    """Its head has come, and bytes."""
    async with scene(plan, profile=profile, model={"retries": {"attempts": 1}}) as s:
        async with s.engine.relay("m", CHAT, BODY) as answer:
            await wait_all_tasks_blocked()
            yield answer


@asynccontextmanager
async def paced() -> AsyncIterator[RelayedAnswer]:
    """What had come has been read."""
    async with running(PACED) as answer:
        await anext(answer)
        yield answer


@asynccontextmanager
async def ended() -> AsyncIterator[RelayedAnswer]:
    async with running() as answer:
        await answer.read()
        yield answer


@asynccontextmanager
async def broken() -> AsyncIterator[RelayedAnswer]:
    """All has been read but the error."""
    async with running(plan=always(Cut(3, how="end"))) as answer:
        got = b""
        while got.count(b"data: ") < 4:
            got += await anext(answer)
        yield answer


CALLS: dict[str, Callable[[RelayedAnswer], Awaitable[Any]]] = {
    "RelayedAnswer.__anext__": lambda answer: answer.__anext__(),
    "RelayedAnswer.read": lambda answer: answer.read(),
}


def case(name: str, when: str, opened: Callable[[], Opened], raises: Raised = None) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        async with opened() as answer:
            yield lambda: CALLS[name](answer)

    TABLE.case(name, when, raises)(ready)


case("RelayedAnswer.__anext__", "the next comes later", paced)
case("RelayedAnswer.__anext__", "it has ended", ended, StopAsyncIteration)
case("RelayedAnswer.__anext__", "it broke", broken, TruncatedStreamError)
case("RelayedAnswer.read", "a part has come", running)
case("RelayedAnswer.read", "the rest comes later", paced)
case("RelayedAnswer.read", "it has ended", ended)
case("RelayedAnswer.read", "it broke", broken, TruncatedStreamError)


@TABLE.block("Engine.relay")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    async with scene(profile=AT_ONCE) as s:
        yield lambda: s.engine.relay("m", CHAT, BODY)


@TABLE.case("Engine.relay (enter)", "it was entered before", RequestError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        block = s.engine.relay("m", CHAT, BODY)
        async with block as answer:
            await answer.read()
        yield block.__aenter__


@TABLE.case("Engine.relay (enter)", "the engine was closed since", EngineClosedError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        blocks = [s.engine.relay("m", CHAT, BODY) for _ in range(2)]
    yield lambda: blocks.pop().__aenter__()
