"""The engine chooses the model: TaskProfile, "auto", balanced routes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from streamnursery import CallbackError, ChatRequest, ConfigError, RequestError, TaskProfile
from streamnursery.plugins import Candidate, Needs
from streamnursery.records import LifecycleRecord, ModelChosen
from streamnursery.simulator import Delay, Plan, Status
from streamnursery.testing import World
from streamnursery.values.models import KNOWN


def models(**more: dict[str, Any]) -> dict[str, Any]:
    return {
        "endpoints": {"main": {"url": "http://sim.test/v1"}},
        "models": {
            name: {"routes": [{"endpoint": "main"}], **more.get(name, {})} for name in KNOWN
        },
    }


def test_a_task_goes_to_the_model_that_the_rules_choose_and_says_so() -> None:
    async def main(world: World) -> None:
        told: list[LifecycleRecord] = []
        async with world.open_engine(models(), observers=[told.append]) as engine:
            for task in (
                TaskProfile("Hi", complexity=9, max_tokens=3),
                TaskProfile("Hi", complexity=3, budget="low", max_tokens=3),
                TaskProfile("Hi", max_latency=0.2, max_tokens=3),
            ):
                await engine.complete(task)
            await engine.complete("auto", "Hi", max_tokens=3)
        assert [record.model for record in world.provider.log] == [
            "claude-sonnet-4.5",
            "deepseek-v3.2",
            "gemini-2.5-flash",
            "gemini-2.5-flash",
        ]
        chosen = [record for record in told if isinstance(record, ModelChosen)]
        assert [record.model for record in chosen] == [r.model for r in world.provider.log]
        assert chosen[0].rule.startswith("the strongest")

    World(1).run(main)


def test_a_decision_can_be_had_without_sending_anything() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(models()) as engine:
            decision = engine.choose(TaskProfile("Hi", complexity=8), max_tokens=5)
            assert decision.model == "claude-sonnet-4.5"
            assert set(decision.order) == set(KNOWN)
        assert not world.provider.log

    World(2).run(main)


def test_a_long_task_goes_where_it_has_room() -> None:
    async def main(world: World) -> None:
        small = {name: {"context": 50} for name in KNOWN if name != "deepseek-v3.2"}
        async with world.open_engine(models(**small)) as engine:
            decision = engine.choose(TaskProfile("word " * 200, complexity=10))
            assert decision.model == "deepseek-v3.2"
            with pytest.raises(RequestError, match="no model can do this"):
                engine.choose(TaskProfile("word " * 900_000))

    World(3).run(main)


def test_a_model_whose_routes_are_down_is_not_chosen() -> None:
    async def main(world: World) -> None:
        config = models(**{"claude-sonnet-4.5": {"routes": [{"endpoint": "bad"}]}})
        config["endpoints"]["bad"] = {"url": "http://bad.test/v1"}
        config["defaults"] = {"retries": {"attempts": 1}}
        async with world.open_engine(config) as engine:
            task = TaskProfile("Hi", complexity=9, max_tokens=3)
            request = ChatRequest("claude-sonnet-4.5", [{"role": "user", "content": "Hi"}])
            asked = 0
            while engine.choose(task).model == "claude-sonnet-4.5":
                await engine.settle([request])
                asked += 1
                assert asked < 50
            assert engine.choose(task).left_out["claude-sonnet-4.5"] == "all of its routes are down"

    world = World(4)
    world.add_provider("bad", plan=Plan.always(Status(500)))
    world.run(main)


def test_a_model_that_no_budget_has_room_for_is_not_chosen() -> None:
    async def main(world: World) -> None:
        config = models() | {"budgets": {"models": {"claude-sonnet-4.5": {"daily": "0"}}}}
        async with world.open_engine(config) as engine:
            decision = engine.choose(TaskProfile("Hi", complexity=9, max_tokens=3))
            assert decision.model == "gpt-4.1"
            assert decision.left_out["claude-sonnet-4.5"] == "no budget has room for it"

    World(5).run(main)


def test_measured_times_take_the_place_of_configured_ones() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(models()) as engine:
            task = TaskProfile("Hi", max_latency=0.2, max_tokens=3)
            assert engine.choose(task).model == "gemini-2.5-flash"
            for _ in range(20):
                await engine.complete("gemini-2.5-flash", "Hi", max_tokens=3)
            decision = engine.choose(task)
            assert decision.model == "deepseek-v3.2"
            assert any("(measured)" in reason for reason in decision.reasons)

    World(6, plan=Plan.always(Delay(first_token=4))).run(main)


def test_a_policy_of_ones_own_and_its_failure() -> None:
    async def main(world: World) -> None:
        def mine(needs: Needs, candidates: Sequence[Candidate]) -> tuple[str, str]:
            if needs.complexity > 5:
                raise ZeroDivisionError
            return "gpt-4.1", "as ever"

        async with world.open_engine(models(), router=mine) as engine:
            assert engine.choose(TaskProfile("Hi", complexity=1)).rule == "as ever"
            with pytest.raises(CallbackError, match="ZeroDivisionError"):
                engine.choose(TaskProfile("Hi", complexity=9))

    World(7).run(main)


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (TaskProfile("Hi", complexity=11), "complexity must be"),
        (TaskProfile("Hi", max_latency=0), "max_latency must be"),
        (TaskProfile("Hi", budget="some"), "budget must be"),  # type: ignore[arg-type]
        (TaskProfile("Hi", strategy="dearest"), "strategy must be"),
        (TaskProfile("Hi", fields={"model": "m"}), "names no model"),
        (TaskProfile("Hi", fields={"seeed": 1}), "unknown request field"),
    ],
)
def test_a_mistake_in_a_task_is_told(task: TaskProfile, what: str) -> None:
    async def main(world: World) -> None:
        async with world.open_engine(models()) as engine:
            with pytest.raises(RequestError, match=what):
                engine.choose(task)

    World(8).run(main)


def test_without_configured_models_there_is_no_choice() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as engine:
            with pytest.raises(ConfigError, match="there is none"):
                await engine.complete("auto", "Hi")

    World(9).run(main)


@pytest.mark.parametrize("balanced_from_the_start", [True, False])
def test_balanced_routes_share_the_load_and_leave_the_slow_one(
    *, balanced_from_the_start: bool
) -> None:
    async def main(world: World) -> None:
        names = ("one", "two", "slow")
        config = {
            "endpoints": {name: {"url": f"http://{name}.test/v1"} for name in names},
            "models": {
                "gpt-4.1": {"routes": [{"endpoint": n} for n in names], "balance": "p2c"},
            },
        }
        others: dict[str, Any] = {} if balanced_from_the_start else {"models": {}}
        async with world.open_engine({**config, **others}) as engine:
            engine.reload(config)
            for _ in range(60):
                await engine.complete("gpt-4.1", "Hi", max_tokens=2)
        asked = Counter({name: len(world.providers[name].log) for name in names})
        assert asked.total() == 60
        assert asked["slow"] < 10 < min(asked["one"], asked["two"])

    world = World(10)
    for name in ("one", "two"):
        world.add_provider(name)
    world.add_provider("slow", plan=Plan.always(Delay(first_token=5)))
    world.run(main)
