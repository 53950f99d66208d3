"""Leases inside of leases: what can never end is told at once, and nothing else is."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import streamnursery as sn
from streamnursery.errors import NestedLeaseError
from streamnursery.scheduler.admission.nesting import Nesting
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import scene, virtual

POINTS = {"test": 12, "proof": 60, "soak": None}
ONE: dict[str, Any] = {"models": {"a": {"max_streams": 1}, "b": {"max_streams": 1}}}

programs = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.sampled_from(["here", "child"])),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=4,
)
"""Tasks, each with the leases that it nests: of which model, after how many seconds, and whether
the next one is asked for by a child task."""


async def play(eng: sn.Engine, tasks: list[list[tuple[str, int, str]]], errors: list[Any]) -> None:
    """Each begins at a time of its own, so that two runs are alike."""

    async def nest(steps: list[tuple[str, int, str]], tenant: str) -> None:
        (model, seconds, where), *rest = steps
        async with eng.lease(model, tenant=tenant):
            await trio.sleep(seconds)
            if not rest:
                return
            if where == "here":
                await nest(rest, tenant)
                return
            async with trio.open_nursery() as below:
                below.start_soon(nest, rest, tenant)

    async def one(number: int, steps: list[tuple[str, int, str]]) -> None:
        await trio.sleep(number / 7)
        try:
            await nest(steps, "ab"[number % 2])
        except* NestedLeaseError as group:
            errors.extend(group.exceptions)

    async with trio.open_nursery() as nursery:
        for number, steps in enumerate(tasks):
            nursery.start_soon(one, number, steps)


@given(programs, st.integers(1, 3), st.integers(1, 2))
def test_an_error_is_raised_if_and_only_if_all_would_wait_for_ever(
    tasks: list[list[tuple[str, int, str]]], total: int, each: int
) -> None:
    def ends(*, told: bool) -> tuple[bool, list[Any]]:
        errors: list[Any] = []

        async def main() -> bool:
            config = {
                "engine": {"max_streams": total},
                "models": {name: {"max_streams": each} for name in "abc"},
            }
            async with sn.open_engine(config) as eng:
                with trio.move_on_after(1000) as scope:
                    await play(eng, tasks, errors)
                return not scope.cancelled_caught

        with pytest.MonkeyPatch.context() as patch:
            if not told:
                patch.setattr(Nesting, "_never", lambda *_: None)
            return trio.run(main, clock=MockClock(autojump_threshold=0)), errors

    hangs = not ends(told=False)[0]
    finished, errors = ends(told=True)
    assert finished
    assert bool(errors) == hangs


@virtual
async def test_one_block_inside_of_another_says_what_to_do() -> None:
    async with scene(**ONE) as place:
        eng = place.engine
        async with eng.lease("a"):
            with pytest.raises(NestedLeaseError) as caught:
                await eng.run("a", trio.sleep, 0)
            assert trio.current_time() == 0
            assert "all 1 slots of model 'a' are held by blocks that wait like it" in str(
                caught.value
            )
            await eng.run("b", trio.sleep, 0)
        assert eng.statistics().models["a"].errors == {"admission_error": 1}


@virtual
async def test_a_stream_inside_of_a_block_is_told_too() -> None:
    async with scene(model={"max_streams": 1}) as place:
        async with place.engine.lease("m"):
            with pytest.raises(NestedLeaseError):
                await place.engine.complete("m", "Hi")
            outcomes = await place.engine.settle([sn.ChatRequest("m", "Hi")])
            assert isinstance(outcomes[0].error, NestedLeaseError)
        assert (await place.engine.complete("m", "Hi")).text


@virtual
async def test_what_may_end_is_waited_for() -> None:
    """Another task that inherited the context, a nursery from outside, a block left out of turn."""
    async with scene(**ONE) as place:
        eng = place.engine
        async with trio.open_nursery() as outside:
            async with eng.lease("a"):
                outside.start_soon(eng.run, "a", trio.sleep, 0)
                await wait_all_tasks_blocked()
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            await stack.enter_async_context(eng.lease("a"))
            nursery.start_soon(eng.run, "b", trio.sleep, 1)
            await stack.aclose()
            await eng.run("a", trio.sleep, 0)
        eng.set_limits(model="a", max_streams=0)
        async with eng.lease("b"):
            with pytest.raises(sn.errors.QueueDeadlineError):
                await eng.run("a", trio.sleep, 0, timeout=1)


@virtual
async def test_a_wait_that_ends_earlier_lets_the_other_go_on() -> None:
    async with scene(**ONE) as place:
        eng = place.engine
        ended: list[str] = []

        async def patient() -> None:
            async with eng.lease("a"):
                await trio.sleep(2)
                await eng.run("b", trio.sleep, 0)
                ended.append("patient")

        async def hurried() -> None:
            async with eng.lease("b"):
                await trio.sleep(1)
                with pytest.raises(sn.errors.QueueDeadlineError):
                    await eng.run("a", trio.sleep, 0, timeout=5)
                ended.append("hurried")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            nursery.start_soon(hurried)
        assert ended == ["hurried", "patient"]


def test_from_asyncio_and_threads_it_is_told_at_once_too() -> None:
    async def nothing() -> None:
        pass

    async def main() -> None:
        async with aio_scene(**ONE) as (eng, _):
            async with eng.lease("a"):
                with pytest.raises(NestedLeaseError):
                    await eng.run("a", nothing)
                other = asyncio.create_task(eng.run("a", nothing))
                await eng.run("b", nothing)
            await other

    run(main)
    with sync_scene(model={"max_streams": 1}) as (eng, _), eng.lease("m"):
        with pytest.raises(NestedLeaseError):
            eng.run("m", print)
        with pytest.raises(NestedLeaseError):
            eng.complete("m", "Hi")


def test_of_tasks_that_were_begun_in_a_block_it_is_said_once_that_they_may_wait_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def nothing() -> None:
        pass

    async def main() -> None:
        async with aio_scene(**ONE) as (eng, _):
            async with eng.lease("a"):
                below = [asyncio.create_task(eng.run("a", nothing)) for _ in range(2)]
                while (await eng.statistics()).models["a"].queued < 2:
                    pass
                said = [record.getMessage() for record in caplog.records]
                for task in below:
                    task.cancel()
                await asyncio.gather(*below, return_exceptions=True)
            await eng.run("a", nothing)
        (words,) = said
        assert words.startswith("a: this may wait for ever. It was begun inside of a block")
        assert "all 1 slots of model 'a' are held" in words

    run(main)


def test_of_tasks_that_were_begun_outside_or_wait_for_others_nothing_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def nothing() -> None:
        pass

    async def main() -> None:
        async with aio_scene(**ONE) as (eng, _):
            go_on = asyncio.Event()

            async def below(model: str) -> None:
                await go_on.wait()
                await eng.run(model, nothing)

            before = asyncio.create_task(below("a"))
            async with eng.lease("a"):
                inside = asyncio.create_task(below("b"))
                go_on.set()
                while not (await eng.statistics()).models["a"].queued:
                    pass
                await inside
            await before

    run(main)
    assert caplog.records == []


def test_nested_leases_that_are_cancelled_anywhere_leave_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine(world.config(max_streams=2)) as eng:
            with scope:
                errors: list[Any] = []
                tasks = [
                    [("a", 1, "here"), ("b", 1, "child")],
                    [("b", 1, "child"), ("a", 1, "here")],
                ]
                await play(eng, tasks, errors)
                assert len(errors) == 1
            await wait_quiescent(eng)
            nesting = eng._admission._nesting
            assert not nesting._waits and not nesting._begun_inside

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 10)
