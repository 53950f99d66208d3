"""What a failure of `@simulate` and of a world says, and that its replay line replays."""

import traceback
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamnursery.simulator import Cut, Plan, Reset
from streamnursery.testing import World, plans, simulate
from streamnursery.testing.as_code import as_code, imports_of
from tests.support.toy_clients import ToyClient

OURS = str(Path(__file__).parents[2] / "engine")


async def confront(world: World, plan: Plan, mistake: str) -> None:
    world.provider.plan = plan
    async with httpx.AsyncClient(transport=world.http.transport) as http:
        await world.http.confront(ToyClient(http, mistake))


@settings(max_examples=100, deadline=None, database=None)
@simulate(plan=plans())
async def eof_taken(world: World, plan: Plan) -> None:
    await confront(world, plan, "end_is_success")


def failure_of(test: Any) -> AssertionError:
    with pytest.raises(AssertionError) as caught:
        test()
    return caught.value


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


def replay_line(error: BaseException) -> str:
    """All that stands behind "replay: ", up to the next note."""
    (note,) = (n for n in getattr(error, "__notes__", ()) if n.startswith("replay: "))
    return str(note).removeprefix("replay: ")


def test_it_says_what_was_meant_and_said_and_the_plan_and_what_the_request_met() -> None:
    text = str(failure_of(eof_taken))
    assert "a part of an answer, said to be the whole" in text
    assert "\nmeant: '" in text
    assert "\nsaid:  '" in text
    assert "\nrequest 1: Cut(3, 'end'); status 200; 3 tokens, " in text
    assert "\nplan: Plan((Rule((Cut(3, 'end'),)),))" in text


def test_its_replay_line_fails_in_the_same_way() -> None:
    first = failure_of(eof_taken)
    again = failure_of(partial(exec, replay_line(first), {"eof_taken": eof_taken}))
    assert str(again) == str(first)


@settings(max_examples=200, deadline=None, database=None)
@simulate(plan=plans(), words=st.lists(st.sampled_from(["a", "b", "c"]), max_size=4))
async def drawn_failure(world: World, plan: Plan, words: list[str]) -> None:
    world.provider.plan = plan
    assert "b" not in words, f"{words} at {world.seed}"


def test_the_replay_line_of_what_was_drawn_and_shrunk_fails_in_the_same_way() -> None:
    first = failure_of(drawn_failure)
    assert "['b']" in str(first)
    again = failure_of(partial(exec, replay_line(first), {"drawn_failure": drawn_failure}))
    assert str(again).splitlines()[0] == str(first).splitlines()[0]


def test_the_replay_line_of_a_world_contains_its_plan() -> None:
    async def main(world: World) -> None:
        async with httpx.AsyncClient(transport=world.http.transport) as http:
            await world.http.confront(ToyClient(http, "lost_is_success"))

    first = failure_of(partial(World(7, plan=Plan.always(Reset(3))).run, main))
    line = replay_line(first)
    scope: dict[str, Any] = {"World": World, "main": main}
    exec("from streamnursery.simulator import *", scope)
    assert str(failure_of(partial(exec, line, scope))) == str(first)


def test_its_frames_are_those_of_the_program_under_test() -> None:
    frames = traceback.extract_tb(failure_of(eof_taken).__traceback__)
    assert frames[-1].name == "confront"
    assert not {"run", "opened", "_run", "confront"} & {
        frame.name for frame in frames if frame.filename.startswith(OURS)
    }
    assert not any("site-packages/trio" in frame.filename for frame in frames)


@given(plans())
def test_any_plan_as_code_makes_an_equal_plan(plan: Plan) -> None:
    scope: dict[str, Any] = {}
    exec("\n".join(imports_of([plan])), scope)
    assert eval(as_code(plan), scope) == plan


def test_shrinking_ends_though_every_smaller_example_fails_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is made small: after it, an example that has not failed before is not run."""
    monkeypatch.setattr("streamnursery.testing.simulation.SHRINKING", 0.0)
    runs = 0

    @settings(max_examples=50, deadline=None, database=None)
    @simulate(numbers=st.lists(st.integers(0, 1000), min_size=5))
    async def too_big(world: World, numbers: list[int]) -> None:
        nonlocal runs
        runs += 1
        assert sum(numbers) < 0

    failure_of(too_big)
    assert runs <= 4  # it failed once, and the same example is shown to fail again


def test_a_cut_that_a_client_tells_is_no_failure() -> None:
    World(0).run(partial(confront, plan=Plan.always(Cut(3, how="end")), mistake=""))
