"""The first signal ends a run cleanly."""

import os
import signal

import pytest
import trio

from streamnursery.cli.exits import CliError
from streamnursery.cli.signals import run_trio


def test_the_exit_code_of_the_work_is_returned() -> None:
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 3

    assert run_trio(work) == 3


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_work_and_gives_its_code(signum: signal.Signals) -> None:
    done: list[str] = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), signum)
            await trio.sleep_forever()
        finally:
            done.append("cleaned up")
        return 0

    before = signal.getsignal(signum)
    assert run_trio(work) == 128 + signum
    assert done == ["cleaned up"]
    assert signal.getsignal(signum) is before


@pytest.mark.parametrize("error", [BrokenPipeError(), CliError("stop")], ids=["pipe", "cli"])
def test_what_ends_the_command_leaves_every_nursery_bare(error: Exception) -> None:
    async def work() -> int:
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(trio.sleep_forever)
            raise error

    with pytest.raises(type(error)):
        run_trio(work)


def test_a_bug_stays_a_bug() -> None:
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_trio(work)
