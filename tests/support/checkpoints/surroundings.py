"""Opening engines, transports under httpx and worlds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
import trio

from streamnursery import ConfigError, EngineClosedError, open_engine, open_transport
from streamnursery.simulator import RefuseConnect
from streamnursery.testing import World, after_faults_stop, simulated_world, wait_quiescent
from streamnursery.testing.byte_streams import WorldStream
from streamnursery.testing.load import Traffic
from streamnursery.testing.sim_disk import SimDisk
from tests.support.checkpoints import Call, Make, Table
from tests.support.checkpoints.network import network
from tests.support.scene import always, scene, wall

TABLE = Table()
WRONG = {"engine": {"max_streams": -1}}


# open_engine. --------------------------------------------------------------------------------


@TABLE.block("open_engine")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    yield lambda: open_engine({}, seed=1, wall=wall)


@TABLE.case("open_engine (enter)", "a wrong configuration", ConfigError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: open_engine(WRONG).__aenter__()


# open_transport. -----------------------------------------------------------------------------


def request(url: str = "http://main.example.com/v1/chat/completions") -> httpx.Request:
    message = {"role": "user", "content": "hello"}
    return httpx.Request("POST", url, json={"model": "m", "messages": [message]})


@TABLE.block("open_transport")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    async with network() as net:
        yield lambda: open_transport(network=net)


@TABLE.case("StreamNurseryTransport.handle_async_request", "an answer")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net, open_transport(network=net) as transport:
        yield lambda: transport.handle_async_request(request())


@TABLE.case(
    "StreamNurseryTransport.handle_async_request", "another scheme", httpx.UnsupportedProtocol
)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net, open_transport(network=net) as transport:
        yield lambda: transport.handle_async_request(request("ftp://main.example.com"))


@TABLE.case(
    "StreamNurseryTransport.handle_async_request", "the connection is refused", httpx.ConnectError
)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network(plan=always(RefuseConnect())) as net:
        async with open_transport(network=net) as transport:
            yield lambda: transport.handle_async_request(request())


@TABLE.case("StreamNurseryTransport.handle_async_request", "the block was left", EngineClosedError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        async with open_transport(network=net) as transport:
            pass
        yield lambda: transport.handle_async_request(request())


@TABLE.case("StreamNurseryTransport.aclose", "nothing is under way")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net, open_transport(network=net) as transport:
        yield transport.aclose


# Worlds. -------------------------------------------------------------------------------------


@TABLE.block("testing.simulated_world")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    yield simulated_world


@TABLE.block("testing.World.opened")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    yield lambda: World(1).opened()


@TABLE.case("testing.World.opened (enter)", "it is open already", RuntimeError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with simulated_world() as world:
        yield lambda: world.opened().__aenter__()


@TABLE.block("testing.World.open_engine")
@asynccontextmanager
async def _() -> AsyncIterator[Make]:
    async with simulated_world() as world:
        yield world.open_engine


@TABLE.case("testing.World.open_engine (enter)", "a wrong configuration", ConfigError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with simulated_world() as world:
        yield lambda: world.open_engine(WRONG).__aenter__()


@TABLE.case("testing.World.open_engine (enter)", "the world is not open", RuntimeError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: World(1).open_engine().__aenter__()


async def nobody(stream: WorldStream) -> None:
    """A server that reads until its client goes."""
    async for _ in stream:
        pass


async def greeter(stream: WorldStream) -> None:
    await stream.send_all(b"hello")
    await nobody(stream)


@TABLE.case("testing.World.connect", "a server")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    made: list[WorldStream] = []

    async def connect(world: World) -> WorldStream:
        made.append(await world.connect(nobody))
        return made[-1]

    async with simulated_world() as world:
        yield lambda: connect(world)
        for stream in made:
            await stream.aclose()


@TABLE.case("testing.World.connect", "the world is not open", RuntimeError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: World(1).connect(nobody)


@asynccontextmanager
async def connected() -> AsyncIterator[WorldStream]:
    async with simulated_world() as world, await world.connect(greeter) as stream:
        yield stream


@TABLE.case("WorldStream.receive_some", "something has come")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        yield stream.receive_some


@TABLE.case("WorldStream.receive_some", "no bytes are asked for", ValueError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        yield lambda: stream.receive_some(0)


@TABLE.case("WorldStream.send_all", "there is room")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        yield lambda: stream.send_all(b"hello")


@TABLE.case("WorldStream.wait_send_all_might_not_block", "there is room")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        yield stream.wait_send_all_might_not_block


@TABLE.case("WorldStream.send_eof", "once")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        yield stream.send_eof


@TABLE.case("WorldStream.aclose", "it is open")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        yield stream.aclose


@TABLE.case("WorldStream.receive_some", "it was closed", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        await stream.aclose()
        yield stream.receive_some


@TABLE.case("WorldStream.send_all", "it was closed", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        await stream.aclose()
        yield lambda: stream.send_all(b"hello")


@TABLE.case("WorldStream.wait_send_all_might_not_block", "it was closed", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        await stream.aclose()
        yield stream.wait_send_all_might_not_block


@TABLE.case("WorldStream.send_eof", "it was closed", trio.ClosedResourceError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with connected() as stream:
        await stream.aclose()
        yield stream.send_eof


@TABLE.case("Traffic.run", "no arrivals")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with simulated_world() as world:
        yield lambda: Traffic(()).run(world)


@TABLE.case("Traffic.meet", "no arrivals")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        yield lambda: Traffic(()).meet(s.engine)


@TABLE.case("testing.after_faults_stop", "every stream is over")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with simulated_world() as world:
        yield lambda: after_faults_stop(world, within=1)


@TABLE.case("testing.after_faults_stop", "a stream is stuck", AssertionError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with simulated_world() as world, world.open_engine({"engine": {"max_streams": 0}}) as eng:
        async with eng.stream("m", "hello"):
            yield lambda: after_faults_stop(world, within=0)


@TABLE.case("testing.wait_quiescent", "nothing is left")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s:
        yield lambda: wait_quiescent(s.engine)


@TABLE.case("testing.wait_quiescent", "a slot is taken", AssertionError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with scene() as s, s.engine.lease("m"):
        yield lambda: wait_quiescent(s.engine, within=0)


@TABLE.case("testing.SimDisk.run", "a job")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    disk = SimDisk(dice=Random(1))
    yield lambda: disk.run(lambda: "done")
