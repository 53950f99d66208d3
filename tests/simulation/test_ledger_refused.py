"""A ledger that cannot be written, or is locked by others: what stays behind, and who waits."""

from typing import Any

import pytest
import trio

from streamnursery import Engine, EngineError, StorageError
from streamnursery.storage.ledger_file import BEAT_SECONDS, LOCK_SECONDS, LedgerFile
from streamnursery.testing import World
from tests.simulation.test_ledger_file import TOKEN, accounts_add_up, ask, budgeted, states
from tests.support.ledgers import row


def store_of(engine: Engine) -> LedgerFile:
    store = engine._spending.store
    assert isinstance(store, LedgerFile)
    return store


def left_behind(engine: Engine) -> int:
    store = store_of(engine)
    return len(store._queue) + len(store._batch) + len(store._open) + len(store._writer.doubtful)


@pytest.mark.parametrize("place", ["CONNECT", "BEGIN", "INSERT", "COMMIT"])
def test_a_refused_request_leaves_nothing(place: str) -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            assert await ask(engine) is None
            await trio.sleep(1)
            world.disk.fail("COMMIT")
            assert isinstance(await ask(engine), StorageError)
            world.disk.fail(place, 10_000)
            jobs = []
            for _ in range(3):
                before = world.disk.jobs
                for _ in range(100):
                    assert isinstance(await ask(engine), StorageError)
                assert left_behind(engine) <= 1, "a row whose COMMIT failed is looked for once"
                jobs.append(world.disk.jobs - before)
            assert max(jobs) - min(jobs) <= 5, "the last refusal costs what the first one did"
            world.disk.mend()
            assert await ask(engine) is None
            await trio.sleep(1)
            assert left_behind(engine) == 0
        assert set(states(world)) == {"settled"}
        assert accounts_add_up(world.disk)

    World(1).run(main)


def test_a_reservation_whose_commit_held_and_was_told_to_have_failed_is_released() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            assert await ask(engine) is None
            await trio.sleep(1)
            world.disk.fail("COMMITTED")
            assert isinstance(await ask(engine), StorageError)
        assert set(states(world)) == {"settled", "released"}
        assert accounts_add_up(world.disk)

    World(2).run(main)


def test_the_closing_message_counts_what_was_sent() -> None:
    async def main(world: World) -> None:
        with pytest.raises(StorageError) as raised:
            async with world.open_engine(budgeted(world)) as engine:
                async with engine.stream("m", "Hi", max_tokens=10) as stream:
                    async for _ in stream:
                        break
                    world.disk.fail("UPDATE", 10_000)
                    world.disk.fail("INSERT", 10_000)
                    for _ in range(50):
                        assert isinstance(await ask(engine), StorageError)
        assert "1 attempts that were sent will count as uncertain" in str(raised.value)

    World(3).run(main)


def test_while_another_process_holds_the_lock_requests_are_refused_after_two_seconds() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            assert await ask(engine) is None
            await trio.sleep(1)
            world.disk.locked = True
            began = trio.current_time()
            errors: list[EngineError | None] = []

            async def one(after: float) -> None:
                await trio.sleep(after)
                errors.append(await ask(engine))

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(one, number / 10)
            assert trio.current_time() - began == pytest.approx(LOCK_SECONDS + 1.9, abs=0.1)
            assert {type(error) for error in errors} == {StorageError}
            assert "another process holds its lock" in str(errors[0])
            assert len(world.provider.log) == 1
            assert left_behind(engine) == 0
            world.disk.locked = False
            assert await ask(engine) is None
        assert accounts_add_up(world.disk)

    World(4).run(main)


def test_a_lock_that_is_given_up_in_time_costs_its_wait_and_nothing_else() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(budgeted(world)) as engine:
            world.disk.locked = True
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(is_served, engine)
                await trio.sleep(1.0)
                world.disk.locked = False
        assert states(world)["settled"][0] == 10
        assert accounts_add_up(world.disk)

    async def is_served(engine: Engine) -> None:
        assert await ask(engine) is None

    World(5).run(main)


@pytest.mark.parametrize("interrupted", [True, False])
def test_the_end_of_an_engine_does_not_wait_for_a_foreign_lock(interrupted: bool) -> None:
    async def main(world: World) -> None:
        ended = 0.0
        try:
            async with world.open_engine(budgeted(world)) as engine:
                async with engine.stream("m", "Hi", max_tokens=10) as stream:
                    async for _ in stream:
                        break
                    world.disk.locked = True
                ended = trio.current_time()
                if interrupted:
                    raise KeyboardInterrupt
        except (KeyboardInterrupt, StorageError) as error:
            told = str(error) + "".join(getattr(error, "__notes__", ()))
        assert trio.current_time() - ended <= (0.6 if interrupted else LOCK_SECONDS + 0.1)
        assert "1 attempts that were sent will count as uncertain" in told
        world.disk.locked = False
        world.disk.crash()
        async with world.open_engine(budgeted(world)):
            assert states(world)["uncertain"] == (1, 0, 10 * TOKEN)

    World(6).run(main)


