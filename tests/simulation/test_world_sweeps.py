"""Sweeps: a run that is disturbed at every point still keeps its promises."""

import pytest
import trio

from streamnursery import Engine, EngineError, Retries, StreamCancelledError
from streamnursery.simulator import Cut, Plan, Rule, Status, When
from streamnursery.testing import (
    World,
    cancel_at_every_step,
    cut_at_every_byte,
    each_point_of,
    fail_at_every_io,
    wait_quiescent,
)
from streamnursery.testing.sweeps import SweepReport

POINTS = {"test": 90, "proof": None, "soak": None}
CUTS = {"test": 60, "proof": 400, "soak": None}
ONE_RETRY = Plan((Rule((Status(503),), When(requests=(2,))),))


async def everything(eng: Engine) -> None:
    """Connect, queue, retry, reuse a connection, finish: 3 requests of 3 tokens, one at a time."""

    async def one(prompt: str) -> None:
        async with eng.stream("gpt-4.1", prompt, max_tokens=3) as stream:
            async for _ in stream:
                pass

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one, f"Question {number}")


async def cancelled(world: World, scope: trio.CancelScope) -> None:
    config = world.config(max_streams=1)
    async with world.open_engine(config) as eng:
        with scope:
            await everything(eng)
        await wait_quiescent(eng)
        # And it can be used afterwards.
        assert (await eng.complete("fast", "Again")).text == world.provider.log[-1].intended()


async def answered(world: World) -> None:
    """Whole, or with an honest error and a true partial; what is partial the world checks."""
    retries = Retries(attempts=2, base=0.1)
    async with world.open_engine(world.config(retries=retries)) as eng:
        for _ in range(2):
            answer = await eng.complete("gpt-4.1", "Hello", max_tokens=3)
            assert answer.text in [record.intended() for record in world.provider.log]


def test_a_cancel_at_any_step_leaves_nothing_and_the_engine_usable(tier: str) -> None:
    report = cancel_at_every_step(cancelled, plan=ONE_RETRY, most=POINTS[tier])
    assert report.possible > 70
    assert report.points > 40


def test_cancelling_the_whole_engine_at_any_step_closes_it(tier: str) -> None:
    async def run(world: World, scope: trio.CancelScope) -> None:
        with scope:
            async with world.open_engine(world.config(max_streams=2)) as eng:
                await everything(eng)

    report = cancel_at_every_step(run, plan=ONE_RETRY, most=POINTS[tier])
    assert report.possible > 70


def test_a_failure_at_any_use_of_the_network_is_survived_or_told() -> None:
    report = fail_at_every_io(answered)
    assert report.points == report.possible > 10


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_an_answer_cut_at_any_byte_is_whole_after_a_retry_or_told(tier: str, reset: bool) -> None:
    report = cut_at_every_byte(answered, most=CUTS[tier], reset=reset)
    assert report.possible > 1000


@each_point_of(cancel_at_every_step, most=10)
async def test_a_sweep_can_be_a_parametrised_test(world: World, scope: trio.CancelScope) -> None:
    async with world.open_engine() as eng:
        with scope:
            await eng.complete("fast", "Hello")
        await wait_quiescent(eng)


def test_a_report_says_how_many_points_were_tried() -> None:
    async def run(world: World, scope: trio.CancelScope) -> None:
        with scope:
            for _ in range(20):
                await trio.lowlevel.checkpoint()

    report = cancel_at_every_step(run, most=7)
    assert report.points <= 7 < 20 <= report.possible
    assert str(report) == f"cancel_at_every_step: {report.points} of {report.possible} points tried"
    assert SweepReport("x", 1, 2) != report


def test_a_failing_point_is_named() -> None:
    async def run(world: World, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(1)
            world.note("slept")
        assert world.trace.lines(), "it was not slept"

    with pytest.raises(AssertionError, match="not slept") as caught:
        cancel_at_every_step(run)
    assert any("cancel_at_every_step: at point 1 of" in note for note in caught.value.__notes__)


def test_the_undisturbed_run_must_succeed() -> None:
    async def run(world: World) -> None:
        async with world.open_engine() as eng:
            await eng.complete("fast", "Hello")

    with pytest.raises(EngineError, match="400"):
        fail_at_every_io(run, plan=Plan.always(Status(400)))


def test_only_an_error_of_the_engine_answers_a_fault() -> None:
    async def run(world: World) -> None:
        async with world.open_engine() as eng:
            stream = eng.stream("fast", "Hello", max_tokens=3, retries=Retries(attempts=1))
            try:
                async with stream as events:
                    await events.completion()
            except EngineError as error:
                raise KeyError("mine") from error

    with pytest.raises(KeyError, match="mine"):
        cut_at_every_byte(run, most=5)


def test_a_sweep_meets_the_plan_as_well() -> None:
    async def run(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine() as eng:
            with scope, pytest.raises((EngineError, StreamCancelledError)):
                await eng.complete("fast", "Hello")

    assert cancel_at_every_step(run, plan=Plan.always(Cut(2)), most=5).points == 5
