"""What a world does at the points of `core.buggify` and at the seams of `disturbed.py`: it slows
the engine down, wakes it for nothing and shows it less than there is, as its seed says.

Rule 1: a world disturbs about half of the points, always the same ones: what is rare when
        everything is disturbed is common when little is.
Rule 2: nothing is left behind. The world that was opened takes its disturbance along.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import trio

from streamnursery.core import buggify
from streamnursery.testing.disturbed import SEAMS

_CHOSEN = 0.5
"""Share of the points that a world disturbs."""
_STRIKES = 0.25
"""Share of the visits to such a point that are disturbed."""
_LONGEST = 0.01

POINTS = {**buggify.POINTS, **SEAMS}
"""Where a world may disturb an engine: in its code, and at the seams around it."""


class Disturbance:
    """Implements `streamnursery.core.buggify.Disturber`."""

    def __init__(self, seed: int | str) -> None:
        dice = self._dice = Random(seed)
        self.chosen = frozenset(point for point in POINTS if dice.random() < _CHOSEN)
        """The points that this one disturbs."""
        self.passed: Counter[str] = Counter()
        """How often the engines came by, by point."""
        self.struck: Counter[str] = Counter()
        """How often they were disturbed there."""

    def strikes(self, point: str) -> bool:
        self.passed[point] += 1
        if point not in self.chosen or self._dice.random() >= _STRIKES:
            return False
        self.struck[point] += 1
        return True

    async def pause(self, point: str) -> None:
        if self.strikes(point):
            # Half of the pauses let others run, half let time pass as well.
            await trio.sleep(max(0.0, self._dice.uniform(-_LONGEST, _LONGEST)))

    async def give_way(self, point: str) -> None:
        if self.strikes(point):
            for _ in range(self._dice.randint(1, 3)):
                await trio.lowlevel.cancel_shielded_checkpoint()


@contextmanager
def disturbed(disturbance: Disturbance | None) -> Iterator[None]:
    """Let it disturb every engine of this process, inside the block."""
    before, buggify.world = buggify.world, disturbance
    try:
        yield
    finally:
        buggify.world = before
