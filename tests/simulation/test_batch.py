"""A batch in the world: every row is answered once, whatever crashes, fails or is cancelled."""

import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import streamnursery as sn
from streamnursery import batch
from streamnursery.batch.journal import GROUP
from streamnursery.batch.output import id_hash
from streamnursery.simulator import Cut, Plan, Rule, Status, When
from streamnursery.testing import World
from streamnursery.testing.sim_files import Crashed, SimFiles

TIER = os.environ.get("STREAMNURSERY_TIER", "test")
EXAMPLES = {"test": 10, "proof": 40, "soak": 2000}[TIER]
STEP = {"test": 6, "proof": 2, "soak": 1}[TIER]
MANY = {"test": 60, "proof": 120, "soak": 200}[TIER]
OUT, ERRORS = "/out.jsonl", "/out.errors.jsonl"
CONFIG = {"models": {"m": {"routes": [{"endpoint": "sim", "model": "fast"}]}}}


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"custom_id": f"r{n}", "model": "sim/fast", "prompt": f"Fact {n}", "max_tokens": 3, **more}
        for n in range(count)
    ]


def paced(count: int) -> list[dict[str, Any]]:
    """Rows whose answers take their time."""
    return rows(count, model="sim/gpt-4.1")


def lines(files: SimFiles, path: str = OUT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files.contents(path).splitlines()]


def ids(files: SimFiles, path: str = OUT) -> list[str]:
    return [line["custom_id"] for line in lines(files, path)]


@attrs.define
class Place:
    """A world's engine with files that crash."""

    world: World
    files: SimFiles

    async def go(self, source: Any, **options: Any) -> batch.BatchProgress:
        async with self.world.open_engine() as eng:
            return await batch.run(eng, source, out=OUT, files=self.files, **options)

    @property
    def asked(self) -> int:
        return len(self.world.provider.log)


def in_world(
    seed: int = 1, plan: Plan | None = None
) -> Callable[[Callable[[Place], Awaitable[None]]], Callable[[], None]]:
    """Run a test with a `Place` in a world of its own."""

    def decorate(test: Callable[[Place], Awaitable[None]]) -> Callable[[], None]:
        @wraps(test)
        def run() -> None:
            async def main(world: World) -> None:
                files = SimFiles(dice=random.Random(seed))
                await test(Place(world, files))

            World(seed, plan=plan).run(main)

        del run.__wrapped__  # pytest would ask for its arguments
        return run

    return decorate


@in_world()
async def test_every_row_has_an_answer_in_openais_format(place: Place) -> None:
    progress = await place.go(rows(20))
    assert (progress.answered, progress.failed, progress.complete) == (20, 0, True)
    assert sorted(ids(place.files)) == sorted(row["custom_id"] for row in rows(20))
    line = lines(place.files)[0]
    assert line["error"] is None
    assert line["response"]["status_code"] == 200
    body = line["response"]["body"]
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["message"]["content"]
    assert body["usage"]["completion_tokens"] == 3
    assert line["streamnursery"]["digest"]


@in_world()
async def test_the_same_call_again_asks_for_nothing(place: Place) -> None:
    await place.go(rows(10))
    asked = place.asked
    progress = await place.go(rows(10))
    assert (progress.before, progress.answered, place.asked) == (10, 0, asked)
    await place.go(rows(12))
    assert place.asked == asked + 2


@in_world(
    plan=Plan((
        Rule((Cut(1),), When(requests=(3, 4, 5, 6))),
        Rule((Status(400),), When(requests=(1,))),
    ))
)
async def test_failures_stand_beside_the_answers_with_their_partials(place: Place) -> None:
    source = [dict(row, on_interrupt="fail") for row in rows(6)]
    progress = await place.go(source, max_in_flight=1)
    assert progress.answered + progress.failed == 6
    assert progress.failed >= 2
    assert len(set(ids(place.files)) | set(ids(place.files, ERRORS))) == 6
    refused = next(line for line in lines(place.files, ERRORS) if line["response"])
    assert refused["response"]["status_code"] == 400
    cut = next(line for line in lines(place.files, ERRORS) if not line["response"])
    assert cut["error"]["code"]
    assert cut["streamnursery"]["partial"][0]["content"]
    again = await place.go(source)
    assert again.answered == again.failed == 0, "what has failed is not asked again by itself"
    mended = await place.go(source, retry_errors=True)
    assert mended.answered == progress.failed
    assert ids(place.files, ERRORS) == []
    assert len(ids(place.files)) == 6