def test_a_cancelled_engine_ends_at_once_while_the_lock_is_held() -> None:
    async def main(world: World) -> None:
        cancelled = 0.0
        with trio.CancelScope() as scope:
            async with world.open_engine(budgeted(world)) as engine:
                async with engine.stream("m", "Hi", max_tokens=10) as stream:
                    async for _ in stream:
                        break
                    world.disk.locked = True
                    cancelled = trio.current_time()
                    scope.cancel()
                    await trio.sleep_forever()
        assert trio.current_time() - cancelled <= 0.5

    World(7).run(main)


def test_a_ledger_whose_lock_is_held_is_not_opened() -> None:
    async def main(world: World) -> None:
        world.disk.locked = True
        began = trio.current_time()
        with pytest.raises(StorageError, match="could not be opened: another process holds"):
            async with world.open_engine(budgeted(world)):
                pass
        assert trio.current_time() - began == pytest.approx(LOCK_SECONDS, abs=0.2)

    World(8).run(main)


def test_an_owner_writes_heartbeats_while_it_has_open_rows_and_only_then() -> None:
    async def main(world: World) -> None:
        def seen() -> Any:
            return world.disk.query("/ledger.db", "SELECT seen FROM owners")[0][0]

        async with world.open_engine(budgeted(world)) as engine:
            assert await ask(engine) is None
            await trio.sleep(1)
            quiet = seen()
            await trio.sleep(10 * BEAT_SECONDS)
            assert seen() == quiet
            await store_of(engine).reserve(row("open", "2026-01-01"))
            await trio.sleep(3 * BEAT_SECONDS)
            first = seen()
            await trio.sleep(2 * BEAT_SECONDS)
            assert seen() > first > quiet

    World(9).run(main)


def test_a_beat_buries_who_has_died_meanwhile() -> None:
    async def main(world: World) -> None:
        config = budgeted(world)
        async with world.open_engine(config) as one, world.open_engine(config) as two:
            await store_of(one).reserve(row("ours", "2026-01-01"))
            await store_of(two).reserve(row("theirs", "2026-01-01"))
            world.disk.crash()
            world.disk._alive.add(store_of(one).owner.rstrip("-"))
            await trio.sleep(2 * BEAT_SECONDS)
            found = world.disk.query("/ledger.db", "SELECT id, state FROM attempts ORDER BY id")
            assert found == [("ours", "sending"), ("theirs", "uncertain")]
        assert accounts_add_up(world.disk)

    World(10).run(main)


def test_a_living_owner_that_was_taken_for_dead_enters_again_and_settles() -> None:
    async def main(world: World) -> None:
        config = budgeted(world)
        async with world.open_engine(config) as engine:
            async with engine.stream("m", "Hi", max_tokens=10) as stream:
                async for _ in stream:
                    break
                world.disk.crash()
                async with world.open_engine(config):
                    assert states(world)["uncertain"][0] == 1
                assert await ask(engine) is None
                owners = world.disk.query("/ledger.db", "SELECT id FROM owners")
                assert owners == [(store_of(engine).owner.rstrip("-"),)]
        assert set(states(world)) == {"settled"}
        assert accounts_add_up(world.disk)

    World(11).run(main)


def test_rows_whose_owner_never_entered_are_buried() -> None:
    async def main(world: World) -> None:
        config = budgeted(world)
        async with world.open_engine(config) as engine:
            async with engine.stream("m", "Hi", max_tokens=10) as stream:
                async for _ in stream:
                    break
                world.disk.query("/ledger.db", "DELETE FROM owners")
                world.disk.crash()
                async with world.open_engine(config):
                    assert "sending" not in states(world)

    World(12).run(main)


@pytest.mark.parametrize(
    "change", ["UPDATE accounts SET spent = 0", "DELETE FROM attempts", "DELETE FROM lines"]
)
def test_a_ledger_that_was_changed_by_hand_is_refused_with_the_remedy(change: str) -> None:
    async def main(world: World) -> None:
        config = budgeted(world)
        async with world.open_engine(config) as engine:
            assert await ask(engine) is None
        world.disk.query("/ledger.db", change)
        with pytest.raises(StorageError, match=r"it is damaged: .*cost --repair"):
            async with world.open_engine(config):
                pass

    World(13).run(main)


def test_old_rows_and_old_doubts_go_when_the_engine_is_opened() -> None:
    async def main(world: World) -> None:
        config = budgeted(world, keep_days=40, uncertain_days=30)
        async with world.open_engine(config) as engine:
            assert await ask(engine) is None
            await store_of(engine).reserve(row("doubt", "1970-01-01"))
        assert states(world)["uncertain"][0] == 1
        world.wall.jump(100 * 86_400)
        async with world.open_engine(config):
            await trio.sleep(1)
            assert world.disk.query("/ledger.db", "SELECT id FROM attempts") == []
            lines = world.disk.query("/ledger.db", "SELECT attempts, settled FROM lines")
            assert sum(count for count, _ in lines) == sum(count for _, count in lines) == 2

    World(14).run(main)
