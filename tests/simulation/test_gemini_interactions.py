"""A stream of Google's Interactions API is read on behind the last event that came."""

from collections.abc import Callable
from typing import Any

import pytest

from streamnursery.errors import EngineError
from streamnursery.events import Finished, Resumed, TextDelta, UsageReport
from streamnursery.simulator import CallTool, Cut, Plan, Reset, Rule, When
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World

BACKGROUND = {"background": True}


def world_of(plan: Plan) -> World:
    world = World(5)
    world.add_provider("google", plan=plan, dialect="gemini-interactions")
    return world


def breaks(*faults: Fault) -> Plan:
    """The n-th request meets the n-th fault."""
    return Plan(tuple(Rule((f,), When(requests=(n,))) for n, f in enumerate(faults, 1)))


def streamed(plan: Plan, model: str = "fast?respond=9", **fields: Any) -> tuple[World, list[Any]]:
    world = world_of(plan)
    events: list[Any] = []

    async def main(world: World) -> None:
        asked = {"on_interrupt": "resume", "extra": BACKGROUND, **fields}
        async with (
            world.open_engine(world.config(default_endpoint="google")) as eng,
            eng.stream(model, "Hi", timeout=200, **asked) as stream,
        ):
            try:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 - up to the error
            except EngineError as error:
                events.append(error)

    world.run(main)
    return world, events


def text(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("fault", [Cut, Reset])
@pytest.mark.parametrize("at", [1, 2, 5, 8, 9])
def test_b4_all_tokens_come_once_wherever_the_stream_breaks(
    fault: Callable[[int], Fault], at: int
) -> None:
    world, events = streamed(breaks(fault(at)))
    log = world.providers["google"].log
    assert text(events) == log[0].intended()
    assert sum(isinstance(event, Resumed) for event in events) == 1
    assert sum(isinstance(event, UsageReport) for event in events) == 1
    assert isinstance(events[-1], Finished)
    first, second = log
    assert (first.method, second.method) == ("POST", "GET")
    assert second.path == "/v1beta/interactions/v1_google-1"


def test_b4_it_may_break_again_and_again() -> None:
    world, events = streamed(breaks(Cut(2), Cut(4), Reset(7)))
    log = world.providers["google"].log
    assert text(events) == log[0].intended()
    assert len(log) == 4


def test_b4_thoughts_and_calls_go_on_where_they_were() -> None:
    for at in range(1, 9):
        _, events = streamed(breaks(Cut(at)), "fast?respond=4&reasoning=5")
        assert len(text(events).split()) == 4
    call = CallTool("get", arguments='{"city":"Oslo","unit":"C"}', fragment=4)
    world = world_of(Plan((*breaks(Cut(4)).rules, Rule((call,)))))

    async def main(world: World) -> Any:
        async with world.open_engine(world.config(default_endpoint="google")) as eng:
            return await eng.complete("fast", "Hi", extra=BACKGROUND, on_interrupt="resume")

    completion = world.run(main)
    assert [(c.name, c.arguments) for c in completion.tool_calls] == [("get", call.arguments)]


def test_b4_what_is_not_made_in_the_background_cannot_be_read_on() -> None:
    _, events = streamed(breaks(Cut(3)), extra={})
    assert isinstance(events[-1], EngineError)
    assert not any(isinstance(event, Resumed) for event in events)
