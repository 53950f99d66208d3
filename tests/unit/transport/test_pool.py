"""Idle connections: newest first, bounded, looked at before use, never waited for."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.transport.pool import IDLE_SECONDS, Pool, idle_seconds
from streamnursery.values.http import HttpHead, Peer
from streamnursery.values.origin import Origin

PEER = Peer(Origin("https", "a.test", 443))
OTHER = Peer(Origin("https", "b.test", 443))


def make(per_peer: int = 10, overall: int = 100) -> Pool:
    return Pool(max_idle_per_peer=per_peer, max_idle=overall)


def idle(pool: Pool, peer: Peer = PEER, seconds: float = IDLE_SECONDS) -> PipeConnection:
    connection, _ = pipe()
    pool.checkin(peer, connection, seconds)
    return connection


async def test_the_newest_connection_is_handed_out_first() -> None:
    pool = make()
    first, second = idle(pool), idle(pool)
    assert pool.checkout(PEER) is second
    assert pool.checkout(PEER) is first
    assert pool.checkout(PEER) is None
    assert len(pool) == 0


DIFFERING = [
    OTHER,
    attrs.evolve(PEER, ca_file="ca.pem"),
    attrs.evolve(PEER, proxy="http://proxy:3128"),
    attrs.evolve(PEER, insecure=True),
    attrs.evolve(PEER, deny_private=True),
    attrs.evolve(PEER, http="1.1"),
    Peer(Origin("http", "a.test", 443)),
]


@pytest.mark.parametrize("peer", DIFFERING)
async def test_a_connection_is_never_shared_between_peers_that_differ(peer: Peer) -> None:
    pool = make()
    idle(pool)
    assert pool.checkout(peer) is None


async def test_a_connection_that_expired_is_closed_and_not_used(autojump_clock: MockClock) -> None:
    pool = make()
    old = idle(pool)
    await trio.sleep(IDLE_SECONDS)
    assert pool.checkout(PEER) is None
    assert old.closed


async def test_expiry_closes_what_is_due_and_says_when_to_come_back(
    autojump_clock: MockClock,
) -> None:
    pool = make()
    short, long = idle(pool, seconds=1), idle(pool, seconds=3)
    assert pool.expire() == 1
    await trio.sleep(1)
    assert pool.expire() == 3
    assert short.closed and not long.closed
    await trio.sleep(2)
    assert pool.expire() is None
    assert long.closed


@pytest.mark.parametrize("news", ["fin", "rst", "bytes"])
async def test_a_connection_on_which_anything_arrived_is_closed_and_not_used(news: str) -> None:
    pool = make()
    good = idle(pool)
    connection, server = pipe()
    pool.checkin(PEER, connection, IDLE_SECONDS)
    match news:
        case "fin":
            server.close()
        case "rst":
            server.reset()
        case _:
            await server.send_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert pool.checkout(PEER) is good
    assert connection.closed


async def test_a_connection_that_was_closed_here_is_not_handed_out() -> None:
    pool = make()
    idle(pool).close()
    assert pool.checkout(PEER) is None


async def test_beyond_the_limit_of_a_peer_its_oldest_goes() -> None:
    pool = make(per_peer=2)
    kept_elsewhere = idle(pool, OTHER)
    first, second, third = idle(pool), idle(pool), idle(pool)
    assert first.closed
    assert not second.closed and not third.closed and not kept_elsewhere.closed
    assert len(pool) == 3


async def test_beyond_the_limit_of_all_the_oldest_goes() -> None:
    pool = make(overall=2)
    first, second, third = idle(pool, OTHER), idle(pool), idle(pool)
    assert first.closed and not second.closed and not third.closed
    assert len(pool) == 2
    assert pool.checkout(OTHER) is None


@pytest.mark.parametrize(("per_peer", "overall"), [(0, 10), (10, 0)])
async def test_a_limit_of_zero_keeps_nothing(per_peer: int, overall: int) -> None:
    pool = make(per_peer, overall)
    assert idle(pool).closed
    assert len(pool) == 0


async def test_closing_the_pool_closes_every_connection() -> None:
    pool = make()
    connections = [idle(pool), idle(pool, OTHER)]
    pool.close()
    assert len(pool) == 0
    assert all(connection.closed for connection in connections)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 4.0),
        ("timeout=5", 4.0),
        ("timeout=60, max=100", 4.0),
        ("max=100, Timeout = 2", 1.6),
        ('timeout="1"', 0.8),
        ("timeout=0", 0.0),
        ("nonsense", 4.0),
        ("timeout=99999999999999999999", 4.0),
        ("xtimeout=1", 4.0),
    ],
)
def test_a_promise_of_the_server_shortens_the_wait_and_never_lengthens_it(
    value: str | None, seconds: float
) -> None:
    headers = () if value is None else (("keep-alive", value),)
    assert idle_seconds(HttpHead(200, headers)) == pytest.approx(seconds)
