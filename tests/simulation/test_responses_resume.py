"""Scenario B4 with the Responses API: a background response is read on after a break."""

from collections.abc import Callable
from typing import Any

import pytest

from streamnursery import EngineError, Restarted, Resumed
from streamnursery.simulator import CallTool, Cut, Plan, Reset, Rule, Socket, When
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World
from streamnursery.values.events import Finished, TextDelta, UsageReport
from streamnursery.values.origin import BaseUrl
from streamnursery.values.session import Reconnect, SessionSettings
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream

ENDPOINT = Endpoint("sim", BaseUrl.parse("http://sim.test/v1"), dialect="openai-responses")
CONFIG = EngineConfig(endpoints={"sim": ENDPOINT}, default_endpoint="sim")
BACKGROUND = {"background": True}


def breaks(*faults: Fault) -> Plan:
    """The n-th request meets the n-th fault."""
    return Plan(tuple(Rule((f,), When(requests=(n,))) for n, f in enumerate(faults, 1)))


def ask(plan: Plan, model: str = "gpt-4.1?respond=9", **fields: Any) -> tuple[World, list[Any]]:
    world = World(4, plan=plan)
    events: list[Any] = []

    async def main(world: World) -> None:
        async with world.open_engine(CONFIG) as eng:
            async with eng.stream(
                model, "Hi", **{"on_interrupt": "resume", "extra": BACKGROUND, **fields}
            ) as stream:
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
    world, events = ask(breaks(fault(at)))
    assert text(events) == world.provider.log[0].intended()
    assert sum(isinstance(event, Resumed) for event in events) == 1
    assert sum(isinstance(event, UsageReport) for event in events) == 1
    assert isinstance(events[-1], Finished)
    first, second = world.provider.log
    assert (first.method, second.method) == ("POST", "GET")
    assert second.path == "/v1/responses/resp_sim-1"


def test_b4_it_may_break_again_and_again() -> None:
    world, events = ask(breaks(Cut(2), Cut(4), Reset(7)))
    assert text(events) == world.provider.log[0].intended()
    assert [e.at for e in events if isinstance(e, Resumed)] == sorted(
        e.at for e in events if isinstance(e, Resumed)
    )
    assert len(world.provider.log) == 4


def test_b4_thoughts_and_calls_go_on_where_they_were() -> None:
    model = "gpt-4.1?respond=4&reasoning=5"
    for at in range(1, 9):
        _, events = ask(breaks(Cut(at)), model)
        assert len(text(events).split()) == 4
    call = CallTool("get", arguments='{"city":"Oslo","unit":"C"}', fragment=4)
    world = World(4, plan=Plan((*breaks(Cut(4)).rules, Rule((call,)))))

    async def main(world: World) -> None:
        async with world.open_engine(CONFIG) as eng:
            completion = await eng.complete(
                "gpt-4.1", "Hi", extra=BACKGROUND, on_interrupt="resume"
            )
            assert [(c.name, c.arguments) for c in completion.tool_calls] == [
                ("get", call.arguments)
            ]

    world.run(main)


def test_b4_a_foreground_response_cannot_be_read_on() -> None:
    _, events = ask(breaks(Cut(3)), extra={})
    assert isinstance(events[-1], EngineError)
    assert not any(isinstance(event, Resumed) for event in events)
    world, restarted = ask(breaks(Cut(3)), extra={}, on_interrupt=["resume", "restart"])
    assert any(isinstance(event, Restarted) for event in restarted)
    assert isinstance(restarted[-1], Finished)
    assert len(world.provider.log) == 2


@pytest.mark.parametrize("name", ["../files", "a/b", "resp?x", "", "é" * 3])
def test_b4_a_name_that_would_lead_elsewhere_gives_no_cursor(name: str) -> None:
    decoder = OpenAIResponsesStream()
    decoder.feed(
        b'data: {"type":"response.created","sequence_number":1,"response":'
        b'{"id":"%b","background":true}}\n\n' % name.encode()
    )
    assert decoder.cursor is None


def test_answers_over_a_session_follow_on_interrupt() -> None:
    settings = SessionSettings(reconnect=Reconnect(jitter=0.0))
    plan = Plan((Rule((Socket("drop", at=3),), When(requests=(2,))),))

    async def main(world: World) -> None:
        async with world.open_engine() as eng, eng.session("sim", settings=settings) as session:
            async with session.stream("gpt-4.1?respond=5", "Hi", on_interrupt="restart") as stream:
                events = [event async for event in stream]
            assert sum(isinstance(event, Restarted) for event in events) == 1
            assert isinstance(events[-1], Finished)
            assert stream.partial.text == world.provider.log[-1].intended()
            assert session.statistics().reconnects == 1

    World(4, plan=plan).run(main)
