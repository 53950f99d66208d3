"""A batch by way of the provider's own batches: none is made twice, no paid answer is lost."""

import json
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import attrs
import pytest
import trio

import streamnursery as sn
from streamnursery import batch
from streamnursery.batch import ProviderBatches
from streamnursery.simulator import Cut, Plan, Rule, Status, When
from streamnursery.testing import World
from streamnursery.testing.sim_files import Crashed, SimFiles

OUT, ERRORS = "/out.jsonl", "/out.errors.jsonl"
FEW = ProviderBatches(lines=4)


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"custom_id": f"r{n}", "model": "sim/fast", "prompt": f"Fact {n}", "max_tokens": 3}
        for n in range(count)
    ]


def embedding(n: int) -> dict[str, Any]:
    body = {"model": "sim/text-embedding-3-small", "input": f"Fact {n}", "dimensions": 8}
    return {"custom_id": f"e{n}", "method": "POST", "url": "/v1/embeddings", "body": body}


def lines(files: SimFiles, path: str = OUT) -> dict[str, dict[str, Any]]:
    read = [json.loads(line) for line in files.contents(path).splitlines()]
    assert len({line["custom_id"] for line in read}) == len(read)
    return {line["custom_id"]: line for line in read}


@attrs.define
class Place:
    """A world's engine, and files."""

    world: World
    files: SimFiles

    async def go(self, source: Any, **options: Any) -> batch.BatchProgress:
        async with self.world.open_engine() as eng:
            return await batch.run(
                eng, source, out=OUT, files=self.files, **{"via": FEW, **options}
            )

    def asked(self, path: str) -> int:
        return sum(
            record.path == path and record.method == "POST" for record in self.world.provider.log
        )


def in_world(
    plan: Plan | None = None, seed: int = 1
) -> Callable[[Callable[[Place], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Place], Awaitable[None]]) -> Callable[[], None]:
        @wraps(test)
        def run() -> None:
            async def main(world: World) -> None:
                await test(Place(world, SimFiles(dice=random.Random(seed))))

            World(seed, plan=plan).run(main)

        del run.__wrapped__  # pytest would ask for its arguments
        return run

    return decorate


@in_world()
async def test_rows_come_back_in_openais_format(place: Place) -> None:
    mixed = [*rows(9), embedding(0)]
    progress = await place.go(mixed)
    assert (progress.answered, progress.failed, progress.in_flight) == (10, 0, 0)
    assert progress.complete
    found = lines(place.files)
    assert set(found) == {row["custom_id"] for row in mixed}
    line = found["r3"]
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"]["object"] == "chat.completion"
    assert line["streamnursery"]["batch"].startswith("batch_")
    assert line["streamnursery"]["route"] == "sim/fast"
    assert len(found["e0"]["response"]["body"]["data"][0]["embedding"]) == 8
    assert progress.output_tokens == 27
    assert place.asked("/v1/batches") == 4  # 4, 4 and 1 rows, and the embedding


@in_world()
async def test_the_same_call_again_asks_for_nothing_and_new_rows_for_themselves(
    place: Place,
) -> None:
    await place.go(rows(4))
    progress = await place.go(rows(6))
    assert (progress.before, progress.answered) == (4, 2)
    assert (place.asked("/v1/batches"), place.asked("/v1/chat/completions")) == (2, 6)


