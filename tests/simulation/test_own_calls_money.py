"""What own calls cost: in budgets, in reports, and on disk."""

from collections import Counter
from functools import partial
from typing import Any, Literal

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

import streamnursery as sn
from streamnursery.records import SpendingReport
from streamnursery.settings import Call
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import scene, virtual

POINTS = {"test": 12, "proof": 60, "soak": None}
NANOS = 1000
"""A token's price, of input and of output."""
PRICED: dict[str, Any] = {"models": {"own": {"price": {"input": "1", "output": "1"}}}}
LIMITS = {"a": 1000, "b": 400}
"""Tokens that each tenant may spend in a day."""
ALL = 1200


def dollars(tokens: int) -> str:
    return str(sn.Money(tokens * NANOS))


def budgeted(**more: Any) -> dict[str, Any]:
    tenants = {name: {"budget": {"daily": dollars(most)}} for name, most in LIMITS.items()}
    return {**PRICED, "tenants": tenants, "budgets": {"daily": dollars(ALL)}, **more}


@attrs.frozen
class Plan:
    """A call: what is expected of it, what it reports, and how it ends."""

    tenant: str
    expected: int
    reported: int | None
    end: Literal["returns", "raises", "is cancelled"]
    seconds: int


plans = st.builds(
    Plan,
    st.sampled_from(["a", "b"]),
    st.integers(0, 300),
    st.none() | st.integers(0, 300),
    st.sampled_from(["returns", "returns", "raises", "is cancelled"]),
    st.integers(0, 3),
)


@attrs.define
class Books:
    """What should be booked, in tokens by tenant."""

    spent: Counter[str] = attrs.field(factory=Counter)
    held: Counter[str] = attrs.field(factory=Counter)
    uncertain: Counter[str] = attrs.field(factory=Counter)

    def room(self, tenant: str, tokens: int) -> bool:
        total = self.spent + self.held + self.uncertain
        return total[tenant] + tokens <= LIMITS[tenant] and total.total() + tokens <= ALL

    def over(self, one: Plan) -> None:
        self.held[one.tenant] -= one.expected
        if one.reported is not None:
            self.spent[one.tenant] += one.reported
        elif one.end == "returns":
            self.spent[one.tenant] += one.expected
        else:
            self.uncertain[one.tenant] += one.expected

    async def function(self, mine: Plan, scope: trio.CancelScope) -> None:
        self.held[mine.tenant] += mine.expected
        try:
            await trio.sleep(mine.seconds)
            if mine.reported is not None:
                Call.report(output_tokens=mine.reported)
            if mine.end == "raises":
                raise OSError("as planned")
            if mine.end == "is cancelled":
                scope.cancel()
                await trio.lowlevel.checkpoint()
        finally:
            self.over(mine)

    async def one(self, eng: sn.Engine, mine: Plan) -> None:
        fits = self.room(mine.tenant, mine.expected)
        with trio.CancelScope() as scope:
            try:
                run = partial(eng.run, tenant=mine.tenant, output_tokens=mine.expected)
                await run("own", self.function, mine, scope)
            except sn.BudgetExceededError:
                assert not fits
                return
            except OSError:
                pass
        assert fits

    def check(self, report: SpendingReport) -> None:
        for line in report.by("tenant"):
            assert line.spent == self.spent[line.tenant] * NANOS
            assert line.uncertain == self.uncertain[line.tenant] * NANOS
            assert line.output_tokens == self.spent[line.tenant] and line.reserved == 0
        assert {line.endpoint for line in report.lines} <= {"own"}
        assert report.total.spent == self.spent.total() * NANOS


@example([Plan("a", 0, 100, "returns", 0), Plan("b", 100, None, "raises", 0)])
@example([Plan("b", 300, 10, "returns", 1), Plan("b", 300, 10, "returns", 1)])
@given(st.lists(plans, max_size=20))
def test_tenants_spend_what_their_calls_report_and_never_begin_beyond_their_budgets(
    plan: list[Plan],
) -> None:
    books = Books()

    async def main() -> None:
        async with sn.open_engine(budgeted()) as eng:
            async with trio.open_nursery() as nursery:
                for mine in plan:
                    # One after another: who of two is first would be a matter of chance.
                    nursery.start_soon(books.one, eng, mine)
                    await trio.testing.wait_all_tasks_blocked()
            books.check(eng.usage_report())

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert not books.held.total()


