"""What can be asked of a world: is its history true, does everything end once the faults do?"""

from collections.abc import Sequence
from typing import Protocol

import trio

from streamnursery.testing.consumers import ConsumerRecord

_SHOWN = 20
_LOOKS = 100


class CheckedWorld(Protocol):
    """What the checks ask of a `World`."""

    @property
    def streams(self) -> Sequence[ConsumerRecord]:
        """Every stream that was opened."""

    def problems(self) -> Sequence[str]:
        """What is wrong in its history."""

    def stop_faults(self) -> None:
        """From now on the providers behave."""


def check_history(world: CheckedWorld) -> None:
    """Every request has exactly one outcome, no attempt passed a limit, no deadline was missed by
    more than 1 ms, and what consumers were handed is what the providers said.

    May be called at any moment; leaving the world calls it.

    Raises:
        AssertionError: naming everything that is wrong.
    """
    problems = world.problems()
    if problems:
        shown = "\n  ".join(problems[:_SHOWN])
        msg = f"the history of this world is wrong in {len(problems)} places:\n  {shown}"
        raise AssertionError(msg)


async def after_faults_stop(world: CheckedWorld, within: float) -> None:
    """Stop all faults and wait at most `within` seconds until every stream has its outcome.

    Raises:
        AssertionError: naming the streams that are stuck, and what they wait for.
    """
    world.stop_faults()
    for _ in range(_LOOKS):
        if all(stream.over for stream in world.streams):
            await trio.lowlevel.checkpoint()
            return
        await trio.sleep(within / _LOOKS)
    stuck = [f"{s} waits for {s.stream.waiting_for()}" for s in world.streams if not s.over]
    if stuck:
        msg = f"{within:g} s after the faults stopped: " + "; ".join(stuck[:_SHOWN])
        raise AssertionError(msg)
