"""A thousand requests cancelled at any moment, on real sockets: nothing is left of them."""

import random

import trio

from streamnursery.testing import no_files_left_open
from streamnursery.transport.client import HttpTransport
from tests.support.servers import RawServer, fetch, serving, transporting
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    Collector,
    Phases,
    ServerEnd,
    chunk,
)


async def serve(end: ServerEnd) -> None:
    while await end.read_request():
        await trio.sleep(0.002)
        await end.send(CHUNKED_HEAD)
        for _ in range(5):
            await end.send(chunk(b"data: x\n\n"))
            await trio.sleep(0.001)
        await end.send(LAST_CHUNK)


async def push(transport: HttpTransport, server: RawServer) -> None:
    response = await transport.open(server.request(), Phases())
    try:
        sink = Collector()
        response.attach(sink)
        await sink.ended.wait()
    finally:
        response.close()


async def test_x1_a_thousand_cancelled_requests_leave_nothing() -> None:
    dice = random.Random(7)
    cancelled = 0

    async def one(transport: HttpTransport, server: RawServer, seconds: float) -> None:
        nonlocal cancelled
        with trio.move_on_after(seconds) as scope:
            if dice.random() < 0.5:
                await push(transport, server)
            else:
                await fetch(transport, server.request(body=b"x" * dice.choice([2, 200_000])))
        cancelled += scope.cancelled_caught

    with no_files_left_open():
        async with serving(serve) as server, transporting() as transport:
            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    for _ in range(100):
                        nursery.start_soon(one, transport, server, dice.uniform(0, 0.03))
                assert transport.statistics().busy == 0
            assert await fetch(transport, server.request()) == (200, b"data: x\n\n" * 5)
            idle = transport.statistics().idle
            assert 1 <= idle <= 100
    assert cancelled > 500


async def test_x3_a_cancelled_crowd_is_gone_at_once() -> None:
    all_there = trio.Event()
    there = 0

    async def never(end: ServerEnd) -> None:
        nonlocal there
        await end.read_request()
        await end.send(CHUNKED_HEAD)
        there += 1
        if there == 200:
            all_there.set()
        await trio.sleep_forever()

    with no_files_left_open():
        async with serving(never) as server, transporting() as transport:
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(push, transport, server)
                await all_there.wait()
                nursery.cancel_scope.cancel()
            statistics = transport.statistics()
            assert (statistics.busy, statistics.idle) == (0, 0)
