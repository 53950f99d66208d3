"""Rounds over connections in memory, on a virtual clock."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.simulator.pipe import pipe
from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.network import READ_SIZE, Connection
from streamnursery.transport.pump import Pump, Readers
from streamnursery.transport.readiness import MAX_READY, MemoryReadiness
from tests.support.rounds import Reads


@pytest.fixture(params=["pump", "task per connection"])
def readers(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Readers:
    return Readers(nursery, pump=request.param == "pump")


async def test_what_arrives_is_read_when_it_arrives(
    readers: Readers, autojump_clock: MockClock
) -> None:
    ours, theirs = pipe(Link(latency=2))
    times: list[float] = []

    def note_time(_: Reads) -> bool:
        times.append(trio.current_time())
        return True

    reads = Reads(ours, note_time)
    readers.start(reads)
    start = trio.current_time()
    for word in (b"one", b"two"):
        await theirs.send_all(word)
        await trio.sleep(1)
    await trio.sleep(5)
    assert reads.rounds == [b"one", b"two"]
    assert [at - start for at in times] == [2, 3]


async def test_a_round_reads_64_kib_and_the_rest_follows(
    readers: Readers, autojump_clock: MockClock
) -> None:
    ours, theirs = pipe(Link(window=3 * READ_SIZE))
    await theirs.send_all(bytes(2 * READ_SIZE + 5))
    reads = Reads(ours)
    readers.start(reads)
    await wait_all_tasks_blocked()
    assert [len(part or b"") for part in reads.rounds] == [READ_SIZE, READ_SIZE, 5]


async def test_no_further_round_is_made_after_false(
    readers: Readers, autojump_clock: MockClock
) -> None:
    ours, theirs = pipe()
    reads = Reads(ours, lambda _: False)
    readers.start(reads)
    await theirs.send_all(b"one")
    await wait_all_tasks_blocked()
    await theirs.send_all(b"two")
    await wait_all_tasks_blocked()
    assert reads.rounds == [b"one"]
    readers.start(reads)
    await wait_all_tasks_blocked()
    assert reads.rounds == [b"one", b"two"]


async def test_no_round_is_made_once_it_is_stopped(
    readers: Readers, autojump_clock: MockClock
) -> None:
    ours, theirs = pipe()
    reads = Reads(ours)
    reading = readers.start(reads)
    await theirs.send_all(b"one")
    reading.stop()
    reading.stop()
    await wait_all_tasks_blocked()
    assert reads.rounds == []
    assert reads.abandoned == []


async def test_an_exception_ends_its_own_response_only(
    readers: Readers, autojump_clock: MockClock
) -> None:
    def fail(_: Reads) -> bool:
        raise ZeroDivisionError("mine")

    ours, theirs = pipe()
    other_ours, other_theirs = pipe()
    bad, good = Reads(ours, fail), Reads(other_ours)
    readers.start(bad)
    readers.start(good)
    await theirs.send_all(b"x")
    await other_theirs.send_all(b"one")
    await wait_all_tasks_blocked()
    await theirs.send_all(b"x")
    await other_theirs.send_all(b"two")
    await wait_all_tasks_blocked()
    assert bad.rounds == [b"x"]
    assert bad.abandoned == ["its reader failed: mine"]
    assert good.rounds == [b"one", b"two"]


@pytest.mark.parametrize("pump", [True, False])
async def test_an_exception_that_nobody_can_be_told_of_is_everybodys(
    pump: bool, autojump_clock: MockClock
) -> None:
    def fail(_: Reads) -> bool:
        raise ZeroDivisionError("mine")

    ours, theirs = pipe()
    bystander = Reads(pipe()[0])
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError, match="mine")):
        async with trio.open_nursery() as nursery:
            readers = Readers(nursery, pump=pump)
            readers.start(bystander)
            readers.start(Reads(ours, fail, told=False))
            await theirs.send_all(b"x")
            await trio.sleep_forever()
    assert bystander.abandoned == ["the transport was closed"]


@pytest.mark.parametrize("pump", [True, False])
async def test_the_end_of_the_nursery_abandons_whoever_is_read(
    pump: bool, autojump_clock: MockClock
) -> None:
    reads, late = Reads(pipe()[0]), Reads(pipe()[0])
    async with trio.open_nursery() as nursery:
        readers = Readers(nursery, pump=pump)
        readers.start(reads)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        assert reads.abandoned == ["the transport was closed"]
        readers.start(late)
    assert late.abandoned == ["the transport was closed"]


async def test_closing_ends_the_pump_and_abandons_whoever_it_reads(
    autojump_clock: MockClock,
) -> None:
    reads = Reads(pipe()[0])
    async with trio.open_nursery() as nursery:
        readers = Readers(nursery)
        readers.start(reads)
        readers.close()
        readers.close()
        # And the nursery ends by itself.
    assert reads.abandoned == ["the transport was closed"]


async def test_a_response_stopped_by_another_in_the_same_round_is_not_read(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    readers = Readers(nursery)
    pipes = [pipe(), pipe()]
    second = Reads(pipes[1][0])

    def stop_the_second(_: Reads) -> bool:
        reading.stop()
        return True

    first = Reads(pipes[0][0], stop_the_second)
    readers.start(first)
    reading = readers.start(second)
    for _, theirs in pipes:
        theirs.send_nowait(b"x")
    await wait_all_tasks_blocked()
    assert first.rounds == [b"x"]
    assert second.rounds == []


async def test_who_was_fed_runs_before_anybody_is_read_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    readers = Readers(nursery)
    ours, theirs = pipe(Link(segment_size=1))
    fed = trio.Event()
    rounds_then: list[int] = []

    def wake(_: Reads) -> bool:
        fed.set()
        return True

    reads = Reads(ours, wake)

    async def consumer() -> None:
        await fed.wait()
        rounds_then.append(len(reads.rounds))

    nursery.start_soon(consumer)
    await theirs.send_all(b"xxxxxxxxxx")
    readers.start(reads)
    await wait_all_tasks_blocked()
    assert len(reads.rounds) == 10
    assert rounds_then[0] <= 2


async def test_a_round_ends_after_a_bounded_number_of_responses_and_starves_nobody(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    readers = Readers(nursery)
    pipes = [pipe(Link(segment_size=1)) for _ in range(3 * MAX_READY)]
    all_reads = [Reads(ours) for ours, _ in pipes]
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    for (_, theirs), reads in zip(pipes, all_reads, strict=True):
        theirs.send_nowait(b"xx")
        readers.start(reads)
    await wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(turns)
    assert {len(reads.rounds) for reads in all_reads} == {2}
    assert turns.of_the_pump >= 6


class Turns(trio.abc.Instrument):
    of_the_pump = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of_the_pump += task.name == "pump"


async def test_a_watch_that_is_stopped_leaves_nothing(autojump_clock: MockClock) -> None:
    readiness = MemoryReadiness()
    ours, theirs = pipe()
    watch = readiness.add(Reads(ours))
    await theirs.send_all(b"x")
    watch.stop()
    assert ours.on_readable is None
    assert readiness.take() == []
    assert readiness.watches() == []


class Unannounced:
    """A network's own connection, with the five methods that it has to have."""

    def __init__(self, below: Connection) -> None:
        self.recv_nowait = below.recv_nowait
        self.wait_readable = below.wait_readable
        self.send_all = below.send_all
        self.close = below.close
        self.fileno = below.fileno


async def test_a_connection_that_cannot_announce_itself_is_read_by_a_task(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    readers = Readers(nursery)
    ours, theirs = pipe()
    reads = Reads(Unannounced(ours))
    readers.start(reads)
    await theirs.send_all(b"one")
    await wait_all_tasks_blocked()
    assert reads.rounds == [b"one"]
    assert [task.name for task in nursery.child_tasks] == ["reader"]


async def test_a_pump_is_one_task_for_all(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    readers = Readers(nursery)
    for _ in range(50):
        readers.start(Reads(pipe()[0]))
    assert [task.name for task in nursery.child_tasks] == ["pump"]


async def test_a_pump_that_has_ended_says_so(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        pump = Pump(nursery, MemoryReadiness())
        assert not pump.closed
        pump.close()
    assert pump.closed