@in_world(plan=Plan((Rule((Status(400),), When(model="fast", every=3)),)))
async def test_rows_that_fail_stand_in_their_file_and_are_asked_again(place: Place) -> None:
    first = await place.go(rows(8))
    assert first.failed > 0
    assert first.answered + first.failed == 8
    failed = lines(place.files, ERRORS)
    assert len(failed) == first.failed
    one = next(iter(failed.values()))
    assert one["response"]["status_code"] == 400
    assert one["streamnursery"]["retryable"] is False
    again = await place.go(rows(8))
    assert (again.before, again.answered, again.failed) == (8, 0, 0)
    for _ in range(8):
        again = await place.go(rows(8), retry_errors=True)
    assert (again.done, again.failed, len(lines(place.files))) == (8, 0, 8)


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_any_write_makes_no_batch_twice_and_loses_no_answer(seed: int) -> None:
    source = rows(10)

    def crashing(moment: int) -> bool:
        crashed = False

        @in_world(seed=seed * 1000 + moment)
        async def run(place: Place) -> None:
            nonlocal crashed
            place.files.crash_at = moment
            try:
                await place.go(source)
            except BaseException as error:
                if not _is_crash(error):
                    raise
                crashed = True
                place.files.crash()
            place.files.crash_at = None
            progress = await place.go(source)
            assert progress.complete
            assert set(lines(place.files)) == {row["custom_id"] for row in source}
            assert place.asked("/v1/batches") == 3
            assert place.asked("/v1/chat/completions") == 10
            assert place.files.contents(ERRORS) == b""

        run()
        return crashed

    moment = 1
    while crashing(moment):
        moment += 1
    assert moment > 20


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_crash(one) for one in error.exceptions)
    return isinstance(error, Crashed) or (
        error.__cause__ is not None and _is_crash(error.__cause__)
    )


def test_a_stop_leaves_the_batches_and_the_next_run_fetches_them() -> None:
    @in_world()
    async def check(place: Place) -> None:
        stop = trio.Event()
        began = trio.current_time()

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def soon() -> None:
                await trio.sleep(1)
                stop.set()

            progress = await place.go(rows(4), stop=stop)
        assert progress.stopped
        assert (progress.answered, progress.in_flight) == (0, 4)
        assert trio.current_time() - began < 2
        with pytest.raises(sn.errors.BatchFileError, match=r"1 batches of .* are at the provider"):
            await place.go(rows(4), via=None)
        assert place.asked("/v1/chat/completions") == 0
        progress = await place.go(rows(4))
        assert (progress.answered, place.asked("/v1/batches")) == (4, 1)

    check()


@pytest.mark.parametrize("request_", range(1, 8))
def test_an_answer_that_is_lost_makes_no_batch_twice(request_: int) -> None:
    lost = Cut(100, unit="bytes")  # in the middle of its head, or of its body

    @in_world(plan=Plan((Rule((lost,), When(requests=(request_,))),)))
    async def check(place: Place) -> None:
        progress = await place.go(rows(6))
        while not progress.complete:
            progress = await place.go(rows(6))
        assert progress.done == 6
        assert len(lines(place.files)) == 6
        assert place.asked("/v1/batches") == 2
        assert place.asked("/v1/chat/completions") == 6

    check()


@in_world()
async def test_a_batch_that_is_refused_ends_the_run_and_frees_its_rows(place: Place) -> None:
    body = {"model": "sim/fast", "prompt": "Hi"}
    source = [{"custom_id": "a", "url": "/v1/completions", "body": body}]
    progress = await place.go(source)
    assert progress.error is not None
    assert progress.error.status == 400
    assert progress.done == 0
    progress = await place.go(source, via=None)
    assert (progress.error, progress.failed) == (None, 1)


@in_world()
async def test_an_endpoint_without_such_batches_is_told_before_anything_is_sent(
    place: Place,
) -> None:
    place.world.add_provider("other")
    config = {"endpoints": {"a": {"url": "https://a.test", "dialect": "gemini"}}}
    async with place.world.open_engine(config) as eng:
        source = [{"prompt": "Hi", "model": "a/gem"}]
        progress = await batch.run(eng, source, out=OUT, files=place.files, via="provider")
    assert isinstance(progress.error, sn.ConfigError)
    assert "speaks gemini" in str(progress.error)


@pytest.mark.parametrize(
    "wrong", [{"via": "post"}, {"dedupe": True}, {"tenant": "a"}], ids=lambda one: next(iter(one))
)
def test_options_that_do_not_go_with_it_are_refused(wrong: dict[str, Any]) -> None:
    @in_world()
    async def check(place: Place) -> None:
        with pytest.raises(sn.RequestError):
            await place.go(rows(1), **wrong)
        assert place.files.paths() == []

    check()
