"""trio's scheduler, made to follow a seed. The only place that touches trio's private parts.

trio runs the tasks of one round in a random order. `pinned` seeds those dice, and has trio put the
tasks into the order of their making before it shuffles them: without that the order would begin
with that of a set, which follows memory addresses. Both are what pytest-trio does for Hypothesis;
trio has no public way. A linter rule keeps `trio._core` out of every other file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import trio

WORKS_WITH = ("0.32", "0.35")
"""The oldest and the newest trio that the tests have passed with (`make trio-versions`)."""

_pins: list[object] = []


@contextmanager
def pinned(seed: int | str) -> Iterator[None]:
    """Schedule by `seed` inside the block, and as before after it.

    Raises:
        RuntimeError: inside another such block, since there is one scheduler per process; or this
            trio cannot be seeded.
    """
    if _pins:
        msg = "a simulated world is open already; worlds run one after the other"
        raise RuntimeError(msg)
    run = _scheduler()
    dice = run._r
    before = (dice.getstate(), run._ALLOW_DETERMINISTIC_SCHEDULING)
    _pins.append(seed)
    dice.seed(f"scheduler {seed}")
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        _pins.pop()
        state, run._ALLOW_DETERMINISTIC_SCHEDULING = before
        dice.setstate(state)


def reseed(seed: int | str) -> None:
    """Go on with other dice inside a `pinned` block."""
    _scheduler()._r.seed(f"scheduler {seed}")


def deadline_code() -> CodeType:
    """What trio runs for each deadline that is set or moved; profilers count timers by it.

    Raises:
        RuntimeError: this trio has no such function.
    """
    code: CodeType = _scheduler().Deadlines.add.__code__
    return code


def _scheduler() -> Any:
    """trio's module of the scheduler, which has every name that is used here.

    Looked at with each use: to set a name that is no longer read would change nothing, and nobody
    would notice.
    """
    try:
        run: Any = trio._core._run
        _ = run._r, run._ALLOW_DETERMINISTIC_SCHEDULING, run.Deadlines.add
    except AttributeError as error:
        oldest, newest = WORKS_WITH
        msg = (
            f"trio {trio.__version__} has no {error.name!r} in its scheduler, which a seeded "
            f"schedule needs; trio {oldest} to {newest} have: pip install 'trio=={newest}.*'"
        )
        raise RuntimeError(msg) from None
    return run
