"""Every public async call is a cancel and a schedule point, on success and on error.

docs/checkpoints.md is the page for users. The public surface is found by introspection: a new
public call without cases fails here.
"""

from collections.abc import Awaitable
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from streamnursery import Completion, Engine, Outcome, TextDelta, open_transport
from tests.support.checkpoints import (
    BlockCase,
    Call,
    CallCase,
    benches,
    engine,
    loopback,
    network,
    relays,
    sessions,
    streams,
    surroundings,
)
from tests.support.checkpoints.surface import surface
from tests.support.scene import PACED, virtual

TABLES = [m.TABLE for m in (engine, streams, relays, sessions, surroundings, network, benches)]
"""On virtual time; tests/integration/test_checkpoints_loopback.py has what needs a socket."""
CALLS = [case for table in TABLES for case in table.calls]
BLOCKS = [case for table in TABLES for case in table.blocks]

NOT_EXPORTED = {"bench.calibrate", "bench.measure_load", "testing.SimDisk.run"}
"""Held to the same rule, though only our own code calls them."""
LIKE_A_NURSERY = {"Engine.stream", "Engine.stream_from", "Session.stream"}
"""Entering starts a task and is no checkpoint: it would cost a short stream a task step of ten."""
LIKE_A_LOCK = {"Engine.lease"}
"""Leaving gives back what is held and is no checkpoint: it would cost a grant 5 % of its calls."""
NEVER_CUT_SHORT = {"testing.SimDisk.run"}
"""A schedule point alone: what has begun at a disk is done before its caller goes on."""
WITHOUT_AN_ERROR = {
    "Receipt.wait",
    "StreamNurseryTransport.aclose",
    "WorldStream.aclose",
    "simulator.SimNetwork.stop",
    "simulator.LoopbackServer.stop",
    "Traffic.meet",
    "Traffic.run",
}
"""They raise nothing themselves."""


def is_full(case: CallCase) -> bool:
    """Whether it is to be a cancel and a schedule point."""
    block = case.name.removesuffix(" (enter)")
    enters = block != case.name and block in LIKE_A_NURSERY and case.raises is None
    return not enters and case.name not in NEVER_CUT_SHORT


async def made(case: CallCase, call: Call) -> Any:
    """What it gives; None where it raises what it should."""
    if case.raises is None:
        return await call()
    with pytest.raises(case.raises):
        await call()
    return None


def comparable(value: Any) -> Any:
    """What two equal runs have in common of a result."""
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    if isinstance(value, Completion):
        return value.text
    if isinstance(value, Outcome):
        return value.index, comparable(value.completion)
    return value if isinstance(value, str | dict | msgspec.Struct) else type(value)


each_call = pytest.mark.parametrize("case", [case for case in CALLS if is_full(case)], ids=str)
each_block = pytest.mark.parametrize("case", BLOCKS, ids=str)


