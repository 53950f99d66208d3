"""The simulated world: one seed, one run, and nothing real in it."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import streamnursery as sn
from streamnursery import Engine, EngineConfig, TokenStream
from streamnursery.simulator import Link, Plan, RefuseConnect, Stall, Status
from streamnursery.testing import (
    World,
    after_faults_stop,
    assert_quiescent,
    check_history,
    random_traffic,
    simulated_world,
)

SEEDS = {"test": 5, "proof": 20, "soak": 100}


async def ask(world: World) -> str:
    async with world.open_engine() as eng:
        return (await eng.complete("gpt-4.1", "Hello", max_tokens=9)).text


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


# One seed, one run. ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_in_every_process(tier: str) -> None:
    def digests(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tests.support.replay", "0", str(SEEDS[tier])],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = digests("1")
    assert len(set(first.split("\n"))) == SEEDS[tier] + 1
    assert digests("2") == first


def test_another_seed_gives_another_run() -> None:
    answers = set()
    for seed in range(5):
        world = World(seed)
        world.run(ask)
        answers.add(world.digest())
    assert len(answers) == 5


def test_the_order_of_tasks_follows_the_seed() -> None:
    async def order(world: World) -> list[int]:
        seen: list[int] = []
        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(note, number, seen)
        return seen

    async def note(number: int, seen: list[int]) -> None:
        seen.append(number)

    assert World(3).run(order) == World(3).run(order)
    assert len({tuple(World(seed).run(order)) for seed in range(9)}) > 1


def test_a_world_leaves_the_dice_of_others_alone() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    World(1).run(ask)
    assert random.random() == expected


# What it is made of. --------------------------------------------------------------------------


async def test_the_engine_in_a_world_is_the_real_one(world: World) -> None:
    async with world.open_engine() as eng:
        assert type(eng) is Engine
        async with eng.stream("fast", "Hello") as stream:
            assert isinstance(stream, TokenStream)
            assert (await stream.completion()).text == world.provider.log[0].intended()
        assert world.provider.log[0].headers["user-agent"].startswith("streamnursery/")


async def test_the_world_remembers_what_each_consumer_read(world: World) -> None:
    async with world.open_engine() as eng, eng.stream("gpt-4.1", "Hello") as stream:
        texts = [text async for text in stream.text()]
    (record,) = world.streams
    assert record.finished and record.over
    assert record.text == "".join(texts) == world.provider.log[0].intended()


async def test_time_is_virtual_and_the_wall_clock_can_jump(world: World) -> None:
    assert world.wall() == pytest.approx(1_767_225_600 + trio.current_time())
    await trio.sleep(3600)
    world.wall.jump(-7200)
    assert world.wall() == pytest.approx(1_767_225_600 + trio.current_time() - 7200)


async def test_a_world_can_have_several_providers(world: World) -> None:
    world.provider.plan = Plan.always(Status(500))
    backup = world.add_provider("backup")
    endpoints = {"a": {"url": "http://sim.test/v1"}, "b": {"url": "http://backup.test/v1"}}
    routes = [{"endpoint": name, "model": "gpt-4.1"} for name in endpoints]
    models = {"m": {"routes": routes}}
    async with world.open_engine({"endpoints": endpoints, "models": models}) as eng:
        answer = await eng.complete("m", "Hello")
    assert answer.text == backup.log[0].intended()


async def test_the_network_takes_its_time_where_it_is_told_to(world: World) -> None:
    slow = World(0, link=Link(latency=0.5))
    with pytest.raises(RuntimeError, match="one after the other"):
        slow.run(ask)


def test_latency_adds_up() -> None:
    async def main(world: World) -> float:
        async with world.open_engine() as eng:
            await eng.complete("fast", "Hello", max_tokens=3)
        return trio.current_time()

    assert World(0).run(main) == 0
    # A round trip to connect, half a one for the request, half a one for the answer.
    assert World(0, link=Link(latency=0.5)).run(main) == pytest.approx(2.0)


def test_there_is_no_thread() -> None:
    # A thread of the test's: trio keeps its worker threads, so that one may be there already.
    over = threading.Event()

    async def main(world: World) -> None:
        threading.Thread(target=over.wait, name="stray").start()

    with pytest.raises(AssertionError, match=r"no threads .*stray"):
        World(0).run(main)
    over.set()


def test_there_is_no_open_file(tmp_path: Path) -> None:
    opened = []

    async def main(world: World) -> None:
        opened.append(os.open(tmp_path / "file", os.O_CREAT))

    with pytest.raises(AssertionError, match=r"opens no files.*/file"):
        World(0).run(main)
    os.close(opened[0])


async def test_a_world_needs_a_virtual_clock() -> None:
    with pytest.raises(RuntimeError, match="MockClock"):
        async with simulated_world():
            pass


async def test_a_world_opens_inside_a_run_on_a_virtual_clock(autojump_clock: MockClock) -> None:
    async with simulated_world(4) as world:
        assert await ask(world)


# How it ends. ---------------------------------------------------------------------------------


def test_a_failure_says_how_to_see_it_again() -> None:
    async def main(world: World) -> None:
        await ask(world)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        World(1234).run(main)
    assert "replay: World(1234).run(main)" in notes(caught.value)
    assert '"StreamEnded"' in notes(caught.value)


def test_a_world_in_which_nothing_can_happen_ends_and_says_who_waits() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            eng.set_limits(max_streams=0)
            await eng.complete("gpt-4.1", "Hello")

    with pytest.raises(AssertionError, match=r"stands still.*gpt-4.1.*a global slot \(0 of 0"):
        World(0).run(main)


def test_what_is_left_when_a_world_ends_is_an_error() -> None:
    async def main(world: World) -> None:
        await world.network.connect(("45.0.0.1", 80))

    with pytest.raises(AssertionError, match="1 connections were left open"):
        World(0).run(main)


async def test_an_engine_in_use_is_not_quiescent(world: World) -> None:
    async with world.open_engine() as eng:
        async with eng.stream("gpt-4.1", "Hello") as stream:
            await anext(stream)
            with pytest.raises(AssertionError, match=r"1 slots taken; 1 stream tasks; 1 busy"):
                assert_quiescent(eng)
        assert_quiescent(eng)


async def test_a_connection_that_no_pool_knows_is_found(world: World) -> None:
    async with world.open_engine() as eng:
        await eng.complete("fast", "Hello")
        assert_quiescent(eng)
        # The planted defect: the pool forgets what it was given.
        (transport,) = eng._transports
        forgotten = transport._pool.checkout(eng.config.endpoints["sim"].peer)
        assert forgotten is not None
        with pytest.raises(AssertionError, match="1 connections that no pool knows"):
            assert_quiescent(eng)
        forgotten.close()


async def test_a_history_may_be_checked_while_streams_run(world: World) -> None:
    async with world.open_engine() as eng, eng.stream("gpt-4.1", "Hello") as stream:
        async for _ in stream:
            check_history(world)


def test_notes_stand_in_the_trace() -> None:
    async def main(world: World) -> None:
        await trio.sleep(2)
        world.note("halfway")

    world = World(0)
    world.run(main)
    assert world.trace.lines() == ['["str",2.0,"halfway"]']


# Liveness. ------------------------------------------------------------------------------------

LIVE_SEEDS = {"test": 10, "proof": 50, "soak": 500}


async def patient_traffic(world: World) -> None:
    """No deadlines: what does not end by itself never ends."""
    traffic = random_traffic(world.dice, 25, seconds=10, timeout=float("inf"))
    world.provider.plan = traffic.plan
    async with world.open_engine(traffic.config) as eng, trio.open_nursery() as nursery:
        nursery.start_soon(traffic.meet, eng)
        await trio.sleep(15)
        for model in (None, *eng.statistics().models):
            eng.set_limits(model=model, max_streams=10)
        await after_faults_stop(world, within=600)


@pytest.mark.parametrize("part", range(2))
def test_everything_ends_once_the_faults_do(tier: str, part: int) -> None:
    for seed in range(part, LIVE_SEEDS[tier], 2):
        World(seed).run(patient_traffic)


def test_what_does_not_end_is_named() -> None:
    async def main(world: World) -> None:
        patience = sn.Patience(first_byte=None, first_token=None, idle=None, total=None)
        async with world.open_engine(EngineConfig(patience=patience)) as eng:
            async with eng.stream("gpt-4.1", "Hello"):
                await trio.sleep(5)
                await after_faults_stop(world, within=60)

    stuck = r"60 s after the faults stopped: stream 1 \(gpt-4.1\) waits for content from sim"
    with pytest.raises(AssertionError, match=stuck):
        World(0, plan=Plan.always(Stall(0, None))).run(main)


def test_connections_that_are_refused_for_a_while_are_made_after_it() -> None:
    async def main(world: World) -> float:
        async with world.open_engine() as eng, trio.open_nursery() as nursery:
            # A server that has answered before: elsewhere a second refusal is the end.
            await eng.complete("fast", "Hello")
            await trio.sleep(10)
            next(iter(world.providers.values())).plan = Plan.always(RefuseConnect())
            start = trio.current_time()
            nursery.start_soon(eng.complete, "fast", "Hello")
            await trio.sleep(0.5)
            await after_faults_stop(world, within=30)
        return trio.current_time() - start

    assert 0.5 <= World(0).run(main) <= 30
