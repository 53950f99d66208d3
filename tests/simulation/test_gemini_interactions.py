"""The dialect gemini-interactions in the world: answers, faults, a loop of tools, reading on."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st

from streamnursery import ChatRequest, ConnectionLostError, ContentError, TruncatedStreamError
from streamnursery.errors import (
    AuthError,
    EngineError,
    MalformedChunkError,
    RateLimitedError,
    ServerError,
)
from streamnursery.events import Finished, Resumed, TextDelta, UsageReport
from streamnursery.simulator import (
    BadJson,
    CallTool,
    Comments,
    Crlf,
    Cut,
    InStreamError,
    NoEndMark,
    NoFinish,
    Plan,
    Reasoning,
    Reset,
    Respond,
    Rule,
    Split,
    Status,
    When,
)
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, plans, simulate
from streamnursery.testing.strategies import requests
from streamnursery.values.policy import Retries
from streamnursery.values.returned import KEY
from streamnursery.values.secret import Secret

ONCE = Retries(attempts=1)
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}
BACKGROUND = {"background": True}


def world_of(plan: Plan, seed: int = 5, **provider: Any) -> World:
    world = World(seed)
    world.add_provider("google", plan=plan, dialect="gemini-interactions", **provider)
    return world


def ask(world: World, model: str = "fast", **fields: Any) -> Any:
    """The completion of one request."""

    async def main(world: World) -> Any:
        async with world.open_engine(world.config(default_endpoint="google")) as eng:
            return await eng.complete(model, "Why?", timeout=60, **{"retries": ONCE, **fields})

    return world.run(main)


@pytest.mark.parametrize(
    "script", [(), (Crlf(),), (Comments(2),), (Split((7, 1)),), (Respond(tokens=0),)]
)
def test_an_answer_is_what_its_provider_meant(script: tuple[Fault, ...]) -> None:
    world = world_of(Plan.always(*script), key=Secret("AIza"))
    completion = ask(world)
    (record,) = world.providers["google"].log
    assert completion.text == record.intended()
    assert (record.path, record.credential) == ("/v1beta/interactions", "right")
    assert (completion.dialect, completion.response_id) == ("gemini-interactions", "v1_google-1")
    assert record.reply is not None
    assert completion.usage.output_tokens == record.reply.output_tokens
    assert completion.finish_kind == "stop"


def test_thoughts_and_calls_are_told() -> None:
    completion = ask(world_of(Plan.always(Reasoning(3), CallTool(fragment=2))), tools=[TOOL])
    assert len(completion.reasoning.split()) == 3
    (call,) = completion.tool_calls
    assert call.name == "look"
    assert call.arguments.startswith('{"at":')
    assert completion.finish_kind == "tool_calls"
    assert [part.kind for part in completion.choices[0].opaque] == ["thought"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (NoEndMark(), TruncatedStreamError),
        (NoFinish(), TruncatedStreamError),
        (Cut(2, how="end"), TruncatedStreamError),
        (Cut(2), ConnectionLostError),
        (Reset(2), ConnectionLostError),
        (BadJson(2), MalformedChunkError),
        (InStreamError(2, code="overloaded"), ServerError),
        (InStreamError(2, code="rate_limit_error"), RateLimitedError),
        (Status(503), ServerError),
        (Status(429, 3), RateLimitedError),
        (Status(401), AuthError),
        (Status(400), ContentError),
    ],
)
def test_a_fault_has_its_error_and_is_never_complete(
    fault: Fault, expected: type[EngineError]
) -> None:
    with pytest.raises(expected) as caught:
        ask(world_of(Plan.always(fault)))
    if not isinstance(fault, Status | NoEndMark | NoFinish):
        assert len(caught.value.partial.text.split()) == 2  # type: ignore[union-attr]


# A loop of tools. -------------------------------------------------------------------------------


async def loop_of_three(world: World, spoil: Any = None) -> list[Any]:
    """Two turns of tools and an answer, each message made by `completion.message()`."""
    config = world.config(default_endpoint="google", retries=ONCE)
    messages: list[Any] = [{"role": "user", "content": "Where is it?"}]
    async with world.open_engine(config) as eng:
        for _ in range(3):
            completion = await eng.complete(
                "fast", messages=messages, tools=[TOOL], reasoning_effort="low", timeout=60
            )
            message = completion.message()
            messages.append(message if spoil is None else spoil(message))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "not there"}
                for call in completion.tool_calls
            ]
    return messages


THINKING = Plan((
    Rule((Reasoning(4), CallTool()), When(requests=(1,))),
    Rule((Reasoning(2), CallTool(), CallTool()), When(requests=(2,))),
    Rule((Reasoning(3),), When(requests=(3,))),
))


def test_a_loop_of_tools_keeps_its_thoughts() -> None:
    world = world_of(THINKING)
    messages = world.run(loop_of_three)
    roles = ["user", "assistant", "tool", "assistant", "tool", "tool", "assistant"]
    assert [message["role"] for message in messages] == roles
    assert [record.status for record in world.providers["google"].log] == [200] * 3


def without_parts(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, KEY: {**message[KEY], "parts": []}}


def with_another_thought(message: dict[str, Any]) -> dict[str, Any]:
    (part,) = message[KEY]["parts"]
    part = {**part, "data": {**part["data"], "signature": "bm8="}}
    return {**message, KEY: {**message[KEY], "parts": [part]}}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_parts, "missing the thought before it"),
        (with_another_thought, "signature of the thought is not valid"),
    ],
)
def test_a_loop_without_them_is_refused_as_by_the_provider(spoil: Any, told: str) -> None:
    with pytest.raises(ContentError, match=told):
        world_of(THINKING).run(loop_of_three, spoil)


# Reading on. ------------------------------------------------------------------------------------


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
    completion = ask(world, extra=BACKGROUND, on_interrupt="resume", retries=Retries())
    assert [(c.name, c.arguments) for c in completion.tool_calls] == [("get", call.arguments)]


def test_b4_what_is_not_made_in_the_background_cannot_be_read_on() -> None:
    _, events = streamed(breaks(Cut(3)), extra={})
    assert isinstance(events[-1], EngineError)
    assert not any(isinstance(event, Resumed) for event in events)


plain_requests = requests().map(lambda request: attrs.evolve(request, n=None))


@simulate(
    plan=plans(),
    asked=st.lists(plain_requests, min_size=1, max_size=4),
    extra=st.sampled_from([{}, BACKGROUND]),
)
async def test_any_plan_of_faults_ends_every_stream_once_and_never_half_as_whole(
    world: World, plan: Plan, asked: list[ChatRequest], extra: dict[str, Any]
) -> None:
    world.add_provider("google", plan=plan, dialect="gemini-interactions")
    async with world.open_engine(world.config(default_endpoint="google")) as eng:
        for request in asked:
            request = attrs.evolve(request, extra={**request.extra, **extra})
            try:
                async with eng.stream(request, timeout=200, on_interrupt="resume") as stream:
                    events = [event async for event in stream]
            except EngineError:
                continue
            assert type(events[-1]) is Finished