class OwnSteps(trio.abc.Instrument):
    """Counts the steps of the task that made it."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def is_schedule_point(call: Awaitable[object]) -> bool:
    steps = OwnSteps()
    trio.lowlevel.add_instrument(steps)
    try:
        await call
    finally:
        trio.lowlevel.remove_instrument(steps)
    return steps.count > 0


@each_call
def test_it_is_a_cancel_and_a_schedule_point(case: CallCase) -> None:
    @virtual
    async def check() -> None:
        async with case.ready() as call:
            with assert_checkpoints():
                await made(case, call)

    check()


@each_call
def test_cancelled_before_it_is_made_it_takes_nothing(case: CallCase) -> None:
    @virtual
    async def check() -> None:
        async with case.ready() as call:
            first = await made(case, call)
        async with case.ready() as call:
            with trio.CancelScope() as scope:
                scope.cancel()
                await made(case, call)
            assert scope.cancelled_caught
            assert comparable(await made(case, call)) == comparable(first)

    check()


@each_block
def test_leaving_is_a_schedule_point_unless_it_only_gives_back(case: BlockCase) -> None:
    @virtual
    async def check() -> None:
        async with case.ready() as make:
            block = make()
            await block.__aenter__()
            waits = await is_schedule_point(block.__aexit__(None, None, None))
        assert waits is (case.name not in LIKE_A_LOCK)

    check()


@each_block
def test_a_block_that_is_cancelled_is_left_whole(case: BlockCase) -> None:
    """What is left of it, the scene around it finds."""

    @virtual
    async def check() -> None:
        async with case.ready() as make:
            with trio.CancelScope() as scope:
                async with make():
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            assert scope.cancelled_caught

    check()


@pytest.mark.parametrize("case", [case for case in BLOCKS if case.name in LIKE_A_NURSERY], ids=str)
def test_entering_a_stream_starts_its_task_and_goes_on(case: BlockCase) -> None:
    @virtual
    async def check() -> None:
        async with case.ready() as make:
            block = make()
            with assert_no_checkpoints():
                await block.__aenter__()
            await block.__aexit__(None, None, None)

    check()


@virtual
async def test_a_job_at_the_disk_is_done_though_it_is_cancelled() -> None:
    for case in CALLS:
        if case.name in NEVER_CUT_SHORT:
            async with case.ready() as call:
                assert await is_schedule_point(call())
                with trio.CancelScope() as scope:
                    scope.cancel()
                    assert await call() == "done"


@virtual
async def test_the_body_of_an_answer_is_read_and_closed_at_checkpoints() -> None:
    """httpx hands it out, and calls it."""
    async with network.network() as net, open_transport(network=net) as transport:
        for cancelled in (False, True):
            response = await transport.handle_async_request(surroundings.request())
            assert isinstance(response.stream, httpx.AsyncByteStream)
            await wait_all_tasks_blocked()
            with assert_checkpoints():
                assert await anext(aiter(response.stream))
            with trio.CancelScope() as scope, assert_checkpoints():
                if cancelled:
                    scope.cancel()
                await response.stream.aclose()
            assert scope.cancelled_caught is cancelled
            assert transport.statistics().busy == 0
            with assert_checkpoints():
                with pytest.raises((StopAsyncIteration, httpx.ReadError)):
                    await anext(aiter(response.stream))


# Iterating by the event: a checkpoint for each batch, and none within. ----------------------


@virtual
async def test_the_events_of_one_batch_are_handed_out_without_a_checkpoint() -> None:
    async with streams.running() as stream:
        await anext(stream)
        with assert_no_checkpoints():
            for _ in range(5):
                assert isinstance(await anext(stream), TextDelta)
    async with streams.replayed() as (_, late):
        with assert_checkpoints():
            await anext(late)
        with assert_no_checkpoints():
            await anext(late)


@virtual
async def test_a_reader_takes_a_checkpoint_for_what_came_since_the_last_one() -> None:
    async with streams.running(PACED) as stream:
        shared = stream.broadcast()
        with shared.reader() as first, shared.reader() as second:
            for _ in range(5):
                await anext(first)
            with assert_checkpoints():
                await anext(second)
            with assert_no_checkpoints():
                for _ in range(4):
                    await anext(second)
            await anext(first)
            with assert_checkpoints():
                await anext(second)


# Nothing is left out. ------------------------------------------------------------------------


def names() -> set[str]:
    return set[str]().union(*(table.names for table in [*TABLES, loopback.TABLE]))


def test_every_public_call_and_block_has_a_case() -> None:
    assert surface().keys() - names() == set()


def test_every_case_is_of_a_public_call_or_block() -> None:
    public = surface().keys() | NOT_EXPORTED
    assert {name.removesuffix(" (enter)") for name in names()} - public == set()


def test_a_call_that_is_new_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def later(self: Engine) -> None:
        raise NotImplementedError(self)

    later.__module__ = Engine.__module__
    monkeypatch.setattr(Engine, "later", later, raising=False)
    assert "Engine.later" in surface().keys() - names()


def test_every_call_is_made_with_success_and_with_an_error() -> None:
    calls = {name for name, kind in surface().items() if kind == "call"}
    cases = [*CALLS, *loopback.TABLE.calls]
    assert calls - {case.name for case in cases if case.raises is None} == set()
    assert calls - {case.name for case in cases if case.raises} == WITHOUT_AN_ERROR