async def until_it_crashes(place: Place, source: Any, moment: int, **options: Any) -> int:
    """Rows that were shown as done by then."""
    shown = [batch.BatchProgress()]
    place.files.crash_at = moment
    try:
        await place.go(source, started=shown.append, **options)
    except BaseException as error:
        if not _is_crash(error):
            raise
    return shown[-1].done


def whole_ids(files: SimFiles) -> set[str]:
    """Those of lines that can be read."""
    found = set()
    for line in (files.contents(OUT) + b"\n" + files.contents(ERRORS)).split(b"\n"):
        try:
            found.add(json.loads(line)["custom_id"])
        except ValueError:
            continue
    return found


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_crash, error.exceptions))
    return isinstance(error, Crashed)


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_any_write_loses_no_answer_and_asks_for_none_twice(seed: int) -> None:
    """Every write of a run, in steps; what the disk keeps is diced."""

    async def main(world: World) -> None:
        files = SimFiles(dice=random.Random(seed * 1000 + moment))
        place = Place(world, files)
        shown = await until_it_crashes(place, rows(MANY), moment)
        ended.append(files.writes < moment)
        files.crash()
        asked = place.asked
        progress = await place.go(rows(MANY))
        assert progress.complete
        assert sorted(ids(files)) == sorted(row["custom_id"] for row in rows(MANY))
        assert shown <= progress.before, "what was shown as done is on the disk"
        assert place.asked - asked == MANY - progress.before, "and is not asked again"

    moment, ended = 1 + seed, [False]
    while not ended[-1]:
        World(moment).run(main)
        moment += STEP
    assert moment > 5


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    crashes=st.lists(st.integers(1, 40), max_size=4),
    noise=st.random_module(),
)
def test_crashes_again_and_again(seed: int, crashes: list[int], noise: object) -> None:
    async def main(world: World) -> None:
        files = SimFiles(dice=random.Random(seed))
        place = Place(world, files)
        source = rows(60)
        for moment in crashes:
            shown = await until_it_crashes(place, source, files.writes + moment, max_in_flight=7)
            files.crash()
            assert shown <= len(whole_ids(files))
        progress = await place.go(source, retry_errors=True)
        assert progress.complete
        assert sorted(ids(files) + ids(files, ERRORS)) == sorted(r["custom_id"] for r in source)

    World(seed, plan=Plan((Rule((Status(400),), When(probability=0.1)),))).run(main)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    moments=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    noise=st.random_module(),
)
def test_a_crash_at_any_moment_costs_no_answer_that_was_shown(
    seed: int, moments: list[float], noise: object
) -> None:
    """Moments are parts of the time that what is left takes, in writes and between them."""
    source = paced(MANY)

    async def main(world: World) -> None:
        files = SimFiles(dice=random.Random(seed))
        place, at_least = Place(world, files), 0
        for part in moments:
            shown = [batch.BatchProgress()]
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stops, files, part * (MANY - at_least) / 7)
                    await place.go(source, max_in_flight=7, started=shown.append)
                    nursery.cancel_scope.cancel()
            except BaseException as error:
                if not _is_crash(error):
                    raise
            files.crash_at = None
            files.crash()
            at_least = shown[-1].done
            assert at_least <= len(whole_ids(files))
        asked = place.asked
        progress = await place.go(source, max_in_flight=50)
        assert progress.complete
        assert sorted(ids(files)) == sorted(row["custom_id"] for row in source)
        assert at_least <= progress.before
        assert place.asked - asked == MANY - progress.before

    World(seed).run(main)


async def stops(files: SimFiles, seconds: float) -> None:
    """The machine stops after so many seconds: from then on nothing is written."""
    await trio.sleep(seconds)
    files.crash_at = files.writes
    raise Crashed


