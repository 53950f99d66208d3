"""The simulated network: names, connections, and the two ends of a pipe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery.simulator import Link, Provider, SimNetwork
from streamnursery.simulator.pipe import PipeConnection, pipe
from tests.support.checkpoints import Call, Table
from tests.support.scene import AT_ONCE

TABLE = Table()


@asynccontextmanager
async def network(**of: Any) -> AsyncIterator[SimNetwork]:
    async with trio.open_nursery() as nursery:
        provider = Provider(dice=Random(1), models={"m": AT_ONCE}, **of)
        yield SimNetwork(nursery, {"main.example.com": provider})
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[PipeConnection, PipeConnection]]:
    ours, theirs = pipe(Link(window=10))
    yield ours, theirs
    ours.close()
    theirs.close()


@TABLE.case("PipeConnection.send_all", "there is room")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, _):
        yield lambda: ours.send_all(b"x")


@TABLE.case("PipeConnection.send_all", "the other end was reset", ConnectionResetError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, theirs):
        theirs.reset()
        yield lambda: ours.send_all(b"x")


@TABLE.case("PipeConnection.wait_readable", "bytes have come")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, theirs):
        await theirs.send_all(b"x")
        yield ours.wait_readable


@TABLE.case("PipeConnection.wait_readable", "closed here", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, _):
        ours.close()
        yield ours.wait_readable


@TABLE.case("PipeConnection.wait_readable", "another waits", trio.BusyResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, _), trio.open_nursery() as nursery:
        nursery.start_soon(ours.wait_readable)
        await wait_all_tasks_blocked()
        yield ours.wait_readable
        nursery.cancel_scope.cancel()


@TABLE.case("PipeConnection.wait_writable", "there is room")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, _):
        yield ours.wait_writable


@TABLE.case("PipeConnection.wait_writable", "closed here", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with ends() as (ours, _):
        ours.close()
        yield ours.wait_writable


@TABLE.case("simulator.SimNetwork.resolve", "a name it has")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        yield lambda: net.resolve("main.example.com", 80)


@TABLE.case("simulator.SimNetwork.resolve", "a name it has not", OSError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        yield lambda: net.resolve("other.example.com", 80)


@TABLE.case("simulator.SimNetwork.connect", "an address it has")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        yield lambda: net.connect(("45.0.0.1", 80))


@TABLE.case("simulator.SimNetwork.connect", "an address it has not", OSError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        yield lambda: net.connect(("45.0.0.9", 80))


@TABLE.case("simulator.SimNetwork.stop", "no connection is open")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        yield net.stop


@TABLE.case("simulator.SimNetwork.stop", "a connection is open")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        connection = await net.connect(("45.0.0.1", 80))
        await wait_all_tasks_blocked()
        yield net.stop
        connection.close()
