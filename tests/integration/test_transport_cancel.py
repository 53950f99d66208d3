"""A thousand requests cancelled at any moment, on real sockets: nothing is left of them."""

import random

import trio

from streamnursery.testing import no_files_left_open
from streamnursery.transport.client import HttpTransport
from streamnursery.values.http import HttpRequest
from tests.support.guard import Rounds
from tests.support.servers import fetch, serving, transporting
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    Collector,
    Phases,
    ServerEnd,
    chunk,
)

CROWD = 100
ROUNDS = 16
"""Of the scheduler: about as many as it takes to connect, send a large body and be answered."""


async def serve(end: ServerEnd) -> None:
    """Answers whole but for requests that say "left": these never end."""
    while request := await end.read_request():
        await end.send(CHUNKED_HEAD)
        for _ in range(5):
            await end.send(chunk(b"data: x\n\n"))
            await trio.lowlevel.checkpoint()
        if b"\r\n\r\nleft" in request:
            await trio.sleep_forever()
        await end.send(LAST_CHUNK)


async def push(transport: HttpTransport, request: HttpRequest) -> None:
    response = await transport.open(request, Phases())
    try:
        sink = Collector()
        response.attach(sink)
        await sink.ended.wait()
    finally:
        response.close()


async def test_x1_a_thousand_cancelled_requests_leave_nothing() -> None:
    dice = random.Random(7)
    outcomes: list[tuple[bool, bool]] = []

    with no_files_left_open():
        async with (
            serving(serve) as server,
            transporting() as transport,
            trio.open_nursery() as clock,
        ):
            rounds = Rounds(clock)

            async def one(left: bool) -> None:
                size = dice.choice([2, 200_000])
                request = server.request(body=(b"left" if left else b"read") + b"x" * size)
                way = push if dice.random() < 0.5 else fetch
                moment = dice.randrange(ROUNDS)
                with rounds.cancelled_after(moment) if left else trio.CancelScope() as scope:
                    await way(transport, request)
                outcomes.append((left, scope.cancelled_caught))

            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    for number in range(CROWD):
                        nursery.start_soon(one, number % 3 > 0)
                assert transport.statistics().busy == 0
            assert await fetch(transport, server.request()) == (200, b"data: x\n\n" * 5)
            assert 1 <= transport.statistics().idle <= 100
            clock.cancel_scope.cancel()
    assert len(outcomes) == 10 * CROWD
    assert all(cancelled == left for left, cancelled in outcomes)


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
                    nursery.start_soon(push, transport, server.request())
                await all_there.wait()
                nursery.cancel_scope.cancel()
            statistics = transport.statistics()
            assert (statistics.busy, statistics.idle) == (0, 0)