@in_world()
async def test_what_is_shown_as_done_is_on_the_disk(place: Place) -> None:
    seen: list[tuple[int, int]] = []

    def started(progress: batch.BatchProgress) -> None:
        def synced() -> int:
            file = place.files._names[OUT]
            return file.synced.count(b"\n")

        original = place.files.run

        async def run(job: Any) -> Any:
            seen.append((progress.answered, synced()))
            return await original(job)

        place.files.run = run  # type: ignore[method-assign]

    await place.go(rows(600), started=started)
    assert len(seen) > 3
    assert all(shown <= safe for shown, safe in seen)


@in_world()
async def test_a_torn_tail_is_cut_off_and_kept_beside(place: Place) -> None:
    await place.go(rows(6))
    whole = place.files.contents(OUT)
    starts = [0, *(n + 1 for n, byte in enumerate(whole) if byte == 10)]
    for size in range(starts[3] + 1, len(whole), 37 if TIER == "test" else 5):
        if size in starts:
            continue
        place.files.write(OUT, whole[:size])
        place.files.write(f"{OUT}.torn", b"")
        progress = await place.go(rows(6))
        assert progress.torn == size - max(s for s in starts if s <= size)
        assert place.files.contents(f"{OUT}.torn") == whole[size - progress.torn : size]
        assert sorted(ids(place.files)) == [f"r{n}" for n in range(6)]


@in_world()
async def test_damage_further_up_is_told_and_nothing_is_touched(place: Place) -> None:
    await place.go(rows(GROUP + 50))
    whole = place.files.contents(OUT)
    damaged = whole[:100] + b"\0" * 50 + whole[150:]
    place.files.write(OUT, damaged)
    with pytest.raises(sn.errors.BatchFileError, match="the file is damaged"):
        await place.go(rows(GROUP + 50))
    assert place.files.contents(OUT) == damaged


@in_world()
async def test_what_is_not_ours_is_refused(place: Place) -> None:
    place.files.write(OUT, b'{"name": "mine"}\n')
    with pytest.raises(sn.errors.BatchFileError, match="not the output of a batch"):
        await place.go(rows(2))
    place.files.remove(OUT)
    await place.go(rows(2))
    place.files.write(OUT, b'{"name": "mine"}\n' + place.files.contents(OUT))
    with pytest.raises(sn.errors.BatchFileError, match="not of a batch"):
        await place.go(rows(2))
    assert place.asked == 2


def test_another_process_on_the_output_is_refused() -> None:
    @in_world()
    async def check(place: Place) -> None:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            nursery.start_soon(partial(place.go, paced(40), stop=stop, max_in_flight=2))
            await trio.sleep(0.5)
            with pytest.raises(sn.errors.BatchFileError, match="another process works on"):
                async with place.world.open_engine() as eng:
                    other = attrs.evolve(place).files
                    await batch.run(eng, rows(4), out=OUT, files=other)
            stop.set()

    check()


@in_world()
async def test_other_settings_are_refused_with_the_reason(place: Place) -> None:
    await place.go(rows(2), model="sim/fast")
    with pytest.raises(sn.errors.BatchFileError, match="--model changed"):
        await place.go(rows(2), model="sim/gpt-4.1")
    with pytest.raises(sn.errors.BatchFileError, match=r"a setting .* changed"):
        await place.go(rows(2), model="sim/fast", samples=2)
    with pytest.raises(sn.errors.BatchFileError, match="--shard changed"):
        await place.go(rows(2), model="sim/fast", shard="1/2")
    with pytest.raises(sn.errors.BatchInputError, match="'r1' was asked for with another request"):
        await place.go([rows(1)[0], dict(rows(2)[1], prompt="Another")], model="sim/fast")


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("at", [1, 2, 5, 8, 9])
def test_a_disk_that_fails_ends_the_run_and_what_was_done_is_safe(kind: str, at: int) -> None:
    import errno

    @in_world(seed=at)
    async def check(place: Place) -> None:
        files = place.files
        files.fail_at, files.failure = at, getattr(errno, kind)
        shown = [batch.BatchProgress()]
        with pytest.raises(sn.errors.BatchFileError):
            await place.go(rows(120), max_in_flight=50, started=shown.append)
        files.fail_at = None
        files.close()
        asked = place.asked
        progress = await place.go(rows(120))
        assert progress.complete
        assert sorted(ids(files)) == sorted(row["custom_id"] for row in rows(120))
        assert shown[-1].done <= progress.before
        assert place.asked - asked == 120 - progress.before

    check()


