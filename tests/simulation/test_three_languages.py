"""One request over three provider languages, with tools and a history."""

from typing import Any

import pytest

from streamnursery.errors import ContentError, UnexpectedContentError
from streamnursery.events import Rerouted, TextDelta
from streamnursery.simulator import CallTool, Cut, Plan, Reasoning, Rule, Status, When
from streamnursery.testing import World
from streamnursery.values.returned import KEY
from streamnursery.values.secret import Secret

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}
DIALECTS = {"openai": "", "claude": "anthropic-messages", "gemini": "gemini"}
HISTORY: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
]


def world_of(plans: dict[str, Plan]) -> World:
    world = World(11)
    for name, dialect in DIALECTS.items():
        world.add_provider(name, plan=plans.get(name), dialect=dialect)
    return world


def chain(world: World, *names: str) -> Any:
    """A configuration whose model "m" goes over these providers in this order."""
    endpoints = {
        name: {"url": f"http://{name}.test/{'v1beta' if name == 'gemini' else 'v1'}"}
        | ({"dialect": DIALECTS[name]} if DIALECTS[name] else {})
        for name in names
    }
    routes = [{"endpoint": name, "model": "fast"} for name in names]
    assert set(names) <= set(world.providers)
    return {
        "endpoints": endpoints,
        "models": {"m": {"routes": routes, "retries": {"attempts": 1}}},
    }


def down(status: int, *later: Any) -> Plan:
    """The first request is refused."""
    return Plan((Rule((Status(status),), When(requests=(1,))), *later))


def test_a_request_with_tools_goes_from_openai_to_anthropic_to_google() -> None:
    world = world_of({
        "openai": Plan.always(Status(503)),
        "claude": Plan.always(Status(529)),
        "gemini": Plan.always(CallTool()),
    })

    async def main(world: World) -> None:
        config = chain(world, "openai", "claude", "gemini")
        async with (
            world.open_engine(config) as eng,
            eng.stream("m", HISTORY, tools=[TOOL], max_tokens=50, timeout=60) as stream,
        ):
            events = [event async for event in stream]
            marks = [event for event in events if isinstance(event, Rerouted)]
            assert [(m.source, m.target) for m in marks] == [
                ("openai/fast", "claude/fast"),
                ("claude/fast", "gemini/fast"),
            ]
            completion = await stream.completion()
            assert (completion.route, completion.dialect) == ("gemini/fast", "gemini")
            assert completion.finish_kind == "tool_calls"
            assert completion.tool_calls[0].name == "look"

    world.run(main)
    assert [len(world.providers[name].log) for name in DIALECTS] == [1, 1, 1]


@pytest.mark.parametrize("first", ["claude", "gemini"])
def test_a_loop_of_tools_that_moves_drops_what_the_next_language_cannot_say(first: str) -> None:
    """The first provider thinks and calls a tool; then it is down, and the others go on."""
    thinks = Rule((Reasoning(3), CallTool()), When(requests=(1,)))
    gone = Rule((Status(503),), When(since=0.0, requests=(2,)))
    order = [first, *(name for name in DIALECTS if name != first)]
    world = world_of({first: Plan((thinks, gone)), order[1]: Plan.always(Status(503))})

    async def main(world: World) -> None:
        async with world.open_engine(chain(world, *order)) as eng:
            asked: dict[str, Any] = {"tools": [TOOL], "reasoning_effort": "low", "timeout": 60}
            answer = await eng.complete("m", messages=HISTORY, **asked)
            message = answer.message()
            assert message[KEY]["dialect"] == DIALECTS[first]
            result = {
                "role": "tool",
                "tool_call_id": answer.tool_calls[0].id,
                "content": "because",
            }
            messages = [*HISTORY, message, result]
            async with eng.stream("m", messages=messages, **asked) as stream:
                events = [event async for event in stream]
            marks = [event for event in events if isinstance(event, Rerouted)]
            kinds = {part["kind"] for part in message[KEY]["parts"]}
            assert [set(mark.dropped) for mark in marks] == [kinds, kinds]
            assert any(isinstance(event, TextDelta) for event in events)

    world.run(main)
    assert world.providers[order[2]].log[-1].status == 200


