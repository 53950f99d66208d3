"""Thousands of connections that ask for nothing, or never to the end: what they cost a server."""

import tracemalloc

import pytest
import trio
from trio.testing import MockClock

from streamnursery.serving.bounds import Bounds
from streamnursery.serving.call import ServerCall
from tests.simulation.test_serving import KIB, echo, serving
from tests.support.simulator import http, read_to_end

CROWD = {"test": 200, "proof": 1000, "soak": 10_000}
KINDS = {
    "says nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nhost: a\r\nx-filler: " + b"f" * 4000,
    "half a body": http(bytes(8 * KIB))[: -4 * KIB],
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_idle_connections_are_bounded_in_number_and_in_memory(
    autojump_clock: MockClock, kind: str, tier: str
) -> None:
    crowd = CROWD[tier]
    async with serving(echo, Bounds(connections=crowd, idle=1000, request=1000)) as site:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        lines = [site.connect() for _ in range(crowd + 50)]
        for line in lines[:crowd]:
            await line.send_all(KINDS[kind])
        await trio.sleep(1)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        statistics = site.service.statistics()
        assert (statistics.current_connections, statistics.refused) == (crowd, 50)
        # Both ends of each pipe and its task are counted, too. Of HTTP/2 it is what h2 keeps.
        bound = 160 * KIB if "HTTP/2" in kind else 40 * KIB
        assert (held - before) / crowd < bound
        for line in lines:
            line.reset()
        await trio.sleep(1)
        assert site.service.statistics().current_connections == 0
        assert (await site.ask(http(b"x"))).body == b"x"


async def test_idle_connections_end_when_their_time_is_up(
    autojump_clock: MockClock, tier: str
) -> None:
    async with serving(echo, Bounds(idle=10, request=20)) as site:
        lines = [site.connect() for _ in range(CROWD[tier])]
        for number, line in enumerate(lines):
            await line.send_all(list(KINDS.values())[number % len(KINDS)])
        await trio.sleep(25)
        assert site.service.statistics().current_connections == 0
        for line in lines:
            line.close()


async def test_a_server_that_is_cancelled_leaves_no_connection_answer_or_body(
    autojump_clock: MockClock,
) -> None:
    async def slow(call: ServerCall) -> None:
        await call.body()
        await trio.sleep_forever()

    async with serving(slow) as site:
        lines = [site.connect() for _ in range(100)]
        for number, line in enumerate(lines):
            whole = http(bytes(KIB))
            await line.send_all(whole if number % 2 else whole[:-1])
        await trio.sleep(1)
        assert site.service.statistics().current_body_bytes > 0
        site.service.close()  # what a cancelled `stop` does, on Ctrl-C
        for line in lines:
            assert (await read_to_end(line)).raw == b""
            line.close()