def test_a_stop_lets_what_runs_finish() -> None:
    @in_world()
    async def check(place: Place) -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.sleep(3)
                stop.set()

            nursery.start_soon(later)
            progress = await place.go(paced(40), stop=stop, max_in_flight=5)
        assert progress.stopped
        assert 0 < progress.answered < 40
        assert progress.answered == place.asked == len(ids(place.files))
        progress = await place.go(paced(40))
        assert progress.complete
        assert place.asked == 40

    check()


def test_a_cancelled_run_keeps_what_came() -> None:
    @in_world()
    async def check(place: Place) -> None:
        with trio.move_on_after(3):
            await place.go(paced(40), max_in_flight=5)
        assert 0 < len(ids(place.files)) < 40
        place.files.close()
        assert (await place.go(paced(40))).complete
        assert sorted(ids(place.files)) == sorted(row["custom_id"] for row in paced(40))

    check()


@in_world(plan=Plan.always(Status(401)))
async def test_a_refused_key_ends_the_run_and_is_no_rows_failure(place: Place) -> None:
    progress = await place.go(rows(50), max_in_flight=4)
    assert isinstance(progress.error, sn.AuthError)
    assert (progress.answered, progress.failed) == (0, 0)
    assert place.asked <= 8
    assert ids(place.files, ERRORS) == []


@in_world()
async def test_shards_come_to_what_one_run_does(place: Place) -> None:
    source, files = rows(100), place.files
    async with place.world.open_engine() as eng:
        for number in range(1, 8):
            await batch.run(
                eng, source, out=f"/part{number}.jsonl", shard=f"{number}/7", files=files
            )
    parts = [f"/part{number}.jsonl" for number in range(1, 8)]
    merged = await batch.merge(parts, "/all.jsonl", files)
    assert (merged.answers, merged.failures, merged.doubled, merged.missing) == (100, 0, 0, ())
    assert sorted(ids(files, "/all.jsonl")) == sorted(row["custom_id"] for row in source)
    assert (await batch.merge(parts[1:], "/some.jsonl", files)).missing == ("1/7",)
    with pytest.raises(sn.errors.BatchFileError, match="is there already"):
        await batch.merge(parts, "/all.jsonl", files)


@in_world()
async def test_samples_limits_parts_and_order(place: Place) -> None:
    progress = await place.go(rows(10), samples=3, limit=12)
    assert progress.answered == 12
    progress = await place.go(rows(10), samples=3, order="input")
    assert ids(place.files) == [f"r{n}#{k}" for n in range(10) for k in range(3)]


@in_world()
async def test_a_part_of_the_rows_is_always_the_same_one(place: Place) -> None:
    await place.go(rows(200), sample=0.25)
    first = sorted(ids(place.files))
    assert 20 < len(first) < 80
    await place.go(rows(200), sample=0.25)
    assert sorted(ids(place.files)) == first
    assert {id_hash(name) >> 32 < (1 << 30) for name in first} == {True}


@in_world()
async def test_equal_requests_are_asked_once_where_that_is_wanted(place: Place) -> None:
    source = [dict(row, prompt=f"Fact {n % 5}") for n, row in enumerate(rows(40))]
    progress = await place.go(source, dedupe=True, max_in_flight=2)
    assert (progress.answered, place.asked) == (40, 5)
    assert sorted(ids(place.files)) == sorted(row["custom_id"] for row in source)


@in_world()
async def test_a_task_goes_on_at_its_first_missing_call(place: Place) -> None:
    calls: list[tuple[str, int]] = []

    async def generate_and_judge(row: batch.TaskRow) -> object:
        answer = await row.complete()
        calls.append((row.id, 1))
        if fail and row.id == "r3":
            raise sn.ServerError("the judge is away", retryable=True)
        verdict = await row.complete("sim/fast", f"Good? {answer.text}", max_tokens=2)
        return {"answer": answer.text, "verdict": verdict.text}

    fail = True
    progress = await place.go(rows(6), task=generate_and_judge)
    assert (progress.answered, progress.failed, place.asked) == (5, 1, 11)
    fail = False
    progress = await place.go(rows(6), task=generate_and_judge, retry_errors=True)
    assert (progress.answered, place.asked) == (1, 12), "the first call was in the journal"
    body = next(line for line in lines(place.files) if line["custom_id"] == "r3")["response"][
        "body"
    ]
    assert set(body) == {"answer", "verdict"}


