"""Sessions, and what is read of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from trio.testing import wait_all_tasks_blocked

from streamnursery import (
    AuthError,
    ConfigError,
    EngineClosedError,
    OverloadedError,
    RequestError,
    Session,
    SessionSettings,
)
from streamnursery.settings import Pending
from streamnursery.simulator import Plan, Status
from tests.support.checkpoints import Call, Make, Raised, Table
from tests.support.scene import AT_ONCE, always, scene

TABLE = Table()
ECHO = {"type": "echo", "id": 1}


@asynccontextmanager
async def opened(plan: Plan | None = None, **settings: Any) -> AsyncIterator[Session]:
    """Connected, or lost by `plan`."""
    async with scene(plan, profile=AT_ONCE) as s:
        async with s.engine.session("main", settings=SessionSettings(**settings)) as session:
            await wait_all_tasks_blocked()
            yield session


def refused() -> Any:
    """Lost at once: the provider knows the key and does not want it."""
    return opened(always(Status(401)))


@asynccontextmanager
async def closed() -> AsyncIterator[Session]:
    async with opened() as session:
        await session._core.close(in_order=True)
        yield session


@asynccontextmanager
async def answered() -> AsyncIterator[Session]:
    """What the provider said to one message has come."""
    async with opened() as session:
        await session.send(ECHO)
        await wait_all_tasks_blocked()
        yield session


@asynccontextmanager
async def full() -> AsyncIterator[Session]:
    """Not connected yet, and its queue has one message, which is all it takes."""
    async with scene() as s:
        settings = SessionSettings(pending=Pending(max_messages=1, when_full="refuse"))
        async with s.engine.session("main", settings=settings) as session:
            session.send_nowait(ECHO)
            yield session


def call(
    name: str,
    when: str,
    make: Callable[[Session], Awaitable[Any]],
    state: Callable[[], Any] = opened,
    raises: Raised = None,
) -> None:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Call]:
        async with state() as session:
            yield lambda: make(session)

    TABLE.case(name, when, raises)(ready)


CALLS: dict[str, Callable[[Session], Awaitable[Any]]] = {
    "Session.beat": lambda session: session.beat(),
    "Session.send": lambda session: session.send(ECHO),
    "Session.wait_open": lambda session: session.wait_open(),
}
for _name, _make in CALLS.items():
    call(_name, "it is open", _make)
    call(_name, "it was closed", _make, closed, EngineClosedError)
    call(_name, "it is lost", _make, refused, AuthError)
call("Session.send", "text for a message", lambda s: s.send("no"), opened, RequestError)  # type: ignore[arg-type]
call("Session.send", "the queue is full", lambda s: s.send(ECHO), full, OverloadedError)
call("Session.__anext__", "a message has come", lambda session: session.__anext__(), answered)
call("Session.__anext__", "it was closed", lambda s: s.__anext__(), closed, StopAsyncIteration)
call("Session.__anext__", "it is lost", lambda s: s.__anext__(), refused, AuthError)
call(
    "TypedEvents.__anext__",
    "it was closed",
    lambda s: s.typed().__anext__(),
    closed,
    StopAsyncIteration,
)
call("TypedEvents.__anext__", "it is lost", lambda s: s.typed().__anext__(), refused, AuthError)


@TABLE.case("Receipt.wait", "the outcome is known")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with opened() as session:
        receipt = session.send_nowait(ECHO)
        await receipt.wait()
        yield receipt.wait


@TABLE.case("TypedEvents.__anext__", "a message has come")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with opened() as session:
        await session.send({"type": "response.create", "model": "m", "input": "hello"})
        await wait_all_tasks_blocked()
        events = session.typed()
        yield events.__anext__


@TABLE.block("Engine.session")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    async with scene() as s:
        yield lambda: s.engine.session("main")


@TABLE.case("Engine.session (enter)", "no such endpoint", ConfigError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        yield lambda: s.engine.session("other").__aenter__()


@TABLE.case("Engine.session (enter)", "the engine is closed", EngineClosedError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        engine = s.engine
    yield lambda: engine.session("main").__aenter__()


@TABLE.block("Session.stream")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    async with opened() as session:
        yield lambda: session.stream("m", "hello")


@TABLE.case("Session.stream (enter)", "it was entered before", RequestError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with opened() as session:
        block = session.stream("m", "hello")
        async with block:
            pass
        yield block.__aenter__
