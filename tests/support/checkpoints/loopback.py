"""What needs a socket of this machine, or a process; real time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio

from streamnursery.bench.calibrate import calibrate
from streamnursery.simulator import LoopbackServer, Provider, serve_loopback
from tests.support.checkpoints import Call, Table

TABLE = Table()


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[trio.Nursery, LoopbackServer]]:
    async with trio.open_nursery() as nursery:
        yield nursery, await serve_loopback(Provider(dice=Random(1)), nursery=nursery)
        nursery.cancel_scope.cancel()


@TABLE.case("simulator.serve_loopback", "a free port")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with listening() as (nursery, _):
        yield lambda: serve_loopback(Provider(dice=Random(1)), nursery=nursery)


@TABLE.case("simulator.serve_loopback", "a port that is taken", OSError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with listening() as (nursery, server):
        provider = Provider(dice=Random(1))
        yield lambda: serve_loopback(provider, nursery=nursery, port=server.port)


@TABLE.case("simulator.LoopbackServer.stop", "no connection is open")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with listening() as (_, server):
        yield server.stop


@TABLE.case("bench.calibrate", "a few requests")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: calibrate(requests=2, tokens=2)
