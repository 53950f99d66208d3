"""The engine's own verbs, and what gathers the answers of many requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import (
    AuthError,
    ChatRequest,
    Engine,
    EngineClosedError,
    OverloadedError,
    RequestError,
)
from streamnursery.errors import QueueDeadlineError, TooManyTokensError
from streamnursery.simulator import Status
from tests.support.checkpoints import Call, Make, Raised, Table
from tests.support.scene import AT_ONCE, always, scene

TABLE = Table()
FULL: dict[str, Any] = {"engine": {"max_streams": 1, "max_queued": 1}}
"""One slot, and room for one who waits for it."""


def ask(prompt: str = "hello") -> ChatRequest:
    return ChatRequest("m", [{"role": "user", "content": prompt}])


async def nothing() -> str:
    return "done"


async def words() -> AsyncIterator[str]:
    yield "done"
    await trio.lowlevel.checkpoint()


# Calls of an engine that is open, and of one that is closed. ---------------------------------


def call(
    name: str,
    when: str,
    make: Callable[[Engine], Awaitable[Any]],
    raises: Raised = None,
    **of: Any,
) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        async with scene(profile=AT_ONCE, **of) as s:
            yield lambda: make(s.engine)

    TABLE.case(name, when, raises)(ready)


def call_when_closed(name: str, make: Callable[[Engine], Awaitable[Any]]) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        async with scene() as s:
            engine = s.engine
        yield lambda: make(engine)

    TABLE.case(name, "the engine is closed", EngineClosedError)(ready)


call("Engine.complete", "an answer", lambda eng: eng.complete("m", "hello"))
call("Engine.complete", "no model's name", lambda eng: eng.complete("", "x"), RequestError)
call(
    "Engine.complete", "a field that has no sense", lambda e: e.complete(ask(), n=-1), RequestError
)
call(
    "Engine.complete",
    "the provider refuses",
    lambda eng: eng.complete("m", "x"),
    AuthError,
    plan=always(Status(401)),
)
call_when_closed("Engine.complete", lambda eng: eng.complete("m", "x"))

call("Engine.run", "a function that does not wait", lambda eng: eng.run("m", nothing))
call("Engine.run", "no model's name", lambda eng: eng.run("", nothing), RequestError)
call_when_closed("Engine.run", lambda eng: eng.run("m", nothing))

call("Engine.settle", "two requests", lambda eng: eng.settle([ask("a"), ask("b")]))
call("Engine.settle", "no request", lambda eng: eng.settle([]))
call("Engine.settle", "none at once", lambda eng: eng.settle([], max_in_flight=0), RequestError)
call("Engine.settle", "text for a source", lambda e: e.settle("no"), RequestError)  # type: ignore[arg-type]

call("Engine.drain", "an idle engine", lambda eng: eng.drain())
call("Engine.drain", "an idle engine and no time for it", lambda eng: eng.drain(0))
call("Engine.drain", "less than no time", lambda eng: eng.drain(-1), RequestError)


# Blocks. -------------------------------------------------------------------------------------


def block(name: str, make: Callable[[Engine], Any]) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Make]:
        async with scene(profile=AT_ONCE) as s:
            yield lambda: make(s.engine)

    TABLE.block(name)(ready)


block("Engine.stream", lambda eng: eng.stream("m", "hello"))
block("Engine.stream_from", lambda eng: eng.stream_from("m", words))
block("Engine.lease", lambda eng: eng.lease("m"))
block("Engine.as_completed", lambda eng: eng.as_completed([ask()]))
block("Engine.merge", lambda eng: eng.merge([ask()]))


@TABLE.case("Engine.stream (enter)", "it was entered before", RequestError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        block = s.engine.stream("m", "hello")
        async with block as stream:
            await stream.completion()
        yield block.__aenter__


@TABLE.case("Engine.stream (enter)", "the engine was closed since", EngineClosedError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        blocks = [s.engine.stream("m", "hello") for _ in range(2)]
    yield lambda: blocks.pop().__aenter__()


@TABLE.case("Engine.lease (enter)", "the engine was closed since", EngineClosedError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        block = s.engine.lease("m")
    yield block.__aenter__


@TABLE.case("Engine.lease (enter)", "more wait than may", OverloadedError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(**FULL) as s:

        async def wait() -> None:
            async with s.engine.lease("m"):
                pass

        async with trio.open_nursery() as nursery:
            async with s.engine.lease("m"):
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                yield lambda: s.engine.lease("m").__aenter__()


@TABLE.case("Engine.lease (enter)", "its deadline is over", QueueDeadlineError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(**FULL) as s:
        async with s.engine.lease("m"):
            yield lambda: s.engine.lease("m", timeout=0).__aenter__()


@TABLE.case("Engine.lease (enter)", "it is more than a limit per minute", TooManyTokensError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(model={"tpm": 10}) as s:
        yield lambda: s.engine.lease("m", input_tokens=11).__aenter__()


# Iterators over many answers. ----------------------------------------------------------------


@TABLE.case("Outcomes.__anext__", "one has ended")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.as_completed([ask()]) as outcomes:
            await wait_all_tasks_blocked()
            yield outcomes.__anext__


@TABLE.case("Outcomes.__anext__", "there are no more", StopAsyncIteration)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.as_completed([]) as outcomes:
            await wait_all_tasks_blocked()
            yield outcomes.__anext__


@TABLE.case("Outcomes.__anext__", "the block was left", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.as_completed([ask()]) as outcomes:
            pass
        yield outcomes.__anext__


@TABLE.case("MergedEvents.__anext__", "events have come")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.merge([ask()]) as events:
            await wait_all_tasks_blocked()
            yield events.__anext__


@TABLE.case("MergedEvents.__anext__", "there are no more", StopAsyncIteration)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.merge([]) as events:
            await wait_all_tasks_blocked()
            yield events.__anext__


@TABLE.case("MergedEvents.__anext__", "the block was left", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.merge([ask()]) as events:
            pass
        yield events.__anext__


@TABLE.case("RecordStream.__anext__", "a record has come")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        with s.engine.events() as records:
            await s.engine.complete("m", "hello")
            yield records.__anext__


@TABLE.case("RecordStream.__anext__", "the block was left", StopAsyncIteration)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene(profile=AT_ONCE) as s:
        with s.engine.events() as records:
            pass
        yield records.__anext__
