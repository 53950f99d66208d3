"""The keep-alive race, early answers, and answers that are refused: on a virtual clock."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from streamnursery.simulator.pipe_direction import Link
from streamnursery.values.errors import (
    ConnectionLostError,
    RedirectRefusedError,
    RequestError,
    UnexpectedContentError,
)
from tests.support.http1 import IP, Http1Rig, http1_rig
from tests.support.transport import (
    OK_HELLO,
    Handler,
    ServerEnd,
    answer_hello,
)


@pytest.fixture
async def rig() -> AsyncIterator[Http1Rig]:
    """Requests take 10 ms to arrive: what dies meanwhile dies unseen."""
    async with http1_rig(link=Link(latency=0.01)) as made:
        yield made


def dies_on_reuse(*, reset: bool = False, after: bytes = b"", ever: bool = False) -> Handler:
    """Answers the first request of a connection, and lets the second one die. With `ever`,
    only the very first connection answers at all."""
    count = 0

    async def serve(end: ServerEnd) -> None:
        nonlocal count
        count += 1
        await end.read_request()
        if ever and count > 1:
            return
        await end.send(OK_HELLO)
        await end.read_request()
        if after:
            await end.send(after)
        if reset:
            end.reset()

    return serve


AGAIN = ["CONNECTED", "SENDING", "CONNECTING", "CONNECTED", "SENDING"]


@pytest.mark.parametrize("reset", [False, True])
async def test_c8_a_reused_connection_that_dies_unanswered_costs_one_silent_resend(
    rig: Http1Rig, autojump_clock: MockClock, reset: bool
) -> None:
    rig.serve(dies_on_reuse(reset=reset))
    await rig.open()
    response = await rig.open(b"again")
    assert await response.receive_some() == b"hello"
    assert rig.phases.names == AGAIN
    assert rig.transport.statistics().opened == 2
    assert [end.requests[-1].endswith(b"again") for end in rig.network.servers] == [True, True]


async def test_c8_the_resend_happens_once(rig: Http1Rig, autojump_clock: MockClock) -> None:
    rig.serve(dies_on_reuse(ever=True))
    await rig.open()
    with pytest.raises(ConnectionLostError, match="without an answer") as caught:
        await rig.open()
    assert caught.value.retryable
    assert rig.transport.statistics().opened == 2


async def test_c8_a_second_idle_connection_is_not_tried_after_the_first(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(dies_on_reuse())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.open)
        nursery.start_soon(rig.open)
    assert rig.transport.statistics().idle == 2
    await rig.open()
    assert rig.phases.names == AGAIN
    assert rig.transport.statistics().opened == 3


async def test_a_fresh_connection_that_dies_is_no_keep_alive_race(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()

    rig.serve(serve)
    with pytest.raises(ConnectionLostError, match="without an answer"):
        await rig.open()
    assert rig.transport.statistics().opened == 1


@pytest.mark.parametrize("after", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK_HELLO[:30]])
async def test_after_the_first_byte_of_an_answer_nothing_is_sent_again(
    rig: Http1Rig, autojump_clock: MockClock, after: bytes
) -> None:
    rig.serve(dies_on_reuse(after=after))
    await rig.open()
    with pytest.raises(ConnectionLostError, match="in the middle"):
        await rig.open()
    assert rig.transport.statistics().opened == 1


async def test_a_connection_on_which_a_408_waits_is_not_used(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(OK_HELLO)
        await trio.sleep(1)
        await end.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await end.read_request()

    rig.serve(serve)
    await rig.open()
    await trio.sleep(2)
    assert (await rig.open()).head.status == 200
    assert rig.phases.names == ["CONNECTING", "CONNECTED", "SENDING"]


# Large bodies and early answers. ------------------------------------------------------------

LARGE = b"x" * 1_000_000


async def test_a_large_body_arrives_whole_and_the_connection_is_kept(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(answer_hello)
    for _ in range(3):
        response = await rig.open(LARGE)
        assert await response.receive_some() == b"hello"
    assert rig.network.servers[0].requests[0].endswith(b"\r\n\r\n" + LARGE)
    assert rig.transport.statistics().opened == 1


@pytest.mark.parametrize("status", [401, 413])
@pytest.mark.parametrize("body", [LARGE, b"{}"], ids=["large", "small"])
async def test_r2_an_answer_before_the_body_was_read_is_returned(
    rig: Http1Rig, autojump_clock: MockClock, status: int, body: bytes
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_head()
        await end.send(f"HTTP/1.1 {status} No\r\ncontent-length: 5\r\n\r\nwrong".encode())
        await trio.sleep(60)

    rig.serve(serve)
    response = await rig.open(body)
    assert response.head.status == status
    assert await response.receive_some() == b"wrong"
    assert rig.network.open_connections == int(body != LARGE)


async def test_r1_a_reset_while_the_body_is_sent_is_a_lost_connection(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_head()
        await trio.sleep(1)
        end.reset()

    rig.serve(serve)
    with pytest.raises(ConnectionLostError) as caught:
        await rig.open(LARGE)
    assert caught.value.retryable
    assert rig.transport.statistics().busy == 0


async def test_a_server_that_streams_while_it_reads_is_no_deadlock(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    async def echo(end: ServerEnd) -> None:
        await end.read_head()
        await end.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(LARGE)}\r\n\r\n".encode())
        left = len(LARGE)
        while left:
            data = await end.receive()
            left -= len(data)
            await end.send(data)

    rig.network.serve(IP, echo)
    response = await rig.open(LARGE)
    got = 0
    while data := await response.receive_some():
        got += len(data)
    assert got == len(LARGE)


# Refused answers. ---------------------------------------------------------------------------

LOCATIONS = {
    "https://evil.test/v1?key=canary#canary": "https://evil.test/v1;",
    "http://canary:canary@evil.test:81/x": "http://evil.test:81/x;",
    "/elsewhere?key=canary": "http://127.0.0.1/elsewhere;",
    "other": "http://127.0.0.1/v1/chat/other;",
    "//evil.test/y": "http://evil.test/y;",
    "http://[::1": "a location that cannot be read;",
    "http://evil.test:x/": "a location that cannot be read;",
    "https://evil.test/\xff\xe4": "https://evil.test/??;",
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", LOCATIONS)
async def test_t3_a_redirect_is_refused_with_its_place_and_without_its_query(
    rig: Http1Rig, autojump_clock: MockClock, status: int, location: str
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        head = f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        await end.send(head.encode("latin-1"))
        await end.read_request()

    rig.serve(serve)
    with pytest.raises(RedirectRefusedError) as caught:
        await rig.open()
    message = str(caught.value)
    assert LOCATIONS[location] in message and "canary" not in message
    assert caught.value.status == status and not caught.value.retryable
    assert rig.network.resolved == [IP]


async def test_a_3xx_that_leads_nowhere_is_an_answer(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(b"HTTP/1.1 300 Choose\r\ncontent-length: 0\r\n\r\n")

    rig.serve(serve)
    assert (await rig.open()).head.status == 300


def encoded(status: int, coding: str) -> Handler:
    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            head = f"HTTP/1.1 {status} X\r\ncontent-encoding: {coding}\r\ncontent-length: 4\r\n\r\n"
            await end.send(head.encode() + b"\x1f\x8b\x08\x00")

    return serve


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "GZIP", "identity, gzip"])
async def test_t11_an_encoded_answer_is_refused_and_not_decoded(
    rig: Http1Rig, autojump_clock: MockClock, coding: str
) -> None:
    rig.serve(encoded(200, coding))
    with pytest.raises(UnexpectedContentError, match="identity") as caught:
        await rig.open()
    assert coding.lower() in str(caught.value)
    assert rig.transport.statistics().busy == 0


async def test_t11_an_encoded_error_keeps_its_status_and_loses_its_body(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    rig.serve(encoded(503, "gzip"))
    response = await rig.open()
    assert response.head.status == 503
    assert await response.receive_some() == b""
    assert rig.transport.statistics().busy == 0


async def test_identity_is_no_encoding(rig: Http1Rig, autojump_clock: MockClock) -> None:
    rig.serve(encoded(200, "Identity"))
    assert len(await (await rig.open()).receive_some()) == 4


async def test_t9_what_cannot_be_sent_is_refused_before_anything_is_resolved(
    rig: Http1Rig, autojump_clock: MockClock
) -> None:
    for name in ("host", "Transfer-Encoding", "connection", ":authority", "x\r\ny", "", "x y"):
        with pytest.raises(RequestError):
            await rig.open(headers=((name, "v"),))
    assert rig.network.resolved == [] and rig.network.dialled == []
    statistics = rig.transport.statistics()
    assert (statistics.idle, statistics.busy, statistics.opened) == (0, 0, 0)
