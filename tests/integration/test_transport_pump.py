"""Rounds over real sockets."""

import os
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery.testing import no_files_left_open
from streamnursery.transport.network import READ_SIZE, SocketConnection
from streamnursery.transport.pump import Readers
from streamnursery.transport.readiness import EpollReadiness
from tests.support.guard import until
from tests.support.rounds import Reads


@contextmanager
def socket_pair() -> Iterator[tuple[SocketConnection, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection = SocketConnection(ours)
    with theirs:
        yield connection, theirs
        if connection.fileno() is not None:
            connection.close()


async def until_read(reads: Reads, rounds: int) -> None:
    await until(lambda: len(reads.rounds) >= rounds)


async def test_news_of_a_closed_descriptor_do_not_reach_the_one_that_reuses_it() -> None:
    readiness = EpollReadiness()
    with socket_pair() as (ours, theirs), socket_pair() as (fresh, _):
        old = readiness.add(Reads(ours))
        theirs.send(b"x")
        ready = readiness.take()
        assert ready == [old]
        # In the round that follows, somebody closes the old one and opens another.
        fd = ours.fileno()
        assert fd is not None
        old.stop()
        ours.close()
        os.dup2(fresh._sock.fileno(), fd)
        with socket.socket(fileno=fd) as reused:
            reused.setblocking(False)
            new = readiness.add(Reads(SocketConnection(reused)))
            assert [watch for watch in ready if watch.active] == []
            assert readiness.take() == []
            new.stop()
    readiness.close()
    readiness.close()


async def test_a_stop_after_the_descriptor_was_reused_leaves_the_new_watch_alone() -> None:
    readiness = EpollReadiness()
    with socket_pair() as (ours, theirs), socket_pair() as (fresh, far):
        old = readiness.add(Reads(ours))
        fd = ours.fileno()
        assert fd is not None
        ours.close()
        os.dup2(fresh._sock.fileno(), fd)
        with socket.socket(fileno=fd) as reused:
            new = readiness.add(Reads(SocketConnection(reused)))
            old.stop()
            far.send(b"x")
            assert readiness.take() == [new]
            new.stop()
        del theirs
    readiness.close()


async def test_all_that_was_sent_is_read_in_rounds_of_64_kib(nursery: trio.Nursery) -> None:
    readers = Readers(nursery)
    with socket_pair() as (ours, theirs):
        reads = Reads(ours)
        theirs.send(bytes(READ_SIZE + 1))
        readers.start(reads)
        await until_read(reads, 2)
        assert [len(part or b"") for part in reads.rounds] == [READ_SIZE, 1]
        readers.close()


async def test_a_paused_response_costs_no_rounds_and_its_end_is_news_when_it_goes_on(
    nursery: trio.Nursery,
) -> None:
    readers = Readers(nursery)
    with socket_pair() as (ours, theirs), socket_pair() as (other, busy):
        paused, running = Reads(ours, lambda reads: False), Reads(other)
        readers.start(paused)
        readers.start(running)
        theirs.send(b"one")
        await until_read(paused, 1)
        theirs.send(b"two")
        theirs.close()
        for n in range(20):
            busy.send(b"x")
            await until_read(running, n + 1)
        assert paused.rounds == [b"one"]
        readers.start(paused)
        await until_read(paused, 2)
        readers.start(paused)
        await until_read(paused, 3)
        assert paused.rounds == [b"one", b"two", b""]
        readers.close()


class Decrypted(SocketConnection):
    """Holds bytes above its descriptor, as TLS does."""

    held = b""

    @property
    def readable_at(self) -> float:
        return float("-inf") if self.held else float("inf")

    def recv_nowait(self, max_bytes: int) -> bytes:
        if self.held:
            data, self.held = self.held[:1], self.held[1:]
            return data
        return super().recv_nowait(max_bytes)


async def test_what_is_held_above_a_descriptor_is_read_even_if_nothing_more_arrives(
    nursery: trio.Nursery,
) -> None:
    readers = Readers(nursery)
    with socket_pair() as (idle, _), socket_pair() as (ours, _):
        readers.start(Reads(idle))
        await wait_all_tasks_blocked()  # the pump waits for the descriptor
        held = Decrypted(ours._sock)
        held.held = b"ab"
        reads = Reads(held)
        readers.start(reads)
        await until_read(reads, 2)
        assert reads.rounds == [b"a", b"b"]
        readers.close()


async def test_the_pumps_descriptor_is_closed_with_it() -> None:
    with no_files_left_open():
        with socket_pair() as (ours, _):
            async with trio.open_nursery() as nursery:
                readers = Readers(nursery)
                readers.start(Reads(ours))
                await wait_all_tasks_blocked()
                readers.close()


async def test_the_pumps_descriptor_is_closed_with_its_nursery() -> None:
    with no_files_left_open():
        with socket_pair() as (ours, _):
            reads = Reads(ours)
            async with trio.open_nursery() as nursery:
                Readers(nursery).start(reads)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
    assert reads.abandoned == ["the transport was closed"]


class ClosedAsItWakes(trio.abc.Instrument):
    """Closes the readers when the pump has been woken and has not run yet."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self.fired = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == "pump" and not self.fired:
            self.fired = True
            self._readers.close()


async def test_a_pump_that_is_closed_as_it_wakes_makes_no_round() -> None:
    with socket_pair() as (ours, theirs):
        async with trio.open_nursery() as nursery:
            readers = Readers(nursery)
            reads = Reads(ours)
            readers.start(reads)
            await wait_all_tasks_blocked()
            closing = ClosedAsItWakes(readers)
            trio.lowlevel.add_instrument(closing)
            theirs.send(b"x")
            await until(lambda: closing.fired)
            trio.lowlevel.remove_instrument(closing)
        assert reads.rounds == [] and reads.abandoned == ["the transport was closed"]


async def test_where_epoll_is_missing_each_connection_has_a_reader(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "epoll")
    readers = Readers(nursery)
    with socket_pair() as (ours, theirs):
        reads = Reads(ours)
        reading = readers.start(reads)
        theirs.send(b"one")
        await until_read(reads, 1)
        assert reads.rounds == [b"one"]
        assert [task.name for task in nursery.child_tasks] == ["reader"]
        reading.stop()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, most[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)


async def test_without_a_descriptor_for_the_pump_each_connection_has_a_reader(
    nursery: trio.Nursery,
) -> None:
    with socket_pair() as (ours, theirs):
        reads = Reads(ours)
        with no_descriptor_left():
            reading = Readers(nursery).start(reads)
        theirs.send(b"one")
        await until_read(reads, 1)
        assert reads.rounds == [b"one"]
        assert [task.name for task in nursery.child_tasks] == ["reader"]
        reading.stop()