@in_world()
async def test_a_tenant_pays_for_all_rows_and_all_calls_of_tasks(place: Place) -> None:
    async def twice(row: batch.TaskRow) -> object:
        return (await row.complete()).text + (await row.complete("sim/fast", "Good?")).text

    for number, task in enumerate((None, twice)):
        async with place.world.open_engine() as eng:
            out = f"/out{number}.jsonl"
            await batch.run(eng, rows(3), out=out, files=place.files, task=task, tenant="lab")
            lines_by = eng.usage_report().by("tenant")
        assert [(line.tenant, line.attempts) for line in lines_by] == [("lab", 3 * (number + 1))]


@in_world()
async def test_a_task_that_asks_for_something_else_than_before_is_told(place: Place) -> None:
    async def once(row: batch.TaskRow) -> object:
        await row.complete("sim/fast", prompt, max_tokens=2)
        raise sn.ServerError("no", retryable=True)

    prompt = "One"
    await place.go(rows(1), task=once)
    prompt = "Two"
    progress = await place.go(rows(1), task=once, retry_errors=True)
    assert progress.failed == 1
    assert "asks for something else" in lines(place.files, ERRORS)[-1]["error"]["message"]


@in_world()
async def test_rows_come_from_any_iterable(place: Place) -> None:
    async def source() -> AsyncIterator[object]:
        yield "A prompt"
        yield sn.ChatRequest("sim/fast", "Another")
        yield {"id": 7, "messages": [{"role": "user", "content": "A third"}]}

    await place.go(source(), model="sim/fast")
    assert sorted(ids(place.files)) == ["7", "row-1", "row-2"]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ([{"prompt": "x"}], "no model"),
        ([{"model": "m"}], "needs `prompt` or `messages`"),
        ([3], "must be a prompt, a mapping or a ChatRequest"),
        ([{"model": "m", "prompt": "x", "id": ""}], "`custom_id` must be text"),
        ([{"model": "m", "prompt": "x", "id": "a"}] * 2, "'a' is there twice"),
        ([{"custom_id": "a", "url": "/v1/embeddings", "body": {}}], "no model"),
        ([{"custom_id": "a", "url": "/v1/embedding", "body": {}}], "`url` must be one of"),
        ([{"custom_id": "a", "body": 3}], "`body` must be an object"),
        ([{"model": "m", "prompt": "x", "temperature": 9}], "temperature must be between"),
    ],
)
def test_a_wrong_row_is_told_with_its_place(wrong: Sequence[Mapping[str, Any]], what: str) -> None:
    @in_world()
    async def check(place: Place) -> None:
        with pytest.raises(sn.errors.BatchInputError, match="row ") as caught:
            await place.go(wrong)
        assert what in str(caught.value)

    check()


async def test_all_mistakes_of_a_file_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    path = trio.Path(tmp_path / "in.jsonl")
    good = json.dumps(rows(1)[0]).encode()
    bad = [b"{", b'{"model": "sim/fast"}', b"\xff\xfe plain", good]
    await path.write_bytes(b"\n".join([good, b"", *bad, *[b"{" for _ in range(30)]]) + b"\n")
    async with sn.open_engine() as eng:
        with pytest.raises(sn.errors.BatchInputError) as caught:
            await batch.run(eng, str(path), out=str(tmp_path / "out.jsonl"))
        assert eng.statistics().total.requests == 0
    assert caught.value.count == 34
    assert len(caught.value.problems) == 20
    assert caught.value.problems[0].startswith(f"line 3, byte {len(good) + 2}: no JSON")
    assert "'r0' is there twice" in "".join(caught.value.problems)
    assert [found.name for found in await path.parent.iterdir()] == ["in.jsonl"]
