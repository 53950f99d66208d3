"""Own functions beside requests in `settle` and `as_completed`."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import streamnursery as sn
from streamnursery.settings import Call
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import PACED, scene, virtual

if TYPE_CHECKING:
    from streamnursery.scheduler.run.bulk import Work

POINTS = {"test": 12, "proof": 60, "soak": None}
OWN: dict[str, Any] = {
    "models": {
        "m": {"routes": [{"endpoint": "main"}]},
        "own": {
            "max_streams": 2,
            "price": {"input": "1", "output": "2"},
            "retries": {"attempts": 3, "base": 1, "cap": 4},
        },
    }
}


@attrs.define
class Function:
    """Of the caller: takes a second, fails as it is told to."""

    fails: dict[int, int] = attrs.field(factory=dict)
    """How often each call fails, by its argument."""
    tries: dict[int, int] = attrs.field(factory=dict)
    running: int = 0
    most: int = 0

    def begin(self, number: int) -> None:
        self.tries[number] = self.tries.get(number, 0) + 1
        self.running += 1
        self.most = max(self.most, self.running)

    def end(self, number: int) -> int:
        if self.tries[number] <= self.fails.get(number, 0):
            raise OSError("flaky")
        Call.report(input_tokens=1000, output_tokens=500)
        return number * number

    async def __call__(self, number: int) -> int:
        self.begin(number)
        try:
            await trio.sleep(1)
            return self.end(number)
        finally:
            self.running -= 1

    async def without_waiting(self, number: int) -> int:
        self.begin(number)
        self.running -= 1
        return self.end(number)


@given(
    calls=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from("ab")), max_size=6)
)
def test_each_call_is_settled_once_counted_once_and_costs_what_it_reported(
    calls: list[tuple[int, bool, str]],
) -> None:
    function = Function({number: fails for number, (fails, _, _) in enumerate(calls)})

    async def main() -> None:
        async with scene(profile=PACED, **OWN) as place:
            work: list[Work] = [
                Call("own", function, number, tenant=tenant, retry_on=OSError if again else ())
                for number, (_, again, tenant) in enumerate(calls)
            ]
            work.append(sn.ChatRequest("m", "Hi"))
            outcomes = await place.engine.settle(work)
            assert [o.index for o in outcomes] == list(range(len(work)))
            assert [o.request for o in outcomes] == work
            completion = outcomes.pop().completion
            assert completion is not None
            for number, (outcome, (fails, again, _)) in enumerate(
                zip(outcomes, calls, strict=True)
            ):
                ok = fails == 0 or (again and fails < 3)
                assert outcome.ok == ok
                assert function.tries[number] == (min(fails + 1, 3) if again else 1)
                assert (outcome.value, type(outcome.error)) == (
                    (number * number, type(None)) if ok else (None, sn.CallbackError)
                )
                if ok and fails == 0:
                    assert outcome.cost.money == sn.Money.parse("0.002")
                else:
                    assert outcome.cost.money is None
                    assert "Call.report()" in outcome.cost.reason
            statistics = place.engine.statistics().models.get("own")
            if statistics is None:
                assert not calls
                return
            assert statistics.requests == len(calls)
            assert statistics.succeeded == sum(outcome.ok for outcome in outcomes)
            assert statistics.failed == len(calls) - statistics.succeeded
            assert statistics.retries == sum(function.tries.values()) - len(calls)
            assert function.most <= 2

    trio.run(main, clock=MockClock(autojump_threshold=0))


@virtual
async def test_no_slot_is_held_between_two_tries() -> None:
    function = Function({0: 1, 1: 1})
    own = {"own": {"max_streams": 1, "retries": {"base": 1000, "cap": 1000}}}
    async with scene(models=own) as place:
        eng = place.engine
        calls = [Call("own", function, number, retry_on=(OSError,)) for number in range(3)]
        async with eng.as_completed(calls) as outcomes:
            first = await anext(outcomes)
            assert first.index == 2, "it goes while the others wait for their second try"
            assert {o.index async for o in outcomes} == {0, 1}


@virtual
async def test_only_what_the_function_raises_is_tried_again() -> None:
    function = Function()
    async with scene(engine={"max_queued": 0}, **OWN) as place:
        async with place.engine.lease("own"), place.engine.lease("own"):
            [outcome] = await place.engine.settle([Call("own", function, 1, retry_on=Exception)])
    assert isinstance(outcome.error, sn.OverloadedError)
    assert function.tries == {}


@virtual
async def test_what_a_call_waits_for_is_what_it_was_asked_to() -> None:
    class Busy(sn.ServerError):
        """With a date."""

    began: list[float] = []

    async def function() -> None:
        began.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(began) == 1:
            raise Busy("busy", retry_after=30)

    async with scene(**OWN) as place:
        [outcome] = await place.engine.settle([Call("own", function, retry_on=sn.ServerError)])
    assert outcome.ok
    assert began[1] - began[0] >= 30


@virtual
async def test_a_source_of_calls_may_be_async_and_gives_what_is_no_call_an_error() -> None:
    function = Function()

    async def source() -> AsyncIterator[Any]:
        for number in range(2):
            await trio.sleep(1)
            yield Call("own", function, number)
        yield "no call"

    async with scene(**OWN) as place:
        outcomes = await place.engine.settle(source())
        assert [outcome.value for outcome in outcomes] == [0, 1, None]
        assert "ChatRequest values or Calls, not str" in str(outcomes[2].error)
        async with place.engine.merge([Call("own", function, 1)]) as events:  # type: ignore[list-item]
            [(_, event)] = [pair async for pair in events]
        assert "must yield ChatRequest values, not Call" in str(event)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("own", "x"), {}, "needs a model and a function"),
        (("own", print), {"retry_on": ("OSError",)}, "retry_on must be a class"),
        (("own", print), {"retry_on": KeyboardInterrupt}, "retry_on must be a class"),
    ],
)
def test_a_call_that_cannot_be_made_says_why(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(sn.RequestError, match=message):
        Call(*arguments, **options)


@virtual
async def test_a_report_outside_of_a_call_is_refused_and_inside_of_run_counts() -> None:
    with pytest.raises(sn.RequestError, match="that the engine calls"):
        Call.report(input_tokens=1)
    async with scene(**OWN) as place:
        assert await place.engine.run("own", Function(), 3, tenant="a", input_tokens=5) == 9
        assert place.engine.statistics().models["own"].input_tokens == 1000


def test_calls_that_are_cancelled_anywhere_leave_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        function = Function({0: 1, 1: 9})
        async with world.open_engine(world.config(max_streams=2)) as eng:
            with scope:
                calls: list[Work] = [
                    Call("own", function, number, tenant=tenant, retry_on=OSError)
                    for number, tenant in enumerate("abab")
                ]
                calls.append(sn.ChatRequest("gpt-4.1", "Hi", tenant="a"))
                async with eng.as_completed(calls) as outcomes:
                    found = {outcome.index: outcome.ok async for outcome in outcomes}
                assert found == {0: True, 1: False, 2: True, 3: True, 4: True}
            await wait_quiescent(eng)
            assert function.running == 0

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 10)


def test_from_asyncio_calls_run_on_the_callers_loop_and_are_settled_alike() -> None:
    function = Function({0: 1, 1: 5})
    calls: list[Work] = [Call("own", function.without_waiting, n, retry_on=OSError) for n in (0, 1)]

    async def main() -> None:
        async with aio_scene(**OWN) as (eng, _):
            outcomes = await eng.settle([*calls, sn.ChatRequest("m", "Hi")])
            assert [o.ok for o in outcomes] == [True, False, True]
            assert outcomes[0].value == 0
            assert isinstance(outcomes[1].error, sn.CallbackError)
            statistics = (await eng.statistics()).models["own"]
            assert (statistics.requests, statistics.succeeded, statistics.retries) == (2, 1, 3)

    run(main)


def test_from_asyncio_a_block_that_is_left_ends_its_calls() -> None:
    began: list[int] = []
    ended: list[int] = []

    async def function(number: int) -> int:
        began.append(number)
        try:
            if len(began) > 1:
                await asyncio.Event().wait()
            return number
        finally:
            ended.append(number)

    async def main() -> None:
        async with aio_scene(**OWN) as (eng, _):
            calls = [Call("own", function, number) for number in range(4)]
            async with eng.as_completed(calls) as outcomes:
                assert (await anext(outcomes)).value == began[0]
            assert sorted(began) == sorted(ended)
            statistics = (await eng.statistics()).models["own"]
            assert (statistics.active, statistics.queued, statistics.succeeded) == (0, 0, 1)
            assert statistics.failed == 0

    run(main)


def test_from_threads_each_call_has_a_thread_of_its_own() -> None:
    seen: set[int] = set()
    both = threading.Barrier(2)

    def function(number: int) -> int:
        both.wait(timeout=60)
        seen.add(threading.get_ident())
        if number == 2:
            raise OSError("broken")
        Call.report(input_tokens=1000)
        return number * number

    with sync_scene(**OWN) as (eng, _):
        calls: list[Work] = [Call("own", function, number) for number in range(4)]
        outcomes = eng.settle([*calls, sn.ChatRequest("m", "Hi")])
        assert [o.ok for o in outcomes] == [True, True, False, True, True]
        assert [o.value for o in outcomes[:4]] == [0, 1, None, 9]
        assert outcomes[3].cost.money == sn.Money.parse("0.001")
        assert threading.get_ident() not in seen
        assert eng.statistics().models["own"].requests == 4


def test_from_threads_a_block_that_is_left_waits_for_what_runs_and_not_for_what_queues() -> None:
    began, go_on = threading.Event(), threading.Event()
    ran: list[int] = []

    def function(number: int) -> int:
        ran.append(number)
        if len(ran) == 1:
            return number
        began.set()
        go_on.wait(60)
        return number

    with sync_scene(**OWN) as (eng, _):
        eng.set_limits(model="own", max_streams=1)
        with eng.as_completed([Call("own", function, number) for number in range(3)]) as outcomes:
            next(outcomes)
            assert began.wait(60)
            threading.Timer(0.01, go_on.set).start()
        assert len(ran) == 2
        assert eng.statistics().models["own"].active == 0
