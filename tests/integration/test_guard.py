"""What ends a test that would hang."""

import signal
import subprocess
import sys

import pytest
import trio

from tests.support import guard


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GUARD", 0.0)


def test_a_read_of_a_process_that_hangs_meets_the_end() -> None:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    begun = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with guard.guarded(begun) as process:
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert process.returncode == -signal.SIGKILL


async def test_a_condition_that_never_holds_fails() -> None:
    with pytest.raises(trio.TooSlowError):
        await guard.until(lambda: False)


async def test_scopes_are_cancelled_in_their_round_and_no_other(nursery: trio.Nursery) -> None:
    rounds = guard.Rounds(nursery)
    ended: list[tuple[int, int]] = []

    async def wait(number: int) -> None:
        with rounds.cancelled_after(number):
            await trio.sleep_forever()
        ended.append((number, rounds.count))

    async with trio.open_nursery() as waiting:
        for number in (5, 1, 9):
            waiting.start_soon(wait, number)
    assert [number for number, _ in ended] == [1, 5, 9]
    assert all(0 <= count - number <= 2 for number, count in ended)
    nursery.cancel_scope.cancel()
