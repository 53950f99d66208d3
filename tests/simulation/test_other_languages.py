"""Google's Interactions API, Amazon Bedrock's Converse API and Ollama's in the world: answers,
faults, and a loop of tools with thoughts that have to come back."""

import json
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
    PROFILES,
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


@attrs.frozen
class Language:
    path: str
    thought: str
    """The kind of an opaque part that is one."""
    missing: str
    invalid: str
    """What its server says to a thought that is missing, or was changed."""
    names_errors: bool = True
    """In the middle of a stream."""


LANGUAGES = {
    "gemini-interactions": Language(
        "/v1beta/interactions",
        "thought",
        "missing the thought before it",
        "signature of the thought is not valid",
    ),
    "bedrock-converse": Language(
        "/model/us.anthropic.fast/converse-stream",
        "reasoningContent",
        "Expected `thinking` or `redacted_thinking`",
        "Invalid `signature` in `thinking` block",
    ),
}
MODEL = "us.anthropic.fast"
"""Thoughts of Anthropic's models alone have a form in the Converse API."""
OLLAMA = Language("/api/chat", "", "", "", names_errors=False)
ALL = {**LANGUAGES, "ollama": OLLAMA}
"""Ollama signs no thoughts."""
signing = pytest.mark.parametrize("language", LANGUAGES)
languages = pytest.mark.parametrize("language", ALL)


def world_of(language: str, plan: Plan, **provider: Any) -> World:
    world = World(5)
    models = {MODEL: PROFILES["fast"], "fast": PROFILES["fast"]}
    world.add_provider("other", plan=plan, dialect=language, models=models, **provider)
    return world


def ask(world: World, **fields: Any) -> Any:
    """The completion of one request."""

    async def main(world: World) -> Any:
        async with world.open_engine(world.config(default_endpoint="other")) as eng:
            return await eng.complete(MODEL, "Why?", timeout=60, **{"retries": ONCE, **fields})

    return world.run(main)


@languages
@pytest.mark.parametrize(
    "script", [(), (Crlf(),), (Comments(2),), (Split((7, 1)),), (Respond(tokens=0),)]
)
def test_an_answer_is_what_its_provider_meant(language: str, script: tuple[Fault, ...]) -> None:
    key = None if language == "ollama" else Secret("AIza")
    world = world_of(language, Plan.always(*script), key=key)
    completion = ask(world)
    (record,) = world.providers["other"].log
    assert completion.text == record.intended()
    assert (record.path, record.credential) == (ALL[language].path, "right" if key else "not asked")
    assert completion.dialect == language
    assert record.reply is not None
    assert completion.usage.output_tokens == record.reply.output_tokens
    assert completion.finish_kind == "stop"


@languages
def test_thoughts_and_calls_are_told(language: str) -> None:
    completion = ask(
        world_of(language, Plan.always(Reasoning(3), CallTool(fragment=2))), tools=[TOOL]
    )
    assert len(completion.reasoning.split()) == 3
    (call,) = completion.tool_calls
    assert call.name == "look"
    assert call.arguments.startswith('{"at":')
    assert completion.finish_kind == "tool_calls"
    kinds = [part.kind for part in completion.choices[0].opaque]
    assert kinds == [kind for kind in [ALL[language].thought] if kind]


@languages
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
    language: str, fault: Fault, expected: type[EngineError]
) -> None:
    if isinstance(fault, InStreamError) and not ALL[language].names_errors:
        expected = ServerError
    with pytest.raises(expected) as caught:
        ask(world_of(language, Plan.always(fault)))
    if not isinstance(fault, Status | NoEndMark | NoFinish):
        assert len(caught.value.partial.text.split()) == 2  # type: ignore[union-attr]


# A loop of tools. -------------------------------------------------------------------------------


async def loop_of_three(world: World, spoil: Any = None) -> list[Any]:
    """Two turns of tools and an answer, each message made by `completion.message()`."""
    config = world.config(default_endpoint="other", retries=ONCE)
    messages: list[Any] = [{"role": "user", "content": "Where is it?"}]
    async with world.open_engine(config) as eng:
        for _ in range(3):
            completion = await eng.complete(
                MODEL, messages=messages, tools=[TOOL], reasoning_effort="low", timeout=60
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


@signing
def test_a_loop_of_tools_keeps_its_thoughts(language: str) -> None:
    world = world_of(language, THINKING)
    messages = world.run(loop_of_three)
    roles = ["user", "assistant", "tool", "assistant", "tool", "tool", "assistant"]
    assert [message["role"] for message in messages] == roles
    assert [record.status for record in world.providers["other"].log] == [200] * 3


def without_parts(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, KEY: {**message[KEY], "parts": []}}


def with_another_thought(message: dict[str, Any]) -> dict[str, Any]:
    (part,) = message[KEY]["parts"]
    told = json.dumps(part).replace('"signature": "', '"signature": "x')
    part = json.loads(told)
    return {**message, KEY: {**message[KEY], "parts": [part]}}


@signing
@pytest.mark.parametrize(
    ("spoil", "told"), [(without_parts, "missing"), (with_another_thought, "invalid")]
)
def test_a_loop_without_them_is_refused_as_by_the_provider(
    language: str, spoil: Any, told: str
) -> None:
    with pytest.raises(ContentError, match=getattr(LANGUAGES[language], told)):
        world_of(language, THINKING).run(loop_of_three, spoil)


plain_requests = requests().map(lambda request: attrs.evolve(request, n=None))


@simulate(
    language=st.sampled_from(sorted(ALL)),
    plan=plans(),
    asked=st.lists(plain_requests, min_size=1, max_size=4),
    extra=st.sampled_from([{}, {"background": True}]),
)
async def test_any_plan_of_faults_ends_every_stream_once_and_never_half_as_whole(
    world: World, language: str, plan: Plan, asked: list[ChatRequest], extra: dict[str, Any]
) -> None:
    world.add_provider("other", plan=plan, dialect=language)
    more = extra if language == "gemini-interactions" else {}
    async with world.open_engine(world.config(default_endpoint="other")) as eng:
        for request in asked:
            request = attrs.evolve(request, extra={**request.extra, **more})
            try:
                async with eng.stream(request, timeout=200, on_interrupt="resume") as stream:
                    events = [event async for event in stream]
            except EngineError:
                continue
            assert type(events[-1]) is Finished
