"""The command in a folder of its own."""

import os
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.support.cli import Command, empty_world


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    kept = empty_world(tmp_path)
    for name in list(os.environ):
        if name not in kept and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capfd)


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """What the command waits for takes no real time; simulated models need no socket."""
    clock = MockClock(autojump_threshold=0)
    monkeypatch.setattr(trio, "run", partial(trio.run, clock=clock))
    return clock
