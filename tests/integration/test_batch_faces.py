"""Batches from asyncio and from plain threads, on the engine in its own thread."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import streamnursery.aio
import streamnursery.sync


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
        with pytest.raises(TypeError, match="'task'"):
            sn.batch.run(eng, source, out=out, task=print)  # type: ignore[call-arg]
        progress = sn.batch.run(eng, source, out=out, model="sim/fast")
    assert progress.complete
    assert ids(out) == ["row-1", "row-2"]
