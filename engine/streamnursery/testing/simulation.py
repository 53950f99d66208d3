"""`@simulate`: a test in worlds that Hypothesis makes, which meets each kind of fault early.

Rule 1: where a test draws from `plans()`, every kind of fault comes alone first (`lone_faults`),
        before anything is drawn. Such a plan is small already and is not shrunk.
Rule 2: shrinking takes `SHRINKING` seconds. After that only runs that have failed are run again:
        everything else counts as passed, so that Hypothesis comes to its end at once.
Rule 3: a failure says how to see it again, and shows no frame of this package, of trio or of
        Hypothesis.
"""

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

import attrs
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

from streamnursery.simulator import Plan
from streamnursery.testing.as_code import as_code, imports_of
from streamnursery.testing.lone_faults import LONE, LoneFault, every_position
from streamnursery.testing.world import World
from streamnursery.values.http import HttpVersion

SHRINKING: Final = 10.0
_VERSIONS: tuple[HttpVersion, ...] = ("auto", "h2c")
_EXPLAINS = frozenset({"explain"})
_OURS = ("streamnursery", "trio", "hypothesis", "outcome", "contextlib", "functools")
seeds = st.integers(0, 2**32 - 1)
_plan_strategies: "WeakSet[st.SearchStrategy[Any]]" = WeakSet()

Function = Callable[..., Awaitable[object]]


def mark_plans(strategy: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    """Let `@simulate` know that this strategy makes plans."""
    _plan_strategies.add(strategy)
    return strategy


@attrs.frozen
class _Begin:
    """The first explicit example of every run: it runs nothing and forgets the run before."""


@attrs.define(eq=False)
class _Run:
    """What one call of the test has met so far."""

    function: Function
    name: str
    failed: set[str] = attrs.field(factory=set)
    first_failure: float | None = None
    """On the machine's clock."""

    def begin(self) -> None:
        self.failed.clear()
        self.first_failure = None

    def __call__(
        self, seed: int, http: HttpVersion, drawn: Mapping[str, Any], *, alone: bool
    ) -> None:
        __tracebackhide__ = True
        key = f"{seed} {http} {drawn!r}"
        if self._enough(alone) and key not in self.failed:
            return
        failure: BaseException | None = None
        try:
            self.once(seed, http, drawn)
        except Exception as error:  # noqa: BLE001 - raised below, without the frames in between
            failure = error
        if failure is None:
            return
        if not type(failure).__module__.startswith("hypothesis"):
            self.failed.add(key)
            if self.first_failure is None:
                self.first_failure = monotonic()
        raise failure.with_traceback(_trimmed(failure.__traceback__))

    def _enough(self, alone: bool) -> bool:
        if self.first_failure is None:
            return False
        return alone or monotonic() - self.first_failure > SHRINKING

    def once(self, seed: int, http: HttpVersion, drawn: Mapping[str, Any]) -> None:
        """One world."""
        world = World(seed, http=http)
        world.replay_line = _replay(self.name, seed, http, drawn)
        with _seeded(seed):
            world.run(partial(self.function, **drawn))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The generator behind `random`'s functions, which follows the seed too."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _replay(name: str, seed: int, http: HttpVersion, drawn: Mapping[str, Any]) -> str:
    """Code that runs this world again, where the test is known by its name."""
    given = {"seed": seed, **({} if http == "auto" else {"http": http}), **drawn}
    call = ", ".join(f"{key}={as_code(value)}" for key, value in given.items())
    return "\n".join([*imports_of(drawn.values()), f"{name}.replay({call})"])


def simulate(
    *, each_fault: bool = False, **strategies: st.SearchStrategy[Any]
) -> Callable[[Function], Callable[[], None]]:
    """Run `async def test(world, **drawn)` once per example, each in its own world.

    The seed of the world, and with it the schedule and all dice, is drawn like the arguments, and
    so is the version of HTTP that its first provider is spoken to with. Combine it with `settings`
    as you would `given`; put it below other decorators. Hypothesis's deadline, 200 ms of real
    time, is off: settings of your own should say `deadline=None` as well.

    An argument that is drawn from `plans()` is first each kind of fault alone (60 plans). With
    `each_fault` each kind comes at the first token, in the middle, at the last one and after it;
    without a strategy for `plan`, these plans are all that is run.

    The test has `replay(seed=..., **drawn)`, which runs one world.
    """
    drawing = {"plan": st.builds(Plan), **strategies} if each_fault else strategies
    cases = list(every_position()) if each_fault else list(LONE)
    marked = [name for name, found in drawing.items() if found in _plan_strategies]
    plans = ["plan"] if each_fault else marked
    only_cases = each_fault and "plan" not in strategies

    def decorate(function: Function) -> Callable[[], None]:
        run = _Run(function, getattr(function, "__name__", "test"))

        def test(seed: int, http: HttpVersion, drawn: Mapping[str, Any] | _Begin) -> None:
            __tracebackhide__ = True
            if isinstance(drawn, _Begin):
                run.begin()
            else:
                run(seed, http, drawn, alone=isinstance(drawn, _Alone))

        strategy = st.fixed_dictionaries(drawing)
        made = given(seed=seeds, http=st.sampled_from(_VERSIONS), drawn=strategy)(test)
        for case in reversed(_alone(drawing, plans, cases) if plans else []):
            made = example(seed=0, http=case[0].http, drawn=case[1])(made)
        made = example(seed=0, http="auto", drawn=_Begin())(made)
        _settle(made, only_cases=only_cases)
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(made, name, getattr(function, name))
        made.replay = partial(_replayed, run)  # type: ignore[attr-defined]
        return made

    return decorate


class _Alone(dict[str, Any]):
    """Arguments of an explicit example."""


def _alone(
    drawing: Mapping[str, st.SearchStrategy[Any]], plans: list[str], cases: list[LoneFault]
) -> list[tuple[LoneFault, _Alone]]:
    """The explicit examples: every other argument is the simplest that there is."""
    others = {name: strategy for name, strategy in drawing.items() if name not in plans}
    once = settings(max_examples=1, database=None, phases=[Phase.generate], deadline=None)
    simple = find(st.fixed_dictionaries(others), lambda _: True, settings=once) if others else {}
    return [(case, _Alone({**simple, **dict.fromkeys(plans, case.plan)})) for case in cases]


def _settle(test: Callable[[], None], *, only_cases: bool) -> None:
    """What `settings` leaves behind, without the mark that forbids other settings above it."""
    default = settings.default
    assert default is not None
    phases = [phase for phase in default.phases if phase.name not in _EXPLAINS]
    if only_cases:
        phases = [Phase.explicit]
    own = settings(deadline=None, report_multiple_bugs=False, phases=phases)
    test._hypothesis_internal_use_settings = own  # type: ignore[attr-defined]


def _replayed(run: _Run, *, seed: int = 0, http: HttpVersion = "auto", **drawn: Any) -> None:
    run.once(seed, http, drawn)


def _trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """The frames of the program under test; the last one where there are none."""
    frames: list[TracebackType] = []
    last = traceback
    while traceback is not None:
        last = traceback
        if not _is_ours(str(traceback.tb_frame.f_globals.get("__name__", ""))):
            frames.append(traceback)
        traceback = traceback.tb_next
    kept: TracebackType | None = None
    for one in reversed(frames or ([last] if last is not None else [])):
        kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _OURS
