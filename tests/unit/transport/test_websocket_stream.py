"""The bytes below a WebSocket: what was handed over, who waits, who is hung up on."""

import pytest
import trio

from streamnursery.simulator import Link
from streamnursery.simulator.pipe import pipe
from streamnursery.transport.http2.windows import FloodGuard
from streamnursery.transport.websocket import (
    BACKLOG,
    MAX_CONTROL,
    READ,
    WebSocketEnd,
    WebSocketStream,
    ending_error,
)
from streamnursery.transport.websocket_frames import FrameCount
from streamnursery.values.errors import ConnectionLostError, TooLargeError
from streamnursery.values.origin import Origin

ORIGIN = Origin("https", "api.example.com", 443)


async def test_what_was_handed_over_is_counted_and_never_too_low(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = pipe(Link(window=1000))
    stream = WebSocketStream(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.flush_forever)
        await stream.send_all(b"x" * 5000)
        await trio.testing.wait_all_tasks_blocked()
        assert stream.queued == 5000
        taken = 1000
        assert taken <= stream.flushed <= stream.queued
        while stream.backlog:
            await theirs.wait_readable()
            taken += len(theirs.recv_nowait(400))
        assert stream.flushed == 5000
        stream.close()


async def test_a_long_message_waits_for_its_peer_and_pongs_wait_behind_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, _theirs = pipe()
    stream = WebSocketStream(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.flush_forever)
        await stream.send_all(b"x" * 20_000_000)
        for _ in range(100):
            await stream.send_all(b"pong")
        with trio.move_on_after(1.0) as waited:
            await stream.wait_room()
        assert waited.cancelled_caught
        assert stream.backlog > BACKLOG
        stream.close()


async def test_a_peer_that_pings_and_never_reads_is_hung_up_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, _theirs = pipe(Link(window=10))
    stream = WebSocketStream(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.flush_forever)
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(MAX_CONTROL // 100 + 2):
                await stream.send_all(b"p" * 100)
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"more")


async def test_a_broken_connection_is_a_broken_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = pipe()
    stream = WebSocketStream(ours)
    theirs.reset()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await stream.aclose()


def test_endings_are_errors_that_say_why_and_keep_the_peers_words_apart() -> None:
    lost = ending_error(WebSocketEnd(1006, ""), ORIGIN)
    assert isinstance(lost, ConnectionLostError)
    assert lost.retryable
    told = ending_error(WebSocketEnd(4000, "a prompt?"), ORIGIN)
    assert (told.code, told.body) == ("4000", "a prompt?")
    assert "prompt" not in str(told)
    assert isinstance(ending_error(WebSocketEnd(1009, "x"), ORIGIN), TooLargeError)


async def test_the_parser_gets_little_between_two_checkpoints(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Empty frames have two bytes, and the parser takes every one of a read before others run."""
    ours, theirs = pipe(Link(window=100_000))
    stream = WebSocketStream(ours)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    await theirs.send_all(bytes([0, 0]) * 32_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        sizes: list[int] = []
        while sum(sizes) < 64_000:
            sizes.append(len(await stream.receive_some()))
        assert max(sizes) <= READ <= 4096
        assert others >= len(sizes) - 2  # which task a tick runs first is chance
        nursery.cancel_scope.cancel()
    stream.close()


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
EMPTY, PING, FULL = b"\x00\x00", b"\x89\x03abc", b"\x81\x05hello"
LONG = b"\x82\x7e\x01\x00" + bytes(256)
HUGE = b"\x82\x7f" + (70_000).to_bytes(8, "big") + bytes(70_000)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("frame", [EMPTY, PING, b"\x8a\x00", b"\x81\x00"])
@pytest.mark.parametrize("size", [1, 3, 4096])
def test_frames_that_carry_nothing_are_a_flood_when_there_are_over_a_thousand(
    frame: bytes, size: int
) -> None:
    count = FrameCount()
    data = ACCEPTED + frame * FloodGuard.MOST
    assert not any(count.floods(piece, 0.0) for piece in pieces(data, size))
    assert any(count.floods(piece, 0.0) for piece in pieces(frame, size))


def test_frames_with_data_are_never_a_flood_and_forgive_those_without() -> None:
    count = FrameCount()
    data = ACCEPTED + (PING * 900 + FULL + EMPTY * 900 + LONG + HUGE) * 3
    assert not any(count.floods(piece, 0.0) for piece in pieces(data, 1000))


def test_pings_every_tenth_of_a_second_are_no_flood() -> None:
    count = FrameCount()
    assert not count.floods(ACCEPTED, 0.0)
    assert not any(count.floods(PING, number / 10) for number in range(20_000))


def test_the_body_of_a_refused_handshake_is_not_read_as_frames() -> None:
    count = FrameCount()
    assert not count.floods(b"HTTP/1.1 403 Forbidden\r\n\r\n" + EMPTY * 5000, 0.0)


async def test_a_flood_ends_the_connection_and_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = pipe(Link(window=1_000_000))
    stream = WebSocketStream(ours)
    await theirs.send_all(ACCEPTED + EMPTY * 2000)
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await stream.receive_some()
    assert stream.flooded
    error = ending_error(WebSocketEnd(1006, "", flooded=True), ORIGIN)
    assert "flooded the WebSocket: over 1000 frames" in str(error)
