"""The dialect anthropic-messages in the world: answers, faults, and a loop of tools."""

from typing import Any

import attrs
import pytest
import trio
from hypothesis import strategies as st

from streamnursery import ChatRequest, ConnectionLostError, ContentError, TruncatedStreamError
from streamnursery.errors import (
    AuthError,
    EngineError,
    MalformedChunkError,
    RateLimitedError,
    ServerError,
)
from streamnursery.events import Finished, OpaquePart, ReasoningDelta
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
    RateLimit,
    Reasoning,
    Refuse,
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
    world.add_provider("claude", plan=plan, dialect="anthropic-messages", **provider)
    return world


def ask(world: World, **fields: Any) -> Any:
    """The completion of one request to the provider "claude"."""

    async def main(world: World) -> Any:
        config = world.config(default_endpoint="claude", retries=ONCE)
        async with world.open_engine(config) as eng:
            return await eng.complete("fast", "Why?", timeout=60, **fields)

    return world.run(main)


@pytest.mark.parametrize(
    "script",
    [(), (Crlf(),), (Comments(2),), (Split((7, 1)),), (NoFinish(),), (Respond(tokens=0),)],
)
def test_an_answer_is_what_its_provider_meant(script: tuple[Fault, ...]) -> None:
    world = world_with(*script, key=Secret("sk-ant"))
    completion = ask(world)
    (record,) = world.providers["claude"].log
    assert completion.text == record.intended()
    assert (record.path, record.credential) == ("/v1/messages", "right")
    assert record.headers["anthropic-version"] == "2023-06-01"
    assert completion.dialect == "anthropic-messages"
    assert completion.response_id == "msg_claude-1"
    assert record.reply is not None
    assert completion.usage.output_tokens == record.reply.output_tokens
    assert completion.finish_kind == ("other" if NoFinish() in script else "stop")


def test_thoughts_calls_and_refusals_are_told() -> None:
    completion = ask(world_with(Reasoning(3), CallTool(fragment=2)), tools=[TOOL])
    assert len(completion.reasoning.split()) == 3
    (call,) = completion.tool_calls
    assert call.name == "look"
    assert call.arguments.startswith('{"at":')
    assert completion.finish_kind == "tool_calls"
    assert [part.kind for part in completion.choices[0].opaque] == ["thinking"]
    assert ask(world_with(Refuse())).finish_kind == "refusal"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (NoEndMark(), TruncatedStreamError),
        (Cut(2, how="end"), TruncatedStreamError),
        (Cut(2), ConnectionLostError),
        (Reset(2), ConnectionLostError),
        (BadJson(2), MalformedChunkError),
        (InStreamError(2, code="overloaded_error"), ServerError),
        (InStreamError(2, code="rate_limit_error"), RateLimitedError),
        (Status(529), ServerError),
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
        assert caught.value.body.startswith('{"type":"error"')
        assert caught.value.request_id == "req-claude-1"
    elif fault != NoEndMark():
        assert len(caught.value.partial.text.split()) == 2  # type: ignore[union-attr]


def test_its_limits_are_learned_from_its_own_headers() -> None:
    async def main(world: World) -> None:
        config = world.config(default_endpoint="claude", retries=ONCE)
        async with world.open_engine(config) as eng:
            await eng.complete("fast", "Why?", timeout=60)
            learned = eng.snapshot().limits
            assert any("rpm" in str(limit) for limit in learned), learned

    world_with(RateLimit(rpm=30, tpm=9000)).run(main)


async def loop_of_three(world: World, model: str, spoil: Any = None) -> list[Any]:
    """Two turns of tools and an answer, each message made by `completion.message()`."""
    config = world.config(default_endpoint="claude", retries=ONCE)
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
    world.add_provider("claude", plan=Plan(turns), dialect="anthropic-messages")


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
    assert [record.status for record in world.providers["claude"].log] == [200] * 3


def without_signature(message: dict[str, Any]) -> dict[str, Any]:
    parts = [{**part, "data": {"type": "thinking"}} for part in message[KEY]["parts"]]
    return {**message, KEY: {**message[KEY], "parts": parts}}


def with_other_thoughts(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, KEY: {**message[KEY], "reasoning": message[KEY]["reasoning"][::-1]}}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_signature, "thinking.signature: Field required"),
        (with_other_thoughts, "Invalid `signature`"),
    ],
)
def test_a_loop_without_them_is_refused_as_by_the_provider(spoil: Any, told: str) -> None:
    world = World(8)
    thinking_provider(world)
    with pytest.raises(ContentError, match=told):
        world.run(loop_of_three, "fast", spoil)


def test_a_loop_that_another_model_began_goes_on_without_a_budget_for_thoughts() -> None:
    def as_if_of_another(message: dict[str, Any]) -> dict[str, Any]:
        return {**message, KEY: {**message[KEY], "dialect": "another"}}

    world = World(8)
    thinking_provider(world)
    world.run(loop_of_three, "fast", as_if_of_another)
    assert [record.status for record in world.providers["claude"].log] == [200] * 3


plain_requests = requests().map(lambda request: attrs.evolve(request, n=None, seed=None))


@simulate(plan=plans(), asked=st.lists(plain_requests, min_size=1, max_size=4))
async def test_any_plan_of_faults_ends_every_stream_once_and_never_half_as_whole(
    world: World, plan: Plan, asked: list[ChatRequest]
) -> None:
    world.add_provider("claude", plan=plan, dialect="anthropic-messages")
    async with world.open_engine(world.config(default_endpoint="claude")) as eng:
        for request in asked:
            try:
                async with eng.stream(request, timeout=200) as stream:
                    events = [event async for event in stream]
            except EngineError:
                continue
            assert type(events[-1]) is Finished


def test_a_signature_comes_behind_the_thoughts_that_it_signs() -> None:
    async def main(world: World) -> None:
        config = world.config(default_endpoint="claude")
        async with world.open_engine(config) as eng:
            async with eng.stream("fast", "Why?", timeout=60) as stream:
                kinds = [type(event) async for event in stream]
            assert kinds.index(OpaquePart) > kinds.index(ReasoningDelta)
            assert kinds.index(OpaquePart) > 0

    world_with(Reasoning(2)).run(main)


def test_a_heartbeat_names_the_version_and_no_body() -> None:
    async def main(world: World) -> None:
        settings = {
            "endpoints": {
                "claude": {
                    "url": "http://claude.test/v1",
                    "dialect": "anthropic-messages",
                    "heartbeat": {"interval": 10},
                }
            }
        }
        async with world.open_engine(settings) as eng:
            await eng.complete("fast", "Why?", timeout=60)
            await trio.sleep(15)

    world = world_with()
    world.run(main)
    beat = world.providers["claude"].log[-1]
    assert (beat.method, beat.path) == ("GET", "/v1/models")
    assert beat.headers["anthropic-version"] == "2023-06-01"
    assert "content-type" not in beat.headers
