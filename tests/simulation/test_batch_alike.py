"""Rows of a batch that begin alike are asked for one after the other."""

import json
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from streamnursery import ChatRequest, batch
from streamnursery.batch.alike import grouped
from streamnursery.batch.lines import BatchRow
from streamnursery.core.routing.prefix_affinity import BLOCK
from streamnursery.simulator import Profile
from streamnursery.testing.sim_files import SimFiles
from tests.support.scene import scene

SMALL = Profile(output_tokens=(1, 1), prefix_cache=2000)
"""Keeps little more than one application's prompt."""
beginnings = st.lists(st.integers(0, 3), max_size=40)


def made(order: list[int]) -> list[BatchRow]:
    """A row for each beginning."""
    return [
        BatchRow(str(n), ChatRequest("m", f"{'abcd'[app] * BLOCK} {n}"))
        for n, app in enumerate(order)
    ]


@given(beginnings)
def test_equal_beginnings_stand_together_in_the_order_in_which_they_came(order: list[int]) -> None:
    rows = made(order)
    found = [int(row.id) for row in grouped(rows)]
    assert sorted(found) == list(range(len(rows)))
    firsts = list(dict.fromkeys(order))
    assert found == sorted(found, key=lambda n: (firsts.index(order[n]), n))


def run(source: Any, *, samples: int = 1) -> tuple[Counter[bool], list[str]]:
    """Which prompts found something in the cache, and the ids in the order of the answers."""
    files = SimFiles()

    async def main() -> Counter[bool]:
        async with scene(profile=SMALL, model={"max_streams": 1}) as place:
            go = partial(batch.run, samples=samples, max_in_flight=1)
            await go(place.engine, source, out="/out.jsonl", files=files)
            replies = [record.reply for record in place.provider.log if record.reply is not None]
            return Counter(reply.cached_tokens > 0 for reply in replies)

    # A thread reads the file: the clock must not jump meanwhile.
    hits = trio.run(main, clock=MockClock(rate=10))
    answers = [json.loads(line)["custom_id"] for line in files.contents("/out.jsonl").splitlines()]
    return hits, answers


def test_a_file_finds_in_the_cache_what_was_computed_and_an_iterable_is_left_as_it_is(
    tmp_path: Path,
) -> None:
    dice = random.Random(3)
    apps = [" ".join(dice.choices("abcdefgh", k=1000)) for _ in range(6)]
    rows = [
        {"custom_id": str(n), "model": "m", "prompt": f"{apps[n % 6]} {n}", "max_tokens": 1}
        for n in range(60)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hits, answers = run(path)
    assert hits == {True: 54, False: 6}
    assert sorted(answers, key=int) == [str(n) for n in range(60)]
    hits, _ = run(path, samples=2)
    assert hits == {True: 114, False: 6}
    hits, answers = run(rows)
    assert hits == {False: 60}, "whoever makes rows may wait for the answers to others"
    assert answers == [str(n) for n in range(60)]
