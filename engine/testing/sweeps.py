"""Sweeps: the same run again and again, disturbed at every point in turn.

The idea is httpcore's test of cancellation at each await, made total: not the awaits that somebody
thought of, but every task step of the run.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio
from trio.testing import MockClock


@attrs.frozen
class SweepReport:
    """How much a sweep tried."""

    points: int
    """Runs made, each disturbed at another point."""
    steps: int
    """Task steps of the undisturbed run."""


class _CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` just before the run's `step`-th task step."""

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.seen = 0
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.seen += 1
        if self.seen == self.step:
            self.scope.cancel()


def cancel_at_every_step(
    run: Callable[[trio.CancelScope], Awaitable[None]], *, stride: int = 1, most: int | None = None
) -> SweepReport:
    """Run `run` once undisturbed, and then once per task step with a cancel just before it.

    `run(scope)` enters `with scope:` around the part to be cancelled and checks afterwards, inside
    itself, that nothing is left. Each run has a virtual clock of its own. With `stride` only every
    n-th step is tried; with `most` the stride grows until at most so many are.
    """
    steps = _one_run(run, None)
    if most is not None:
        stride = max(stride, -(-steps // most))
    points = range(1, steps + 1, stride)
    for step in points:
        try:
            _one_run(run, step)
        except BaseException as error:
            error.add_note(f"cancelled before task step {step} of {steps}")
            raise
    return SweepReport(points=len(points), steps=steps)


def _one_run(run: Callable[[trio.CancelScope], Awaitable[None]], step: int | None) -> int:
    instrument = _CancelAtStep(step)
    trio.run(
        run,
        instrument.scope,
        clock=MockClock(autojump_threshold=0),
        instruments=[instrument],
    )
    return instrument.seen
