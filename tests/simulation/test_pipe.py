"""The connection in memory: windows, arrival times, FIN, RST, half-close."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.simulator import Link
from streamnursery.simulator.pipe import PipeConnection, pipe

WINDOW = 64 * 1024


class Steps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.of_reader = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of_reader += task.name == "reader"


async def arrivals(end: PipeConnection) -> list[tuple[float, bytes]]:
    """Every read until FIN, with its time."""
    found = []
    while True:
        await end.wait_readable()
        data = end.recv_nowait(1 << 20)
        found.append((trio.current_time(), data))
        if not data:
            return found


async def test_what_is_sent_can_be_read_at_the_other_end(autojump_clock: MockClock) -> None:
    a, b = pipe()
    with pytest.raises(trio.WouldBlock):
        b.recv_nowait(10)
    await a.send_all(b"hello")
    await a.send_all(bytearray(b" wor"))
    await a.send_all(memoryview(b"ld"))
    assert b.recv_nowait(4) == b"hell"
    assert b.recv_nowait(100) == b"o world"
    await b.send_all(b"back")
    assert a.recv_nowait(100) == b"back"
    assert trio.current_time() == 0


async def test_a_sender_waits_when_the_window_is_full(autojump_clock: MockClock) -> None:
    a, b = pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.send_all, bytes(WINDOW + 10))
        await wait_all_tasks_blocked()
        there = a.statistics().outgoing
        assert (there.current_bytes, there.sender_waiting) == (WINDOW, True)
        assert a.send_nowait(b"x") == 0
        assert len(b.recv_nowait(6)) == 6
        await wait_all_tasks_blocked()
        assert a.statistics().outgoing.current_bytes == WINDOW
        assert len(b.recv_nowait(4)) == 4
    assert a.statistics().outgoing.sender_waiting is False
    assert a.statistics().outgoing.peak_bytes == WINDOW


async def test_latency_and_bandwidth_say_when_bytes_arrive(autojump_clock: MockClock) -> None:
    a, b = pipe(Link(latency=2, bandwidth=10), Link(latency=5))
    await a.send_all(bytes(20))
    await a.send_all(bytes(10))
    a.send_eof()
    assert b.readable_at == 4
    # Two seconds on the way; the second segment leaves when the first has left.
    assert await arrivals(b) == [(4, bytes(20)), (5, bytes(10)), (5, b"")]
    await b.send_all(b"x")
    await a.wait_readable()
    assert trio.current_time() == 10


async def test_a_reader_sleeps_once_however_many_segments_arrive(
    autojump_clock: MockClock,
) -> None:
    a, b = pipe(Link(latency=1))
    steps = Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.wait_readable, name="reader")
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for _ in range(1000):
            a.send_nowait(b"x")
        assert trio.lowlevel.current_statistics().tasks_living == tasks
    trio.lowlevel.remove_instrument(steps)
    assert trio.current_time() == 1
    assert steps.of_reader == 2  # told once that something comes, woken once when it is there
    assert b.recv_nowait(5000) == b"x" * 1000


async def test_segments_are_read_one_by_one_and_never_joined(autojump_clock: MockClock) -> None:
    a, b = pipe(Link(segment_size=4))
    await a.send_all(b"abcdefghij")
    await a.send_all(b"k")
    got = [b.recv_nowait(100) for _ in range(4)]
    assert got == [b"abcd", b"efgh", b"ij", b"k"]
    await a.send_all(b"abcd")
    assert [b.recv_nowait(3), b.recv_nowait(3)] == [b"abc", b"d"]


async def test_bytes_sent_apart_share_a_read_with_nobody(autojump_clock: MockClock) -> None:
    a, b = pipe()
    for data, apart in ((b"a", False), (b"b", True), (b"c", False), (b"d", False)):
        await a.send_all(data, apart=apart)
    assert [b.recv_nowait(100) for _ in range(3)] == [b"a", b"b", b"cd"]


async def test_fin_comes_after_the_last_byte_and_again_and_again(
    autojump_clock: MockClock,
) -> None:
    a, b = pipe(Link(latency=1))
    await a.send_all(b"bye")
    a.close()
    with pytest.raises(trio.WouldBlock):
        b.recv_nowait(9)
    assert await arrivals(b) == [(1, b"bye"), (1, b"")]
    assert b.recv_nowait(9) == b""
    await b.wait_readable()


async def test_half_close_leaves_the_other_way_open(autojump_clock: MockClock) -> None:
    a, b = pipe()
    a.send_eof()
    assert b.recv_nowait(9) == b""
    await b.send_all(b"still here")
    assert a.recv_nowait(99) == b"still here"
    with pytest.raises(trio.ClosedResourceError):
        await a.send_all(b"x")


async def test_a_reset_discards_what_was_not_read(autojump_clock: MockClock) -> None:
    a, b = pipe(Link(latency=1))
    await a.send_all(b"early")
    await trio.sleep(1)
    await a.send_all(b"late")
    a.reset()
    assert b.recv_nowait(2) == b"ea"
    await trio.sleep(1)
    with pytest.raises(ConnectionResetError):
        b.recv_nowait(99)
    with pytest.raises(ConnectionResetError):
        await b.send_all(b"x")
    there = b.statistics().incoming
    assert (there.received_bytes, there.discarded_bytes, there.current_bytes) == (2, 7, 0)
    assert there.ended == "rst"


async def test_closing_with_unread_bytes_resets_the_other_end(autojump_clock: MockClock) -> None:
    a, b = pipe()
    await a.send_all(b"never read")
    await b.send_all(b"lost with it")
    b.close()
    with pytest.raises(ConnectionResetError):
        a.recv_nowait(99)


async def test_closing_with_bytes_still_in_flight_resets_too(autojump_clock: MockClock) -> None:
    a, b = pipe(Link(latency=9), Link(latency=1))
    await a.send_all(b"on its way")
    b.close()
    await a.wait_readable()
    assert trio.current_time() == 1
    with pytest.raises(ConnectionResetError):
        a.recv_nowait(99)


async def test_sending_to_a_closed_end_fails_a_round_trip_later(autojump_clock: MockClock) -> None:
    a, b = pipe(Link(latency=1))
    b.close()
    await a.send_all(b"into the void")
    await trio.sleep(1.9)
    assert a.recv_nowait(9) == b""
    await a.send_all(b"still unaware")
    await trio.sleep(0.2)
    with pytest.raises(BrokenPipeError):
        await a.send_all(b"x")


async def test_a_waiting_sender_learns_that_the_other_end_was_reset(
    autojump_clock: MockClock,
) -> None:
    a, b = pipe()
    failed = []

    async def send() -> None:
        try:
            await a.send_all(bytes(2 * WINDOW))
        except ConnectionResetError:
            failed.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(3)
        b.close()
    assert failed == [3]


Wait = Callable[[PipeConnection], Awaitable[None]]


async def full_send(end: PipeConnection) -> None:
    await end.send_all(bytes(2 * WINDOW))


@pytest.mark.parametrize("wait", [PipeConnection.wait_readable, full_send])
@pytest.mark.parametrize("end_it", [PipeConnection.close, PipeConnection.reset])
async def test_closing_wakes_who_waits_here(
    autojump_clock: MockClock, wait: Wait, end_it: Callable[[PipeConnection], None]
) -> None:
    a, _ = pipe()
    woken = []

    async def waiter() -> None:
        try:
            await wait(a)
        except trio.ClosedResourceError:
            woken.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        end_it(a)
        end_it(a)
    assert woken == [True]
    for use in (lambda: a.recv_nowait(1), lambda: a.send_nowait(b"x"), a.send_eof):
        with pytest.raises(trio.ClosedResourceError):
            use()


async def test_a_second_task_that_has_to_wait_is_told_so(autojump_clock: MockClock) -> None:
    a, _ = pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.wait_readable)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await a.wait_readable()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_send_has_sent_a_prefix(autojump_clock: MockClock) -> None:
    a, b = pipe()
    with trio.move_on_after(1):
        await a.send_all(b"ab" * WINDOW)
    assert b.recv_nowait(1 << 20) == b"ab" * (WINDOW // 2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await a.send_all(b"x")
    with pytest.raises(trio.WouldBlock):
        b.recv_nowait(9)


async def test_readiness_is_told_when_it_becomes_earlier(autojump_clock: MockClock) -> None:
    a, b = pipe(Link(latency=1))
    told = []
    b.on_readable = lambda: told.append(b.readable_at)
    a.send_nowait(b"x")
    a.send_nowait(b"y")
    assert told == [1]
    await b.wait_readable()
    assert b.recv_nowait(9) == b"xy"
    a.close()
    assert told == [1, 2]
    b.on_readable = None


async def test_an_end_says_what_it_holds(autojump_clock: MockClock) -> None:
    a, b = pipe()
    await a.send_all(b"12345")
    b.recv_nowait(2)
    seen = b.statistics()
    assert (seen.incoming.sent_bytes, seen.incoming.received_bytes) == (5, 2)
    assert (seen.incoming.current_bytes, seen.incoming.max_bytes) == (3, WINDOW)
    assert (seen.outgoing.ended, seen.closed) == ("open", False)
    assert b.fileno() is None
    b.close()
    assert b.statistics().closed
    assert b.statistics().outgoing.ended == "rst"


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("latency", lambda: Link(latency=-1)),
        ("latency", lambda: Link(latency=float("inf"))),
        ("bandwidth", lambda: Link(bandwidth=0)),
        ("segment_size", lambda: Link(segment_size=0)),
        ("window", lambda: Link(window=0)),
    ],
)
def test_a_link_cannot_be_nonsense(name: str, make: Callable[[], Link]) -> None:
    with pytest.raises(ValueError, match=rf"Link\.{name} must be"):
        make()
