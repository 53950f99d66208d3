"""Runs a benchmark with its progress on the screen."""

import argparse
from collections.abc import Iterator, Sequence

import trio

from streamnursery.bench.calibrate import BenchError, Calibration, calibrate
from streamnursery.bench.load_run import RunMonitor
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.run_summary import ALL, LoadRun
from streamnursery.bench.runners import InProcess, Workers, worker_processes
from streamnursery.bench.samples import OK
from streamnursery.bench.session import (
    Level,
    LoadRunner,
    Result,
    all_doubts,
    find_highest,
    run_levels,
    sweep,
)
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Shape
from streamnursery.cli.bench_screen import Screen, screen_for
from streamnursery.cli.exits import CliError, Exit
from streamnursery.values.errors import ConfigError

_EVERY = 0.25
"""Seconds between two looks."""


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors of a group and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


class Work:
    """One benchmark; `result` holds what there is, also when it was interrupted."""

    def __init__(
        self,
        args: argparse.Namespace,
        targets: Sequence[Target],
        shapes: Sequence[Shape],
        options: Options,
        words: Sequence[str],
        watch: RunMonitor,
    ) -> None:
        self._args = args
        self._targets = targets
        self._shapes = shapes
        self._options = options
        self._words = words
        self._watch = watch
        self._stints: dict[tuple[str, Shape], list[LoadRun]] = {}
        self._highest: dict[str, Shape | None] | None = None
        self._calibration: Calibration | None = None
        self._whole = False
        loads = len(shapes) if args.sweep is None else args.sweep + 2
        watch.total = len(targets) * loads * options.repetitions

    @property
    def result(self) -> Result | None:
        """None before anything was measured; of a phase that was broken off what there was."""
        runs = {place: list(found) for place, found in self._stints.items()}
        if self._watch.broken_off is not None:
            name, shape, load_run = self._watch.broken_off
            if load_run.tallies[ALL].outcomes[OK]:
                runs.setdefault((name, shape), []).append(load_run)
        if not runs:
            return None
        order = {target.name: index for index, target in enumerate(self._targets)}
        levels = [Level(name, shape, tuple(s)) for (name, shape), s in runs.items()]
        levels.sort(key=lambda level: (order[level.target], level.shape.level))
        doubts = all_doubts(levels, self._options.workers)
        return Result(
            tuple(levels),
            self._options,
            self._calibration,
            doubts,
            self._highest,
            interrupted=not self._whole,
        )

    async def run(self) -> int:
        """Until everything is measured."""
        failed: list[str] = []
        try:
            await self._run()
        except* (BenchError, ConfigError) as group:
            failed = [str(error) for error in leaves(group)]
        if failed:
            raise CliError("the benchmark could not go on", failed[0], code=Exit.SOME_FAILED)
        return 0

    async def _run(self) -> None:
        if not self._args.no_calibration:
            self._watch.title = "the client itself, against a null server"
            self._calibration = await calibrate()
        screen = screen_for(self._watch, quiet=self._args.quiet, as_json=self._args.json)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show, screen)
                await self._measure()
                self._whole = True
                nursery.cancel_scope.cancel()
        finally:
            screen.close()

    async def _show(self, screen: Screen) -> None:
        while True:
            screen.update(self._watch)
            await trio.sleep(_EVERY)

    async def _measure(self) -> None:
        if self._options.workers == 1:
            await self._with(InProcess(self._targets, self._options, self._watch))
            return
        async with worker_processes(self._words, self._options.workers) as processes:
            names = [target.name for target in self._targets]
            await self._with(Workers(processes, self._watch, names, self._options.count))

    async def _with(self, runner: LoadRunner) -> None:
        if self._args.sweep is not None:
            for index, target in enumerate(self._targets):
                await sweep(index, target, self._users(), self._args.sweep, runner, self._on_level)
            return
        if not self._args.adaptive:
            await run_levels(self._targets, self._shapes, self._options, runner, self._on_level)
            return
        first = self._shapes[0]
        if not isinstance(first, Concurrency | Constant | Poisson) or len(self._shapes) > 1:
            why = "it begins at one load and finds the others"
            raise CliError("--adaptive takes one level", why, "--adaptive --concurrency 4")
        self._highest = {}
        for index, target in enumerate(self._targets):
            _, found = await find_highest(
                index, target, first, self._options, runner, self._on_level
            )
            self._highest[target.name] = found

    def _users(self) -> int:
        """How many are at once at the upper end of a sweep."""
        first = self._shapes[-1]
        return first.users if isinstance(first, Concurrency) and self._args.concurrency else 256

    def _on_level(self, target: str, shape: Shape, load_run: LoadRun) -> None:
        self._stints.setdefault((target, shape), []).append(load_run)
