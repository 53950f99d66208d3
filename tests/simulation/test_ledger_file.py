"""The ledger in a file, on a disk of its own clock: crashes, faults, others at the same file."""

import os
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from streamnursery import BudgetExceededError, Engine, EngineError, StorageError
from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.simulator import Plan, Status
from streamnursery.storage.ledger_file import LedgerFile
from streamnursery.storage.ledger_job import LedgerJob
from streamnursery.testing import World
from streamnursery.testing.sim_disk import SimDisk
from streamnursery.values.money import Money

EXAMPLES = {"test": 12, "proof": 80, "soak": 1000}[os.environ.get("STREAMNURSERY_TIER", "test")]
TOKEN = 1_000_000
PRICE = {"input": "0", "output": "1000"}
QUERY = "SELECT state, count(*), sum(billed), sum(estimate) FROM attempts GROUP BY state"


def budgeted(world: World, *, tokens: int = 1000, **more: Any) -> dict[str, Any]:
    endpoints = {name: {"url": f"http://{name}.test/v1"} for name in world.providers}
    return {
        "endpoints": {"main": {"url": "http://sim.test/v1"}}
        | {name: table for name, table in endpoints.items() if name != "sim"},
        "models": {
            "m": {
                "routes": [{"endpoint": "main", "model": "gpt-4.1"}],
                "price": PRICE,
                "max_streams": 100,
                "retries": {"attempts": 3, "base": 0.1},
            }
        },
        "budgets": {"daily": str(Money(tokens * TOKEN)), "ledger": "/ledger.db", **more},
    }


async def ask(engine: Engine, tokens: int = 10) -> EngineError | None:
    try:
        await engine.complete("m", "Hi", max_tokens=tokens)
    except EngineError as error:
        return error
    return None


def states(world: World) -> dict[str, tuple[int, int, int]]:
    """Rows, nanos billed and nanos estimated, by state."""
    found = world.disk.query("/ledger.db", QUERY)
    return {state: (count, billed, estimate) for state, count, billed, estimate in found}


