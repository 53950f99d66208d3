"""The dialect gemini in the world: answers, faults, and a loop of tools."""

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
from streamnursery.events import Finished
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


def world_with(*script: Fault, seed: int = 5, **provider: Any) -> World:
    world = World(seed)
    plan = Plan.always(*script)
    world.add_provider("gemini", plan=plan, dialect="gemini", **provider)
    return world


def ask(world: World, **fields: Any) -> Any:
    """The completion of one request to the provider "gemini"."""

    async def main(world: World) -> Any:
        config = world.config(default_endpoint="gemini", retries=ONCE)
        async with world.open_engine(config) as eng:
            return await eng.complete("fast", "Why?", timeout=60, **fields)

    return world.run(main)


@pytest.mark.parametrize(
    "script",
    [(), (Crlf(),), (Comments(2),), (Split((7, 1)),), (Respond(tokens=0),)],
)
def test_an_answer_is_what_its_provider_meant(script: tuple[Fault, ...]) -> None:
    world = world_with(*script, key=Secret("AIza"))
    completion = ask(world)
    (record,) = world.providers["gemini"].log
    assert completion.text == record.intended()
    assert (record.path, record.credential) == (
        "/v1beta/models/fast:streamGenerateContent",
        "right",
    )
    assert completion.dialect == "gemini"
    assert completion.response_id == "gemini-1"
    assert record.reply is not None
    assert completion.usage.output_tokens == record.reply.output_tokens
    assert completion.finish_kind == "stop"


def test_thoughts_calls_and_refusals_are_told() -> None:
    completion = ask(world_with(Reasoning(3), CallTool(fragment=2)), tools=[TOOL])
    assert len(completion.reasoning.split()) == 3
    (call,) = completion.tool_calls
    assert call.name == "look"
    assert call.arguments.startswith('{"at":')
    assert completion.finish_kind == "tool_calls"
    assert [part.kind for part in call.opaque] == ["thoughtSignature"]


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
        ask(world_with(fault))
    if isinstance(fault, Status):
        assert caught.value.body is not None
        assert caught.value.body.startswith('{"error":{"code":')
        assert caught.value.request_id == "req-gemini-1"
    elif fault not in (NoEndMark(), NoFinish()):
        assert len(caught.value.partial.text.split()) == 2  # type: ignore[union-attr]


async def loop_of_three(world: World, model: str, spoil: Any = None) -> list[Any]:
    """Two turns of tools and an answer, each message made by `completion.message()`."""
    config = world.config(default_endpoint="gemini", retries=ONCE)
    messages: list[Any] = [{"role": "user", "content": "Where is it?"}]
    async with world.open_engine(config) as eng:
        for _ in range(3):
            completion = await eng.complete(
                model, messages=messages, tools=[TOOL], reasoning_effort="low", timeout=60
            )
            message = completion.message()
            messages.append(message if spoil is None else spoil(message))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "not there"}
                for call in completion.tool_calls
            ]
    return messages


def thinking_provider(world: World) -> None:
    turns = (
        Rule((Reasoning(4), CallTool()), When(requests=(1,))),
        Rule((Reasoning(2), CallTool(), CallTool()), When(requests=(2,))),
        Rule((Reasoning(3),), When(requests=(3,))),
    )
    world.add_provider("gemini", plan=Plan(turns), dialect="gemini")


def test_a_loop_of_tools_keeps_its_signed_thoughts() -> None:
    world = World(8)
    thinking_provider(world)
    messages = world.run(loop_of_three, "fast")
    assert [m["role"] for m in messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert [record.status for record in world.providers["gemini"].log] == [200] * 3


def without_signature(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, KEY: {**message[KEY], "parts": []}}


def with_other_arguments(message: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {**call, "function": {**call["function"], "arguments": '{"at": "another place"}'}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_signature, "missing a thought_signature"),
        (with_other_arguments, "Thought signature is not valid"),
    ],
)
def test_a_loop_without_them_is_refused_as_by_the_provider(spoil: Any, told: str) -> None:
    world = World(8)
    thinking_provider(world)
    with pytest.raises(ContentError, match=told):
        world.run(loop_of_three, "fast", spoil)


def test_a_loop_that_another_model_began_goes_on_unsigned() -> None:
    def without_parts(message: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in message.items() if name != KEY}

    world = World(8)
    thinking_provider(world)
    world.run(loop_of_three, "fast", without_parts)
    assert [record.status for record in world.providers["gemini"].log] == [200] * 3


plain_requests = requests().map(lambda request: attrs.evolve(request, n=None))


@simulate(plan=plans(), asked=st.lists(plain_requests, min_size=1, max_size=4))
async def test_any_plan_of_faults_ends_every_stream_once_and_never_half_as_whole(
    world: World, plan: Plan, asked: list[ChatRequest]
) -> None:
    world.add_provider("gemini", plan=plan, dialect="gemini")
    async with world.open_engine(world.config(default_endpoint="gemini")) as eng:
        for request in asked:
            try:
                async with eng.stream(request, timeout=200) as stream:
                    events = [event async for event in stream]
            except EngineError:
                continue
            assert type(events[-1]) is Finished
