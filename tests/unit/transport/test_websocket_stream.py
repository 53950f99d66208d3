"""The bytes below a WebSocket: what was handed over, who waits, who is hung up on."""

import pytest
import trio

from streamnursery.simulator import Link
from streamnursery.simulator.pipe import pipe
from streamnursery.transport.websocket import (
    BACKLOG,
    MAX_CONTROL,
    READ,
    WebSocketEnd,
    WebSocketStream,
    ending_error,
)
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
