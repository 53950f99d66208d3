"""trio's scheduler, made to follow a seed. The only place that touches trio's private parts.

trio runs the tasks of one round in a random order. `pinned` seeds those dice, and has trio put the
tasks into the order of their making before it shuffles them: without that the order would begin
with that of a set, which follows memory addresses. Both are what pytest-trio does for Hypothesis.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

_run: Any = trio._core._run
_pins: list[object] = []


@contextmanager
def pinned(seed: int | str) -> Iterator[None]:
    """Schedule by `seed` inside the block, and as before after it.

    Raises:
        RuntimeError: inside another such block; there is one scheduler per process.
    """
    if _pins:
        msg = "a simulated world is open already; worlds run one after the other"
        raise RuntimeError(msg)
    dice = _run._r
    before = (dice.getstate(), _run._ALLOW_DETERMINISTIC_SCHEDULING)
    _pins.append(seed)
    dice.seed(f"scheduler {seed}")
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        _pins.pop()
        state, _run._ALLOW_DETERMINISTIC_SCHEDULING = before
        dice.setstate(state)


def reseed(seed: int | str) -> None:
    """Go on with other dice inside a `pinned` block."""
    _run._r.seed(f"scheduler {seed}")