def test_a_broken_answer_begins_again_in_another_language() -> None:
    world = world_of({"claude": Plan.always(Cut(3))})

    async def main(world: World) -> None:
        config = chain(world, "claude", "gemini")
        config["defaults"] = {"on_interrupt": ["restart"]}
        async with world.open_engine(config) as eng:
            completion = await eng.complete("m", "Why?", timeout=60)
            assert completion.route == "gemini/fast"
            assert completion.text == world.providers["gemini"].log[-1].intended()

    world.run(main)


def test_a_broken_answer_is_continued_in_another_language_by_a_turn_of_the_users() -> None:
    world = world_of({"claude": Plan.always(Cut(3))})

    async def main(world: World) -> None:
        config = chain(world, "claude", "gemini")
        config["defaults"] = {"on_interrupt": ["continue"]}
        config["models"]["m"]["assistant_prefix"] = "user-turn"
        async with world.open_engine(config) as eng:
            completion = await eng.complete("m", "Why?", timeout=60)
            said = world.providers["claude"].log[0].intended()
            assert completion.text.startswith(" ".join(said.split()[:3]))
            assert completion.route == "gemini/fast"

    world.run(main)


def test_azure_is_asked_by_deployment_version_and_key() -> None:
    world = World(4)
    provider = world.add_provider("azure", key=Secret("azure-key"))
    endpoint = {
        "url": "http://azure.test/openai",
        "dialect": "azure-openai",
        "key": Secret("azure-key"),
        "query": {"api-version": "2024-10-21"},
    }

    async def main(world: World) -> None:
        config: Any = {"endpoints": {"azure": endpoint}, "defaults": {"retries": {"attempts": 1}}}
        async with world.open_engine(config) as eng:
            completion = await eng.complete("fast", "Why?", timeout=60)
            assert completion.text == provider.log[-1].intended()
        del config["endpoints"]["azure"]["query"]
        async with world.open_engine(config) as eng:
            with pytest.raises(UnexpectedContentError, match="serves nothing at the path"):
                await eng.complete("fast", "Why?", timeout=60)

    world.run(main)
    assert provider.log[0].path == "/openai/deployments/fast/chat/completions"
    assert provider.log[0].credential == "right"


SEALED = {"include": ["reasoning.encrypted_content"], "store": False}


async def sealed_loop(world: World, spoil: Any = None) -> list[Any]:
    """Three turns of OpenAI's Responses API, whose reasoning comes back sealed."""
    url = {"url": "http://openai.test/v1", "dialect": "openai-responses"}
    config: Any = {"endpoints": {"openai": url}, "defaults": {"retries": {"attempts": 1}}}
    messages: list[Any] = [{"role": "user", "content": "Where is it?"}]
    async with world.open_engine(config) as eng:
        for _ in range(3):
            answer = await eng.complete(
                "fast", messages=messages, tools=[TOOL], extra=SEALED, timeout=60
            )
            message = answer.message()
            messages.append(message if spoil is None else spoil(message))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "not there"}
                for call in answer.tool_calls
            ]
    return messages


def thinking_in_three_turns() -> World:
    calls = Rule((Reasoning(3), CallTool()), When(requests=(1, 2)))
    return world_of({"openai": Plan((calls, Rule((Reasoning(2),), When(requests=(3,)))))})


def test_a_loop_of_tools_returns_sealed_reasoning_in_openais_responses() -> None:
    world = thinking_in_three_turns()
    messages = world.run(sealed_loop)
    assert [record.status for record in world.providers["openai"].log] == [200] * 3
    parts = [part["kind"] for part in messages[1][KEY]["parts"]]
    assert parts == ["reasoning"]


def test_another_seal_is_refused_as_by_the_provider() -> None:
    def broken(message: dict[str, Any]) -> dict[str, Any]:
        parts = [
            {**part, "data": {**part["data"], "encrypted_content": "x"}}
            for part in message[KEY]["parts"]
        ]
        return {**message, KEY: {**message[KEY], "parts": parts}}

    with pytest.raises(ContentError, match="could not be verified"):
        thinking_in_three_turns().run(sealed_loop, broken)
