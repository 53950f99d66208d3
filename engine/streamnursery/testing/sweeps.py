"""Sweeps: the same run again and again in equal worlds, disturbed at every point in turn.

The idea is httpcore's test of cancellation at each await, made total: not the points that somebody
thought of, but every task step of a run, every use of the network, every byte of an answer.

Rule 1: the first run is undisturbed. It must succeed, and shows how many points there are.
Rule 2: a disturbed run may end with an `EngineError`, which is an honest answer to a fault. Any
        other error fails the sweep, as does what the world finds when it is left.
Rule 3: no run sees another: each has its own world, of the same seed.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import trio

from streamnursery.simulator import Cut, Plan, Reset, Rule, When
from streamnursery.testing.flaky_network import FlakyNetwork
from streamnursery.testing.world import World
from streamnursery.values.errors import EngineError

Run: TypeAlias = "Callable[[World], Awaitable[object]]"
ScopedRun: TypeAlias = "Callable[[World, trio.CancelScope], Awaitable[object]]"
Once: TypeAlias = Callable[[int | None], int]
"""Runs once, disturbed at a point or not at all; returns how many points the run had."""

reports: "deque[SweepReport]" = deque(maxlen=1000)
"""Of the latest sweeps; the pytest plugin takes them from here."""


@attrs.frozen
class SweepReport:
    """How much a sweep tried."""

    sweep: str
    points: int
    """Runs that were disturbed, each at another point."""
    possible: int
    """Points that the undisturbed run has."""

    def __str__(self) -> str:
        return f"{self.sweep}: {self.points} of {self.possible} points tried"


def cancel_at_every_step(
    run: ScopedRun, *, seed: int = 0, plan: Plan | None = None, most: int | None = None
) -> SweepReport:
    """Cancel just before every task step of `run(world, scope)`, whichever task's it is.

    The run enters `with scope:` around what is to be cancelled, and says afterwards, inside
    itself, what must hold. `most` bounds the points tried; they are spread evenly.
    """
    return _sweep("cancel_at_every_step", cancel_once(run, seed, plan), most)


def fail_at_every_io(
    run: Run, *, seed: int = 0, plan: Plan | None = None, most: int | None = None
) -> SweepReport:
    """Fail every use of the network by `run(world)` in turn: names, connects, reads, sends."""
    return _sweep("fail_at_every_io", fail_once(run, seed, plan), most)


def cut_at_every_byte(
    run: Run,
    *,
    seed: int = 0,
    plan: Plan | None = None,
    most: int | None = None,
    reset: bool = False,
) -> SweepReport:
    """End the answer to the first request of `run(world)` after every number of its bytes, with
    FIN or with `reset` by RST; later requests are answered whole."""
    return _sweep("cut_at_every_byte", cut_once(run, seed, plan, reset=reset), most)


def spread(possible: int, most: int | None) -> range:
    """The points to try, from 1: all of them, or about `most` at even distances."""
    stride = 1 if most is None else max(1, -(-possible // most))
    return range(1, possible + 1, stride)


def _sweep(name: str, once: Once, most: int | None) -> SweepReport:
    possible = once(None)
    points = spread(possible, most)
    for point in points:
        disturb(name, once, point, possible)
    report = SweepReport(name, len(points), possible)
    reports.append(report)
    return report


def disturb(name: str, once: Once, point: int, possible: int) -> None:
    """One disturbed run; a failure says at which point."""
    try:
        once(point)
    except BaseException as error:
        error.add_note(f"{name}: at point {point} of {possible}")
        raise


# One run of each kind. ------------------------------------------------------------------------


class _CancelBeforeStep(trio.abc.Instrument):
    """Cancels `scope` just before task step number `point` of a run."""

    def __init__(self, point: int | None) -> None:
        self.seen = 0
        self.scope = trio.CancelScope()
        self._point = point

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.seen += 1
        if self.seen == self._point:
            self.scope.cancel()


def cancel_once(run: ScopedRun, seed: int, plan: Plan | None) -> Once:
    def once(point: int | None) -> int:
        instrument = _CancelBeforeStep(point)

        async def main(world: World) -> None:
            trio.lowlevel.add_instrument(instrument)
            try:
                await run(world, instrument.scope)
            finally:
                trio.lowlevel.remove_instrument(instrument)

        World(seed, plan=plan).run(main)
        return instrument.seen

    return once


def fail_once(run: Run, seed: int, plan: Plan | None) -> Once:
    def once(point: int | None) -> int:
        flaky = FlakyNetwork(point)
        World(seed, plan=plan, around=flaky.around).run(_forgiving(run, point))
        return flaky.uses

    return once


def cut_once(run: Run, seed: int, plan: Plan | None, *, reset: bool) -> Once:
    def once(point: int | None) -> int:
        rules = () if plan is None else plan.rules
        if point is not None:
            fault = (Reset if reset else Cut)(point - 1, unit="bytes")
            rules = (Rule((fault,), When(requests=(1,))), *rules)
        world = World(seed, plan=Plan(rules))
        world.run(_forgiving(run, point))
        return world.provider.log[0].sent_bytes

    return once


def _forgiving(run: Run, point: int | None) -> Callable[[World], Awaitable[None]]:
    async def main(world: World) -> None:
        try:
            await run(world)
        except EngineError:
            if point is None:
                raise

    return main


ONCE: dict[Callable[..., SweepReport], Callable[..., Once]] = {
    cancel_at_every_step: cancel_once,
    fail_at_every_io: fail_once,
    cut_at_every_byte: cut_once,
}


def each_point_of(
    sweep: Callable[..., SweepReport],
    *,
    seed: int = 0,
    plan: Plan | None = None,
    most: int | None = 100,
    **options: Any,
) -> Callable[[Callable[..., Awaitable[object]]], Callable[..., None]]:
    """The same sweep as a parametrised pytest test, one case per point:

        @each_point_of(cancel_at_every_step, most=50)
        async def test_a_cancelled_stream_leaves_nothing(world, scope): ...

    The names of the cases say how many points there are.
    """
    import pytest  # here: whoever sweeps without pytest need not have it

    def decorate(run: Callable[..., Awaitable[object]]) -> Callable[..., None]:
        if sweep is cut_at_every_byte:
            options.setdefault("reset", False)
        once = ONCE[sweep](run, seed, plan, **options)
        possible = once(None)

        def test(point: int) -> None:
            disturb(sweep.__name__, once, point, possible)

        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(test, name, getattr(run, name))
        points = spread(possible, most)
        cases = pytest.mark.parametrize("point", points, ids=lambda p: f"{p}-of-{possible}")
        return cases(test)

    return decorate