def accounts_add_up(disk: SimDisk, path: str = "/ledger.db") -> bool:
    """Whether every account is the sum of its rows."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    rows = disk.query(
        path, "SELECT model, tenant, endpoint, day, state, reserved, estimate, billed FROM attempts"
    )
    for model, tenant, endpoint, day, state, reserved, estimate, billed in rows:
        names = {"all": "", "model": model, "tenant": tenant, "endpoint": endpoint}
        for scope, name in names.items():
            for window in (day, day[:7]):
                sums_of = sums.setdefault((scope, name, window), [0, 0, 0])
                sums_of[0] += billed
                sums_of[1] += reserved
                sums_of[2] += estimate if state == "uncertain" else 0
    found = disk.query(path, "SELECT * FROM accounts")
    return {(s, n, w): figures for s, n, w, *figures in found} == sums


def test_every_attempt_is_written_before_it_is_sent_and_when_it_ends() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            async with engine.stream("m", "Hi", max_tokens=10) as stream:
                async for _ in stream:
                    assert states(world)["sending"] == (1, 0, 10 * TOKEN)
                    break
            assert await ask(engine) is None
        assert set(states(world)) == {"settled"}
        assert accounts_add_up(world.disk)

    World(1).run(main)


def test_what_was_spent_is_known_to_the_next_engine() -> None:
    async def main(world: World) -> None:
        config = budgeted(world, tokens=25)
        async with world.open_engine(config) as engine:
            assert await ask(engine) is None
        async with world.open_engine(config) as engine:
            spent = engine.usage_report().budgets[0].spent
            assert await ask(engine, 25) is not None
            assert await ask(engine, 25 - spent // TOKEN) is None

    World(2).run(main)


def test_one_transaction_serves_everybody_who_waits() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            store = engine._spending.store
            assert isinstance(store, LedgerFile)
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask, engine)
            assert store.commits < 60, "a reservation and a settlement each, in groups"
        assert states(world)["settled"][0] == 50

    World(3).run(main)


def test_z4_a_commit_that_fails_admits_nobody_and_the_next_one_opens_the_file_anew() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            for place in ("BEGIN", "INSERT", "COMMIT", "COMMITTED"):
                await trio.sleep(1)  # what the one before had to write is written
                world.disk.fail(place)
                asked = len(world.provider.log)
                error = await ask(engine)
                assert isinstance(error, StorageError)
                assert "/ledger.db could not be written" in str(error)
                assert len(world.provider.log) == asked, "nothing was sent"
                assert await ask(engine) is None
        found = states(world)
        assert found["settled"][0] == 4
        assert set(found) <= {"settled", "released"}
        assert accounts_add_up(world.disk)

    World(4).run(main)


def test_z4_a_file_that_cannot_be_opened_again_admits_nobody_until_it_can() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            world.disk.fail("COMMIT")
            world.disk.fail("CONNECT", 2)
            assert [type(await ask(engine)) for _ in range(3)] == [StorageError] * 3
            assert await ask(engine) is None

    World(5).run(main)


def test_news_that_could_not_be_written_is_written_later() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            async with engine.stream("m", "Hi", max_tokens=10) as stream:
                await stream.completion()
                world.disk.fail("UPDATE", 2)
            assert engine._spending.store.pending == 1
            assert states(world)["sending"][0] == 1
            await trio.sleep(10)
            assert states(world)["settled"][0] == 1
            assert engine._spending.store.pending == 0

    World(6).run(main)


def test_an_engine_that_cannot_write_its_end_says_so_and_the_rows_are_uncertain() -> None:
    async def main(world: World) -> None:
        config = budgeted(world)
        with pytest.raises(StorageError, match="could not be"):
            async with world.open_engine(config) as engine:
                async with engine.stream("m", "Hi", max_tokens=10) as stream:
                    await stream.completion()
                    world.disk.fail("UPDATE", 1000)
        world.disk.mend()
        world.disk.crash()
        async with world.open_engine(config) as engine:
            assert engine.usage_report().budgets[0].uncertain == 10 * TOKEN
        assert states(world)["uncertain"] == (1, 0, 10 * TOKEN)

    World(7).run(main)


def test_rows_of_dead_owners_are_uncertain_and_those_of_living_ones_are_not() -> None:
    async def main(world: World) -> None:
        config = budgeted(world)
        async with world.open_engine(config) as engine:
            async with engine.stream("m", "Hi", max_tokens=10) as stream:
                async for _ in stream:
                    break
                async with world.open_engine(config):
                    assert states(world)["sending"][0] == 1
                world.disk.crash()
                async with world.open_engine(config) as other:
                    assert states(world)["uncertain"] == (1, 0, 10 * TOKEN)
                    assert other.usage_report().budgets[0].uncertain == 10 * TOKEN
            # It was not dead after all: its own news settles the row, once.
            await trio.sleep(1)
        assert "uncertain" not in states(world)
        assert states(world)["settled"][0] == 1
        assert accounts_add_up(world.disk)

    World(8).run(main)


def test_two_engines_on_one_ledger_are_never_admitted_over_the_limit() -> None:
    async def main(world: World) -> None:
        config = budgeted(world, tokens=100)
        errors: list[EngineError | None] = []

        async def crowd(engine: Engine) -> None:
            async def one() -> None:
                errors.append(await ask(engine))

            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(one)

        async with world.open_engine(config) as one, world.open_engine(config) as two:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(crowd, one)
                nursery.start_soon(crowd, two)
        assert 10 <= errors.count(None) == len(world.provider.log) <= 100
        assert {type(error) for error in errors if error} == {BudgetExceededError}
        assert states(world)["settled"][1] <= 100 * TOKEN
        assert accounts_add_up(world.disk)

    World(9).run(main)


def test_money_that_another_engine_gives_back_is_found() -> None:
    async def main(world: World) -> None:
        config = budgeted(world, tokens=20)
        async with world.open_engine(config) as one, world.open_engine(config) as two:
            async with one.stream("m", "Hi", max_tokens=20) as stream:
                async for _ in stream:
                    break
                assert isinstance(await ask(two), BudgetExceededError)
            await trio.sleep(1)
            assert await ask(two) is None

    World(10).run(main)


def test_a_soft_budget_waits_for_money_of_another_engine() -> None:
    async def main(world: World) -> None:
        config = budgeted(world, tokens=20, mode="soft")
        async with world.open_engine(config) as one, world.open_engine(config) as two:
            async with trio.open_nursery() as nursery:
                async with one.stream("m", "Hi", max_tokens=20) as stream:
                    async for _ in stream:
                        break
                    nursery.start_soon(is_served, two)
                    await trio.sleep(0.2)

    async def is_served(engine: Engine) -> None:
        assert await ask(engine) is None

    World(11).run(main)


def test_an_alert_is_told_by_one_of_all_engines() -> None:
    async def main(world: World) -> None:
        config = budgeted(world, tokens=20, alerts=[50])
        told: list[Any] = []
        async with world.open_engine(config, observers=[told.append]) as one:
            assert await ask(one, 18) is None
            await trio.sleep(1)
        async with world.open_engine(config, observers=[told.append]) as two:
            await ask(two, 1)
            await trio.sleep(1)
        alerts = [record for record in told if type(record).__name__ == "BudgetAlert"]
        assert len(alerts) <= 1
        assert len(world.disk.query("/ledger.db", "SELECT key FROM alerts")) == len(alerts)

    World(12).run(main)


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32), noise=st.random_module())
def test_no_fault_of_the_disk_loses_or_doubles_money(seed: int, noise: object) -> None:
    """Whatever fails: no row is billed twice, the accounts add up, the limit holds."""

    async def main(world: World) -> None:
        config = budgeted(world, tokens=120)
        for _ in range(3):
            world.disk.probability = world.dice.choice([0.0, 0.02, 0.1])
            await one_life(world, config)
            if world.dice.random() < 0.5:
                world.disk.crash()
        world.disk.mend()
        world.disk.crash()
        async with world.open_engine(config) as engine:
            report = engine.usage_report()
        assert accounts_add_up(world.disk)
        found = states(world)
        assert "sending" not in found
        assert sum(row[1] for row in found.values()) <= 120 * TOKEN
        served = sum(record.sent_tokens for record in world.provider.log)
        standing = report.budgets[0]
        assert standing.spent + standing.uncertain <= 120 * TOKEN
        assert served * TOKEN <= standing.spent + standing.uncertain

    World(seed).run(main)


async def one_life(world: World, config: dict[str, Any]) -> None:
    try:
        async with world.open_engine(config) as engine:
            async with trio.open_nursery() as nursery:
                for _ in range(world.dice.randint(1, 8)):
                    nursery.start_soon(ask, engine, world.dice.randint(1, 15))
    except StorageError:
        return


def test_a_cancelled_reservation_is_released() -> None:
    async def main(world: World) -> None:
        world.disk.delay = 1.0
        async with world.open_engine(budgeted(world)) as engine:
            for wait in (0.2, 0.5, 0.999, 1.0):
                with trio.move_on_after(wait):
                    await ask(engine)
                await trio.sleep(5)
        found = states(world)
        assert set(found) <= {"released", "settled"}
        assert accounts_add_up(world.disk)

    World(13).run(main)


def test_a_retry_has_a_row_of_its_own() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            await ask(engine)
        assert set(states(world)) == {"released"}
        rows = world.disk.query("/ledger.db", "SELECT request, attempt FROM attempts")
        assert sorted(rows) == [(1, 1), (1, 2), (1, 3)]

    World(14, plan=Plan.always(Status(503))).run(main)


def test_late_news_of_a_row_that_has_ended_changes_nothing() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            assert await ask(engine) is None
            spending = engine._spending
            await trio.sleep(1)
            before = world.disk.query("/ledger.db", "SELECT * FROM attempts")
            ((name,),) = world.disk.query("/ledger.db", "SELECT id FROM attempts")
            store = spending.store
            assert isinstance(store, LedgerFile)
            for news in News:
                store._put(LedgerJob(posting=Posting(name, news, 5), alert="x"))
            await trio.sleep(1)
            assert world.disk.query("/ledger.db", "SELECT * FROM attempts") == before

    World(15).run(main)


def test_a_durable_answer_ends_once_its_cost_is_on_the_disk() -> None:
    async def main(world: World) -> None:
        world.disk.delay = 0.5
        for durable in (True, False):
            async with world.open_engine(budgeted(world, durable=durable)) as engine:
                for _ in range(2):
                    async with engine.stream("m", "Hi", max_tokens=10) as stream:
                        kinds = [type(event).__name__ async for event in stream]
                        assert kinds[-1] == "Finished"
                        assert ("sending" not in states(world)) == durable
                    assert (await stream.completion()).text
                    await trio.sleep(3)
        assert set(states(world)) == {"settled"}
        assert accounts_add_up(world.disk)

    World(16).run(main)


def test_a_durable_answer_whose_cost_cannot_be_written_fails_with_its_text() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world, durable=True)) as engine:
            world.disk.fail("UPDATE", 10_000)
            error = await ask(engine)
            assert isinstance(error, StorageError)
            assert error.partial is not None
            assert error.partial.text
            assert len(world.provider.log) == 1, "it is not asked again"
            world.disk.mend()
            await trio.sleep(60)
        assert set(states(world)) == {"settled"}

    World(17).run(main)
