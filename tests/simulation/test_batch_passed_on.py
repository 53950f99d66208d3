"""Rows of a batch that are passed on: embeddings and what else does not stream."""

import json
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import attrs
import pytest

import streamnursery as sn
from streamnursery import batch
from streamnursery.simulator import Cut, Plan, Rule, Status, When
from streamnursery.testing import World
from streamnursery.testing.sim_files import SimFiles

OUT, ERRORS = "/out.jsonl", "/out.errors.jsonl"


def embedding(n: int, **body: Any) -> dict[str, Any]:
    sent = {"model": "sim/text-embedding-3-small", "input": f"Fact {n}", "dimensions": 8, **body}
    return {"custom_id": f"e{n}", "method": "POST", "url": "/v1/embeddings", "body": sent}


def prompt(n: int) -> dict[str, Any]:
    return {"custom_id": f"r{n}", "model": "sim/fast", "prompt": f"Fact {n}", "max_tokens": 3}


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
            return await batch.run(eng, source, out=OUT, files=self.files, **options)

    @property
    def asked(self) -> int:
        return len(self.world.provider.log)


def in_world(
    plan: Plan | None = None,
) -> Callable[[Callable[[Place], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Place], Awaitable[None]]) -> Callable[[], None]:
        @wraps(test)
        def run() -> None:
            async def main(world: World) -> None:
                await test(Place(world, SimFiles(dice=random.Random(1))))

            World(1, plan=plan).run(main)

        del run.__wrapped__  # pytest would ask for its arguments
        return run

    return decorate


@in_world()
async def test_vectors_stand_in_openais_format_beside_answers(place: Place) -> None:
    mixed = [one for n in range(10) for one in (embedding(n), prompt(n))]
    progress = await place.go(mixed, max_in_flight=3)
    assert (progress.answered, progress.failed, progress.in_flight) == (20, 0, 0)
    found = lines(place.files)
    assert set(found) == {row["custom_id"] for row in mixed}
    line = found["e3"]
    assert line["error"] is None
    assert line["response"]["status_code"] == 200
    assert line["response"]["request_id"]
    body = line["response"]["body"]
    assert body["object"] == "list"
    assert len(body["data"][0]["embedding"]) == 8
    assert line["streamnursery"]["attempts"] == 1
    total = sum(one["response"]["body"]["usage"]["prompt_tokens"] for one in found.values())
    assert progress.input_tokens == total


@in_world()
async def test_they_are_not_asked_twice_and_another_body_is_told(place: Place) -> None:
    await place.go([embedding(n) for n in range(4)])
    progress = await place.go([embedding(n) for n in range(6)])
    assert (progress.before, progress.answered, place.asked) == (4, 2, 6)
    with pytest.raises(sn.errors.BatchInputError, match="another request"):
        await place.go([embedding(0, dimensions=9)])


@in_world(
    plan=Plan((Rule((Status(503),), When(requests=(1,))), Rule((Cut(1),), When(requests=(2,)))))
)
async def test_an_attempt_that_fails_is_made_again(place: Place) -> None:
    progress = await place.go([embedding(0)])
    assert (progress.answered, progress.failed, place.asked) == (1, 0, 3)
    assert lines(place.files)["e0"]["streamnursery"]["attempts"] == 3


@in_world()
async def test_one_that_is_refused_stands_among_the_failures(place: Place) -> None:
    progress = await place.go([embedding(0, dimensions=0), embedding(1)])
    assert (progress.answered, progress.failed) == (1, 1)
    line = lines(place.files, ERRORS)["e0"]
    assert line["response"]["status_code"] == 400
    assert "dimensions" in line["response"]["body"]["error"]["message"]
    assert line["streamnursery"]["retryable"] is False


@in_world(plan=Plan.always(Status(401)))
async def test_a_refused_key_ends_the_run(place: Place) -> None:
    progress = await place.go([embedding(n) for n in range(5)], max_in_flight=1)
    assert isinstance(progress.error, sn.AuthError)
    assert (progress.answered, progress.failed, place.asked) == (0, 0, 1)


@in_world()
async def test_equal_ones_are_asked_once_and_a_path_is_part_of_what_is_asked(place: Place) -> None:
    same = [{**embedding(0), "custom_id": f"s{n}"} for n in range(3)]
    progress = await place.go([*same, embedding(1)], dedupe=True)
    assert (progress.answered, place.asked) == (4, 2)


@in_world()
async def test_no_more_are_under_way_than_is_allowed(place: Place) -> None:
    most = 0
    seen: list[batch.BatchProgress] = []

    async def watched() -> Any:
        nonlocal most
        for n in range(12):
            most = max(most, seen[0].in_flight)
            yield embedding(n) if n % 2 else prompt(n)

    await place.go(watched(), max_in_flight=4, started=seen.append)
    assert most == 4


@pytest.mark.parametrize("task", [False, True])
def test_a_full_disk_is_told_once_for_all_that_are_under_way(task: bool) -> None:
    async def asked(row: batch.TaskRow) -> str:
        return (await row.complete("sim/fast", "Hi", max_tokens=2)).text

    @in_world()
    async def check(place: Place) -> None:
        rows = [embedding(n) for n in range(40)]
        place.files.fail_at = 6
        with pytest.raises(sn.errors.BatchFileError, match="No space left") as caught:
            await place.go(rows, task=asked if task else None)
        assert caught.value.__cause__ is not None
        place.files.fail_at = None
        progress = await place.go(rows, task=asked if task else None)
        assert progress.done == 40
        assert len(lines(place.files)) == 40

    check()


async def test_a_task_has_to_name_what_such_a_row_is_asked(tmp_path: Path) -> None:
    async def task(row: batch.TaskRow) -> str:
        return (await row.complete()).text

    async with sn.open_engine() as eng:
        out = tmp_path / "out.jsonl"
        progress = await batch.run(eng, [embedding(0)], out=out, task=task)
    assert progress.failed == 1
    line = json.loads((tmp_path / "out.errors.jsonl").read_text())
    assert "name a model" in line["error"]["message"]
