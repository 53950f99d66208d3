"""State machines in a world, and what the pytest plugin shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from streamnursery import TokenStream
from streamnursery.testing import WorldMachine, in_world

QUICK = settings(
    max_examples=3,
    stateful_step_count=4,
    phases=[Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Sleeper(WorldMachine):
    """Time passes in rules alone."""

    @rule()
    @in_world
    async def sleep(self) -> None:
        before = trio.current_time()
        await trio.sleep(1)
        assert trio.current_time() == before + 1

    @rule()
    @in_world
    async def ask(self) -> None:
        await self.engine.complete("fast", "Hello")


def test_a_machine_lives_in_its_world() -> None:
    run_state_machine_as_test(Sleeper, settings=QUICK)


class Crashing(Sleeper):
    @rule()
    @in_world
    async def crash_later(self) -> None:
        self.nursery.start_soon(self.crash)

    async def crash(self) -> None:
        await trio.sleep(0.5)
        raise KeyError("in the background")


def test_a_crash_in_the_background_fails_the_machine() -> None:
    with pytest.raises(KeyError, match="in the background"):
        run_state_machine_as_test(Crashing, settings=settings(QUICK, max_examples=50))


class Falsifying(WorldMachine):
    @rule()
    @in_world
    async def lie(self) -> None:
        await self.engine.complete("fast", "Hello")
        del self.world.streams[-1].events[0]


def test_the_history_is_checked_in_the_end() -> None:
    with pytest.raises(AssertionError, match="the history of this world is wrong"):
        run_state_machine_as_test(Falsifying, settings=QUICK)


class Holding(WorldMachine):
    """Streams may stay open from one rule to the next."""

    held: TokenStream | None = None

    @rule()
    @in_world
    async def hold(self) -> None:
        await self.nursery.start(self.keep_open)

    async def keep_open(self, task_status: trio.TaskStatus[None]) -> None:
        async with self.engine.stream("gpt-4.1", "Hello") as self.held:
            task_status.started()
            await trio.sleep_forever()

    @rule()
    @in_world
    async def read(self) -> None:
        if self.held is not None:
            await anext(self.held, None)


def test_what_is_open_in_the_end_is_closed() -> None:
    run_state_machine_as_test(Holding, settings=QUICK)


TEST_FILE = """
from streamnursery.testing import cancel_at_every_step

async def test_it_fails(world):
    assert world.seed == 6

def test_a_sweep():
    async def run(world, scope):
        with scope:
            async with world.open_engine():
                pass
    cancel_at_every_step(run)
"""


def test_pytest_shows_how_to_replay_and_what_was_swept(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_FILE)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")

    plugin = ("-p", "streamnursery.testing.pytest_plugin", "-p", "no:cacheprovider")
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "--rootdir=.", "--world-seed=7"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "engine")},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "1 failed, 1 passed" in shown
    assert "replay: pytest 'test_it.py::test_it_fails' --world-seed=7" in shown
    assert "test_it.py::test_a_sweep: cancel_at_every_step: " in shown
