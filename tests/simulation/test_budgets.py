"""Budgets of a whole engine: held at entry, reserved before sending, settled at the end."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from streamnursery import (
    BudgetExceededError,
    Engine,
    EngineError,
    Rerouted,
    ServerError,
    open_engine,
)
from streamnursery.records import AttemptState, LifecycleRecord
from streamnursery.simulator import (
    Cut,
    Plan,
    Profile,
    Provider,
    Reset,
    SimNetwork,
    Status,
    UsageLie,
)
from streamnursery.testing import assert_quiescent
from streamnursery.testing.money import money_problems
from streamnursery.testing.sites import Wall
from streamnursery.values.lifecycle import BudgetAlert
from streamnursery.values.money import Money
from tests.support.scene import once, virtual

TEN = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=10, output_tokens=(10, 10))
LONG = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=100, output_tokens=(3000, 3000))
PRICE = {"input": "0", "output": "1000"}
"""A token of output is a tenth of a cent: 1,000,000 nanos."""
TOKEN = 1_000_000


class Shop:
    """An engine with a priced model "m" at "main", and what it told."""

    def __init__(self, engine: Engine, provider: Provider, wall: Wall, told: list[Any]) -> None:
        self.engine = engine
        self.provider = provider
        self.wall = wall
        self.told = told

    @property
    def alerts(self) -> list[tuple[int, str]]:
        found = [record for record in self.told if isinstance(record, BudgetAlert)]
        return [(record.percent, record.standing.window) for record in found]

    @property
    def spent(self) -> int:
        """In tokens."""
        return self.engine.usage_report().total.spent // TOKEN

    async def outcome(self, **fields: Any) -> EngineError | None:
        fields = {"max_tokens": 10, **fields}
        try:
            await self.engine.complete("m", "Hi", **fields)
        except EngineError as error:
            return error
        return None


@asynccontextmanager
async def shop(
    plan: Plan | None = None,
    *,
    profile: Profile = TEN,
    model: dict[str, Any] | None = None,
    models: dict[str, Any] | None = None,
    **budgets: Any,
) -> AsyncIterator[Shop]:
    served = {"m": profile, "cheap": profile}
    provider = Provider(dice=random.Random(0), models=served, plan=plan or Plan())
    wall, told = Wall(), list[LifecycleRecord]()
    config = {
        "engine": {"max_streams": 2000, "max_queued": 2000},
        "endpoints": {"main": {"url": "http://main.example.com/v1"}},
        "models": {
            "m": {
                "routes": [{"endpoint": "main"}],
                "max_streams": 2000,
                "price": PRICE,
                **(model or {}),
            },
            **(models or {}),
        },
        "budgets": budgets,
    }
    async with trio.open_nursery() as nursery:
        network = SimNetwork(nursery, {"main.example.com": provider})
        async with open_engine(
            config, seed=1, network=network, wall=wall, observers=[told.append]
        ) as engine:
            yield Shop(engine, provider, wall, told)
            assert_quiescent(engine)
            assert money_problems(engine) == []
        nursery.cancel_scope.cancel()


def dollars(tokens: int) -> str:
    """What so many tokens of output cost, as the configuration writes it."""
    return str(Money(tokens * TOKEN))


@virtual
async def test_g1_of_a_thousand_requests_with_money_for_ten_exactly_ten_are_admitted() -> None:
    async with shop(daily=dollars(100)) as place:
        errors: list[EngineError | None] = []

        async def ask() -> None:
            errors.append(await place.outcome())
            if errors[-1] is not None:
                assert trio.current_time() == 0.0, "refused at once, before any queue"

        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(ask)
        assert len(place.provider.log) == 10
        assert errors.count(None) == 10
        refused = [error for error in errors if error is not None]
        assert {type(error) for error in refused} == {BudgetExceededError}
        assert place.spent == 100
        assert not refused[0].attempts


@virtual
async def test_a_refusal_names_the_window_and_carries_its_standing() -> None:
    async with shop(daily=dollars(15)) as place:
        assert await place.outcome() is None
        error = await place.outcome()
        assert isinstance(error, BudgetExceededError)
        assert "the daily budget of 0.015 USD" in str(error)
        assert "reset at" in str(error)
        standing = error.standing
        assert standing is not None
        assert (standing.limit, standing.spent, standing.reserved) == (15 * TOKEN, 10 * TOKEN, 0)
        assert standing.resets_at > place.wall()


@virtual
async def test_what_is_not_used_of_a_reservation_comes_back() -> None:
    async with shop(daily=dollars(25)) as place:
        assert await place.outcome(max_tokens=20) is None
        assert place.spent == 10
        assert await place.outcome(max_tokens=15) is None
        assert place.spent == 20
        assert isinstance(await place.outcome(), BudgetExceededError)


@virtual
async def test_g2_each_attempt_of_a_request_has_a_row_of_its_own() -> None:
    retries = {"attempts": 3}
    async with shop(once(Status(503)), model={"retries": retries}, daily=dollars(100)) as place:
        assert await place.outcome() is None
        total = place.engine.usage_report().total
        assert (total.attempts, total.settled, total.spent) == (2, 1, 10 * TOKEN)


@virtual
async def test_g2_a_lost_attempt_keeps_its_estimate_and_the_retry_pays_anew() -> None:
    async with shop(
        once(Reset(0)), model={"retries": {"attempts": 3}}, daily=dollars(100)
    ) as place:
        assert await place.outcome() is None
        total = place.engine.usage_report().total
        assert (total.attempts, total.uncertain, total.spent) == (2, 10 * TOKEN, 10 * TOKEN)


@virtual
async def test_g2_no_money_for_a_retry_ends_the_request_with_its_attempts() -> None:
    async with shop(once(Cut(0)), model={"retries": {"attempts": 3}}, daily=dollars(15)) as place:
        error = await place.outcome()
        assert isinstance(error, BudgetExceededError)
        assert [attempt.state for attempt in error.attempts] == [AttemptState.MAYBE_SENT]


@virtual
async def test_a_cut_stream_costs_what_was_received() -> None:
    async with shop(once(Cut(4)), daily=dollars(100)) as place:
        error = await place.outcome()
        assert error is not None and error.committed
        total = place.engine.usage_report().total
        assert (total.spent, total.uncertain, total.estimated) == (4 * TOKEN, 0, 1)


@virtual
async def test_a_stream_that_is_left_costs_what_was_received() -> None:
    async with shop(daily=dollars(100)) as place:
        async with place.engine.stream("m", "Hi", max_tokens=10) as stream:
            async for _ in stream:
                break
        total = place.engine.usage_report().total
        assert (total.reserved, total.estimated) == (0, 1)
        assert TOKEN <= total.spent <= 2 * TOKEN


@virtual
async def test_g3_a_stream_that_outgrows_its_reservation_extends_it() -> None:
    async with shop(profile=LONG, daily=dollars(10_000)) as place:
        assert await place.outcome(max_tokens=None) is None
        assert place.spent == 3000
        assert place.engine.usage_report().total.overrun == 0


@virtual
async def test_an_answer_that_keeps_to_its_max_tokens_reserves_no_more_than_them() -> None:
    async with shop(profile=LONG, daily=dollars(10_000)) as place:
        async with place.engine.stream("m", "Hi", max_tokens=500) as stream:
            async for _ in stream:
                assert place.engine.usage_report().total.reserved <= 500 * TOKEN


@virtual
async def test_g3_without_money_for_more_it_stops_at_the_cap_with_the_partial() -> None:
    async with shop(profile=LONG, daily=dollars(2500)) as place:
        error = await place.outcome(max_tokens=None)
        assert isinstance(error, BudgetExceededError)
        assert error.partial is not None and len(error.partial.text) > 1000
        assert error.committed
        assert error.attempts[-1].state is AttemptState.COMMITTED
        assert 2300 <= place.spent <= 2500
        assert len(place.provider.log) == 1, "and it is not tried again"


@pytest.mark.parametrize(
    "made",
    [-5, 10**12, 0, "many", True, 1.5],
    ids=["negative", "huge", "zero", "text", "bool", "half"],
)
def test_t21_a_lie_in_the_usage_is_flagged_and_our_own_count_is_paid(made: object) -> None:
    lie = UsageLie({"prompt_tokens": 7, "completion_tokens": made})

    @virtual
    async def run() -> None:
        async with shop(once(lie), profile=Profile(output_tokens=(40, 40)), daily="1") as place:
            assert await place.outcome(max_tokens=40) is None
            total = place.engine.usage_report().total
            assert (total.rejected, total.estimated, total.overrun) == (1, 1, 0)
            assert total.spent == 40 * TOKEN

    run()


@virtual
async def test_g4_the_next_day_has_a_budget_of_its_own() -> None:
    async with shop(daily=dollars(10)) as place:
        assert await place.outcome() is None
        assert isinstance(await place.outcome(), BudgetExceededError)
        place.wall.jump(86_400)
        assert await place.outcome() is None
        place.wall.jump(-86_400)
        assert isinstance(await place.outcome(), BudgetExceededError)
        place.wall.jump(86_400)
        assert isinstance(await place.outcome(), BudgetExceededError)


@virtual
async def test_alerts_come_once_at_each_threshold_of_a_window() -> None:
    async with shop(daily=dollars(40)) as place:
        first = place.engine.usage_report().budgets[0].window
        for _ in range(4):
            assert await place.outcome() is None
        assert [percent for percent, _ in place.alerts] == [50, 80, 100]
        assert {window for _, window in place.alerts} == {first}
        place.wall.jump(86_400)
        for _ in range(2):
            assert await place.outcome() is None
        assert [percent for percent, _ in place.alerts] == [50, 80, 100, 50]


@virtual
async def test_the_first_refusal_of_a_window_is_an_alert() -> None:
    async with shop(daily=dollars(25), alerts=[100]) as place:
        for _ in range(2):
            assert await place.outcome() is None
        assert place.alerts == []
        for _ in range(3):
            assert isinstance(await place.outcome(), BudgetExceededError)
        first = place.engine.usage_report().budgets[0].window
        assert place.alerts == [(100, first)]
        (alert,) = [record for record in place.told if isinstance(record, BudgetAlert)]
        assert (alert.refused, alert.model, alert.request) == (True, "m", 3)
        assert alert.standing.spent == 20 * TOKEN
        place.wall.jump(86_400)
        assert isinstance(await place.outcome(max_tokens=26), BudgetExceededError)
        assert len(place.alerts) == 2


@virtual
async def test_who_wants_no_alerts_gets_none() -> None:
    async with shop(daily=dollars(5), alerts=[]) as place:
        assert isinstance(await place.outcome(), BudgetExceededError)
        assert place.alerts == []


@virtual
async def test_a_model_without_a_price_is_refused_under_a_budget() -> None:
    async with shop(models={"cheap": {"routes": [{"endpoint": "main"}]}}, daily="1") as place:
        with pytest.raises(BudgetExceededError, match="has no price"):
            await place.engine.complete("cheap", "Hi")
        assert not place.provider.log


@virtual
async def test_a_model_without_a_price_is_free_by_setting_and_flagged() -> None:
    async with shop(
        models={"cheap": {"routes": [{"endpoint": "main"}]}}, daily="1", unknown_price="zero"
    ) as place:
        await place.engine.complete("cheap", "Hi", max_tokens=5)
        total = place.engine.usage_report().total
        assert (total.unpriced, total.spent, total.settled) == (1, 0, 1)


@virtual
async def test_without_a_budget_a_model_without_a_price_just_runs() -> None:
    async with shop(models={"cheap": {"routes": [{"endpoint": "main"}]}}) as place:
        await place.engine.complete("cheap", "Hi", max_tokens=5)
        assert place.engine.usage_report().total.unpriced == 1


@virtual
async def test_a_soft_budget_waits_for_money_that_comes_back() -> None:
    async with shop(daily=dollars(30), mode="soft") as place:
        ended: list[float] = []

        async def ask() -> None:
            assert await place.outcome(max_tokens=20) is None
            ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert ended[1] >= ended[0] + 1.0
        assert place.spent == 20


@virtual
async def test_a_soft_budget_refuses_when_its_patience_is_over() -> None:
    async with shop(daily=dollars(30), mode="soft", soft_wait=1.5) as place:

        async def late() -> None:
            error = await place.outcome(max_tokens=30)
            assert isinstance(error, BudgetExceededError)
            assert trio.current_time() == pytest.approx(1.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.outcome)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(late)


@virtual
async def test_a_soft_budget_that_is_spent_refuses_at_once() -> None:
    async with shop(daily=dollars(10), mode="soft") as place:
        assert await place.outcome() is None
        before = trio.current_time()
        assert isinstance(await place.outcome(), BudgetExceededError)
        assert trio.current_time() == before


@virtual
async def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    async with shop(daily=dollars(20), mode="soft") as place:
        done: list[int] = []

        async def ask(number: int) -> None:
            if await place.outcome(max_tokens=20) is None:
                done.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 0)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.5):
                await ask(1)
            assert done == []
        assert done == [0]


@virtual
async def test_an_error_of_the_provider_is_the_callers_and_costs_nothing() -> None:
    async with shop(
        Plan.always(Status(500)), model={"retries": {"attempts": 1}}, daily=dollars(100)
    ) as place:
        assert isinstance(await place.outcome(), ServerError)
        total = place.engine.usage_report().total
        assert (total.attempts, total.spent, total.uncertain) == (1, 0, 0)


@virtual
async def test_a_soft_budget_that_is_nearly_spent_goes_to_the_cheaper_model_and_says_so() -> None:
    cheap = {"routes": [{"endpoint": "main"}], "price": {"input": "0", "output": "100"}}
    async with shop(
        model={"fallback": ["cheap"]}, models={"cheap": cheap}, daily=dollars(100), mode="soft"
    ) as place:
        for _ in range(8):
            assert await place.outcome() is None
        assert {record.model for record in place.provider.log} == {"m"}
        async with place.engine.stream("m", "Hi", max_tokens=10) as stream:
            events = [event async for event in stream]
        assert events[0] == Rerouted("main/m", "main/cheap", "budget")
        assert place.provider.log[-1].model == "cheap"
        assert place.spent == 81


@virtual
async def test_a_hard_budget_goes_nowhere_else() -> None:
    cheap = {"routes": [{"endpoint": "main"}], "price": {"input": "0", "output": "100"}}
    async with shop(
        model={"fallback": ["cheap"]}, models={"cheap": cheap}, daily=dollars(10)
    ) as place:
        assert await place.outcome() is None
        assert isinstance(await place.outcome(), BudgetExceededError)
        assert len(place.provider.log) == 1


@virtual
async def test_the_budget_of_a_tenant_binds_that_tenant_alone() -> None:
    async with shop(tenants={"acme": {"daily": dollars(15)}}) as place:
        assert await place.outcome(tenant="acme") is None
        error = await place.outcome(tenant="acme")
        assert isinstance(error, BudgetExceededError)
        assert error.standing is not None
        assert (error.standing.scope, error.standing.name) == ("tenant", "acme")
        assert await place.outcome(tenant="other") is None
        assert await place.outcome() is None
        by_tenant = {line.tenant: line.spent for line in place.engine.usage_report().by("tenant")}
        assert by_tenant == {"": 10 * TOKEN, "acme": 10 * TOKEN, "other": 10 * TOKEN}