@virtual
async def test_a_soft_budget_waits_for_what_a_call_gives_back() -> None:
    budgets = {"daily": dollars(100), "mode": "soft", "soft_wait": 60}
    async with scene(budgets=budgets, **PRICED) as place, trio.open_nursery() as nursery:
        eng = place.engine

        async def first() -> None:
            async with eng.lease("own", output_tokens=90) as lease:
                await trio.sleep(5)
                lease.report(output_tokens=10)

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        async with eng.lease("own", output_tokens=80):
            assert trio.current_time() == 5


@virtual
async def test_each_try_pays_for_itself() -> None:
    tries = 0

    async def flaky() -> None:
        nonlocal tries
        tries += 1
        Call.report(input_tokens=10)
        if tries < 3:
            raise OSError("flaky")

    async with scene(**budgeted()) as place:
        work = [Call("own", flaky, tenant="a", input_tokens=50, retry_on=OSError)]
        (outcome,) = await place.engine.settle(work)
        (line,) = place.engine.usage_report().by("tenant", "model")
        assert outcome.ok and outcome.cost.money == sn.Money(30 * NANOS)
        assert (line.attempts, line.settled, line.spent) == (3, 3, 30 * NANOS)


@virtual
async def test_a_model_without_a_price_is_counted_and_not_refused() -> None:
    async with scene(budgets={"daily": "1"}) as place:
        eng = place.engine
        async with eng.lease("gpu", input_tokens=10) as lease:
            lease.report(input_tokens=7)
        async with eng.lease("gpu"):
            pass
        (line,) = eng.usage_report().lines
        assert (line.model, line.attempts, line.unpriced, line.input_tokens) == ("gpu", 2, 1, 7)


@virtual
async def test_a_refused_call_says_which_budget_and_counts_as_refused() -> None:
    async with scene(**budgeted()) as place:
        eng = place.engine
        with pytest.raises(sn.BudgetExceededError, match="daily budget of tenant 'b'"):
            await eng.run("own", trio.sleep, 0, tenant="b", input_tokens=401)
        outcomes = eng.statistics().admission
        assert outcomes["rejected: budget"] == 1


def test_the_next_engine_knows_what_calls_have_spent() -> None:
    config = budgeted(budgets={"ledger": "/ledger.db"})

    async def main(world: World) -> None:
        async with world.open_engine(config) as eng:
            async with eng.lease("own", tenant="b", input_tokens=100) as lease:
                lease.report(input_tokens=350)
        async with world.open_engine(config) as eng:
            with pytest.raises(sn.BudgetExceededError):
                await eng.run("own", trio.sleep, 0, tenant="b", input_tokens=60)
            await eng.run("own", trio.sleep, 0, tenant="b", input_tokens=50)

    World(seed=0).run(main)


def test_from_asyncio_and_threads_it_is_booked_too() -> None:
    async def body() -> None:
        async with aio_scene(**budgeted()) as (eng, _):
            async with eng.lease("own", tenant="b", input_tokens=100) as lease:
                lease.report(input_tokens=350)
            with pytest.raises(sn.BudgetExceededError):
                async with eng.lease("own", tenant="b", input_tokens=60):
                    pass
            assert (await eng.usage_report()).total.spent == 350 * NANOS

    run(body)
    with sync_scene(**budgeted()) as (eng, _):
        with eng.lease("own", tenant="b", input_tokens=100) as lease:
            lease.report(input_tokens=350)
        with pytest.raises(sn.BudgetExceededError), eng.lease("own", tenant="b", input_tokens=60):
            pass
        assert eng.usage_report().total.spent == 350 * NANOS


def test_calls_of_two_tenants_that_are_cancelled_anywhere_leave_no_money(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        config = budgeted(engine={"max_streams": 1}, budgets={"ledger": "/ledger.db"})

        async def function() -> None:
            await trio.sleep(0.01)
            Call.report(input_tokens=10)

        async with world.open_engine(config) as eng:
            with scope:
                calls = [Call("own", function, tenant=t, input_tokens=100) for t in "abab"]
                assert all(outcome.ok for outcome in await eng.settle(calls))
            await wait_quiescent(eng)
            total = eng.usage_report().total
            assert total.reserved == 0
            assert total.spent + total.uncertain <= 4 * 100 * NANOS

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 8)
