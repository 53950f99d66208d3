"""A whole benchmark: every target at every level of load, repetition after repetition, interleaved.

Rule 1: targets take turns within a level, and levels within a repetition, so that whatever the
        machine or the network does meanwhile touches all of them.
Rule 2: a load_run opens its own engine: no target inherits connections or statistics.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

import attrs
import trio

from streamnursery.bench.calibrate import Calibration, doubts
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.run_summary import ALL, LoadRun, value_of
from streamnursery.bench.samples import OK
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Shape
from streamnursery.bench.thresholds import Threshold

_PRECISION = 0.1
"""Of the highest load that keeps an SLO, as a share of it."""
_MAX_STEPS = 20


class LoadRunner(Protocol):
    """Runs one load_run, here or in workers."""

    async def load_run(self, target: int, shape: Shape, repetition: int, /) -> LoadRun:
        """Run target number `target` under `shape`."""


@attrs.frozen
class Level:
    """One target at one level of load."""

    target: str
    shape: Shape
    runs: tuple[LoadRun, ...]

    def keeps(self, slo: tuple[Threshold, ...]) -> list[tuple[Threshold, float | None, bool]]:
        """Every threshold, what was measured over all repetitions, and whether that holds. What was
        not measured does not hold."""
        joined = self.runs[0]
        for load_run in self.runs[1:]:
            joined = joined.joined(load_run)
        seconds = sum(run.seconds for run in self.runs)
        found = [
            (threshold, value_of(threshold, joined.tallies[ALL], seconds)) for threshold in slo
        ]
        return [
            (threshold, value, value is not None and threshold.holds(value))
            for threshold, value in found
        ]


@attrs.frozen
class Result:
    """All that was measured."""

    levels: tuple[Level, ...]
    """By target, then by load."""
    options: Options
    calibration: Calibration | None
    warnings: tuple[str, ...]
    highest: dict[str, Shape | None] | None = None
    """By target, the highest load that kept the SLO, where it was looked for."""
    interrupted: bool = False
    """Some of what was asked for is missing."""


async def run_levels(
    targets: Sequence[Target],
    shapes: Sequence[Shape],
    options: Options,
    runner: LoadRunner,
    on_level: Callable[[str, Shape, LoadRun], None],
) -> list[Level]:
    """Every target at every level, `options.repetitions` times."""
    await trio.lowlevel.checkpoint()
    found: dict[tuple[int, int], list[LoadRun]] = {}
    for repetition in range(options.repetitions):
        for level, shape in enumerate(shapes):
            for index, target in enumerate(targets):
                load_run = await runner.load_run(index, shape, repetition)
                found.setdefault((index, level), []).append(load_run)
                on_level(target.name, shape, load_run)
    return [
        Level(target.name, shape, tuple(found[index, level]))
        for index, target in enumerate(targets)
        for level, shape in enumerate(shapes)
    ]


async def find_highest(
    index: int,
    target: Target,
    first: Concurrency | Constant | Poisson,
    options: Options,
    runner: LoadRunner,
    on_level: Callable[[str, Shape, LoadRun], None],
) -> tuple[list[Level], Shape | None]:
    """The highest load of the kind of `first` that keeps `options.slo`, to within 10 %.

    Doubles from `first` until the SLO breaks, then halves the interval; None if `first` breaks it.
    """
    await trio.lowlevel.checkpoint()
    levels: list[Level] = []

    async def holds(load: float) -> bool:
        shape = _with_level(first, load)
        load_run = await runner.load_run(index, shape, len(levels))
        on_level(target.name, shape, load_run)
        levels.append(Level(target.name, shape, (load_run,)))
        return all(kept for _, _, kept in levels[-1].keeps(options.slo))

    good, bad = 0.0, first.level
    while len(levels) < _MAX_STEPS and await holds(bad):
        good, bad = bad, bad * 2
    while len(levels) < _MAX_STEPS and good and _apart(first, good, bad):
        middle = (good + bad) / 2
        if isinstance(first, Concurrency):
            middle = round(middle)
        if await holds(middle):
            good = middle
        else:
            bad = middle
    levels.sort(key=lambda level: level.shape.level)
    return levels, _with_level(first, good) if good else None


async def sweep(
    index: int,
    target: Target,
    users: int,
    rates: int,
    runner: LoadRunner,
    on_level: Callable[[str, Shape, LoadRun], None],
) -> None:
    """One request at a time, `users` at once, and `rates` constant rates evenly between what the
    two gave; as guidellm's profile of that name."""
    await trio.lowlevel.checkpoint()
    ends = []
    for shape in (Concurrency(1), Concurrency(users)):
        load_run = await runner.load_run(index, shape, 0)
        on_level(target.name, shape, load_run)
        ends.append(load_run.tallies[ALL].outcomes[OK] / (load_run.seconds or inf))
    low, high = sorted(ends)
    for step in range(1, rates + 1):
        rate = low + (high - low) * step / (rates + 1)
        if rate > 0:
            constant = Constant(float(f"{rate:.4g}"))
            on_level(target.name, constant, await runner.load_run(index, constant, 0))


def _apart(first: Shape, good: float, bad: float) -> bool:
    if isinstance(first, Concurrency) and bad - good <= 1:
        return False
    return (bad - good) / good > _PRECISION


def _with_level(first: Concurrency | Constant | Poisson, load: float) -> Shape:
    if isinstance(first, Concurrency):
        return Concurrency(round(load))
    return attrs.evolve(first, rate=load)


def all_doubts(levels: Sequence[Level], workers: int) -> tuple[str, ...]:
    """What should be said about the figures before anybody believes them: of each target and each
    doubt the worst, and at how many levels more."""
    found: dict[tuple[str, str], list[tuple[float, Level, str]]] = {}
    for level in levels:
        for load_run in level.runs:
            for doubt in doubts(load_run, workers):
                entry = (doubt.weight, level, doubt.text)
                found.setdefault((level.target, doubt.about), []).append(entry)
    said = []
    for (target, _), entries in found.items():
        _, worst, text = max(entries, key=lambda entry: entry[0])
        others = len({id(level) for _, level, _ in entries}) - 1
        more = f" (to a lesser degree at {others} more loads)" if others else ""
        said.append(f"{target} at {worst.shape}: {text}{more}")
    return tuple(said)
