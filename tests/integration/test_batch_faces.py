"""Batches from asyncio and from plain threads, on the engine in its own thread."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import streamnursery.aio
import streamnursery.sync
from tests.support.guard import GUARD


def ids(path: Path) -> list[str]:
    return sorted(json.loads(line)["custom_id"] for line in path.read_text().splitlines())


def test_asyncio_answers_rows_and_goes_on(tmp_path: Path) -> None:
    sn = streamnursery.aio
    out = tmp_path / "out.jsonl"

    async def rows() -> AsyncIterator[object]:
        for n in range(4):
            yield {"id": f"a{n}", "prompt": "Hi", "max_tokens": 2}

    async def main() -> None:
        async with sn.open_engine() as eng:
            first = await sn.batch.run(eng, rows(), out=out, model="sim/fast")
            again = await sn.batch.run(eng, rows(), out=out, model="sim/fast")
        assert (first.answered, again.before, again.answered) == (4, 4, 0)

    asyncio.run(main())
    assert ids(out) == ["a0", "a1", "a2", "a3"]


def test_threads_answer_a_file(tmp_path: Path) -> None:
    sn = streamnursery.sync
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("One\nTwo\n")
    with sn.open_engine() as eng:
        with pytest.raises(TypeError, match="'files'"):
            sn.batch.run(eng, source, out=out, files=print)  # type: ignore[call-arg]
        progress = sn.batch.run(eng, source, out=out, model="sim/fast")
    assert progress.complete
    assert ids(out) == ["row-1", "row-2"]


ROWS = [{"id": n, "model": "sim/fast", "prompt": f"Fact {n}", "max_tokens": 2} for n in range(6)]


def verdicts(path: Path) -> list[str]:
    return [
        json.loads(line)["response"]["body"]["verdict"] for line in path.read_text().splitlines()
    ]


def test_a_task_runs_on_the_callers_own_loop_and_its_calls_are_not_made_again(
    tmp_path: Path,
) -> None:
    sn = streamnursery.aio
    out, broken = tmp_path / "out.jsonl", [True]

    async def judge(row: "streamnursery.aio.batch.TaskRow") -> dict[str, str]:
        assert asyncio.current_task() is not None
        answer = await row.complete()
        if broken[0] and row.id == "3":
            raise ValueError("no verdict")
        verdict = await row.complete("sim/fast", f"Is it true? {answer.text}", max_tokens=2)
        assert row.made == 2
        return {"verdict": verdict.text}

    async def main() -> None:
        async with sn.open_engine() as eng:
            with pytest.raises(ValueError, match="no verdict"):
                await sn.batch.run(eng, ROWS, out=out, task=judge, max_in_flight=1)
            broken[0] = False
            before = (await eng.statistics()).total.succeeded
            again = await sn.batch.run(eng, ROWS, out=out, task=judge)
            asked = (await eng.statistics()).total.succeeded - before
        assert (again.before, again.answered, asked) == (3, 3, 5)

    asyncio.run(main())
    assert all(verdicts(out))
    assert ids(out) == [str(n) for n in range(6)]


def test_a_run_that_is_cancelled_cancels_its_tasks(tmp_path: Path) -> None:
    sn = streamnursery.aio
    ended: list[str] = []

    async def main() -> None:
        began, left = asyncio.Event(), asyncio.Event()

        async def stuck(row: "streamnursery.aio.batch.TaskRow") -> None:
            try:
                began.set()
                await asyncio.Event().wait()
            finally:
                ended.append(row.id)
                left.set()

        async with sn.open_engine() as eng:
            run = asyncio.create_task(
                sn.batch.run(eng, ROWS[:1], out=tmp_path / "out.jsonl", task=stuck)
            )
            await began.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            await asyncio.wait_for(left.wait(), GUARD)

    asyncio.run(main())
    assert ended == ["0"]


def test_a_task_of_a_thread_is_a_plain_function(tmp_path: Path) -> None:
    sn = streamnursery.sync
    out = tmp_path / "out.jsonl"

    def judge(row: "streamnursery.sync.batch.TaskRow") -> dict[str, str]:
        assert row.request.model == "sim/fast"
        answer = row.complete()
        verdict = row.complete("sim/fast", f"Is it true? {answer.text}", max_tokens=2)
        if row.fields["id"] == 5:
            raise sn.RequestError("no verdict")
        return {"verdict": verdict.text}

    with sn.open_engine() as eng:
        progress = sn.batch.run(eng, ROWS, out=out, task=judge, max_in_flight=4)
    assert (progress.answered, progress.failed) == (5, 1)
    assert all(verdicts(out))
    assert ids(out) == [str(n) for n in range(5)]
