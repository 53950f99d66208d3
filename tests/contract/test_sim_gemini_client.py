"""Google's own client against the simulated provider, and our requests against its types."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar

import pytest
import trio

from streamnursery.simulator import (
    CallTool,
    Crlf,
    InStreamError,
    Plan,
    Provider,
    Reasoning,
    Respond,
    Rule,
    Split,
    Status,
    When,
    serve_loopback,
)
from streamnursery.simulator.fault import Fault
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint
from streamnursery.wire.gemini.client import Gemini
from tests.support.simulator import MODELS

pytest.importorskip("google.genai", reason="installed by `make contract`")
from google import genai
from google.genai import errors, types

T = TypeVar("T")

pytestmark = [
    pytest.mark.contract,
    # What it leaves behind in the thread that it ran in.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)]
)
THINKING = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
CONFIG = types.GenerateContentConfig(
    tools=[TOOL],
    thinking_config=THINKING,
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


@asynccontextmanager
async def provider_of(
    *script: Fault, plan: Plan | None = None
) -> AsyncIterator[tuple[Callable[..., Any], Provider]]:
    """A way to use a client in a thread, and the provider that it talks to."""
    provider = Provider(
        dice=Random(1), models=MODELS, plan=plan or Plan.always(*script), key=Secret("AIza-right")
    )
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        url = server.url.removesuffix("/v1")

        async def run(use: Callable[[genai.Client], T], key: str = "AIza-right") -> T:
            def work() -> T:
                options = types.HttpOptions(base_url=url)
                with genai.Client(api_key=key, http_options=options) as client:
                    return use(client)

            return await trio.to_thread.run_sync(work)

        yield run, provider
        await server.stop(grace=60)


async def test_it_streams_text_and_usage() -> None:
    def use(client: genai.Client) -> Any:
        return list(client.models.generate_content_stream(model="fast", contents="hi"))

    async with provider_of(Crlf(), Split((5, 50))) as (run, provider):
        chunks = await run(use)
        assert "".join(chunk.text or "" for chunk in chunks) == provider.log[-1].intended()
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
        assert chunks[-1].usage_metadata.candidates_token_count == 5
        assert provider.log[-1].credential == "right"


async def test_it_reads_whole_answers() -> None:
    def use(client: genai.Client) -> Any:
        return client.models.generate_content(model="gpt-4.1", contents="hi")

    async with provider_of(Respond(text="one two")) as (run, _):
        answer = await run(use)
        assert answer.text == "one two"
        assert answer.usage_metadata.candidates_token_count == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_it_keeps_signed_calls_through_three_turns(stream: bool) -> None:
    turns = (
        Rule((Reasoning(3), CallTool(fragment=3)), When(requests=(1, 2))),
        Rule((Reasoning(2),), When(requests=(3,))),
    )

    def answered(client: genai.Client, contents: Any) -> Any:
        asked = {"model": "fast", "contents": contents, "config": CONFIG}
        if not stream:
            return client.models.generate_content(**asked).candidates[0].content
        chunks = client.models.generate_content_stream(**asked)
        parts = [part for c in chunks for part in c.candidates[0].content.parts or []]
        return types.Content(role="model", parts=parts)

    def use(client: genai.Client) -> Any:
        contents = [types.Content(role="user", parts=[types.Part(text="hi")])]
        for _ in range(3):
            content = answered(client, contents)
            contents.append(content)
            calls = [part.function_call for part in content.parts if part.function_call]
            results = [
                types.Part.from_function_response(name=call.name, response={"result": "rain"})
                for call in calls
            ]
            if results:
                contents.append(types.Content(role="user", parts=results))
        return contents

    async with provider_of(plan=Plan(turns)) as (run, provider):
        contents = await run(use)
        assert [record.status for record in provider.log] == [200] * 3
        assert any(part.thought_signature for part in contents[1].parts)


async def test_it_raises_its_own_errors() -> None:
    def whole(client: genai.Client) -> Any:
        return client.models.generate_content(model="fast", contents="hi")

    def unknown(client: genai.Client) -> Any:
        return client.models.generate_content(model="none", contents="hi")

    async with provider_of() as (run, _):
        with pytest.raises(errors.ClientError, match="Incorrect API key"):
            await run(whole, "AIza-wrong")
        with pytest.raises(errors.ClientError, match="does not exist") as caught:
            await run(unknown)
        assert caught.value.status == "NOT_FOUND"
    async with provider_of(Status(503)) as (run, _):
        with pytest.raises(errors.ServerError) as failed:
            await run(whole)
        assert failed.value.status == "UNAVAILABLE"


async def test_it_sees_an_error_inside_a_stream() -> None:
    def use(client: genai.Client) -> Any:
        return list(client.models.generate_content_stream(model="fast", contents="hi"))

    async with provider_of(InStreamError(1, message="Broken.")) as (run, _):
        with pytest.raises(errors.APIError, match="Broken"):
            await run(use)


# Our requests, by the client's own types. --------------------------------------------------------

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
FUNCTION = {"name": "look", "description": "d", "parameters": SCHEMA}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
HELD = {
    "dialect": "gemini",
    "parts": [
        {"kind": "thoughtSignature", "data": "c2ln", "tool": 0},
        {"kind": "thoughtSignature", "data": {"signature": "c2ln", "characters": 3}, "text": 4},
        {
            "kind": "executableCode",
            "data": {"executableCode": {"language": "PYTHON", "code": "1"}},
            "text": 9,
        },
    ],
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": ["Look:", IMAGE]},
    {"role": "assistant", "content": "One. Two.", "tool_calls": [CALL], KEY: HELD},
    {"role": "tool", "tool_call_id": "c", "content": "seen"},
    {"role": "user", "content": "x"},
]
FORMAT = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
REQUESTS = [
    ChatRequest("m", "Hi"),
    ChatRequest("m", CONVERSATION, tools=[{"type": "function", "function": FUNCTION}]),
    ChatRequest("m", "Hi", stop="x", seed=1, n=2, max_tokens=5, temperature=1, top_p=0.5),
    ChatRequest("m", "Hi", reasoning_effort="high", tool_choice="required"),
    ChatRequest("m", "Hi", tool_choice={"type": "function", "function": {"name": "look"}}),
    ChatRequest("m", "Hi", response_format=FORMAT),
]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-pro"])
def test_our_requests_are_those_of_its_types(request_: ChatRequest, model: str) -> None:
    url = BaseUrl.parse("https://generativelanguage.googleapis.com/v1beta")
    body = json.loads(Gemini().encode(request_, Endpoint("e", url), model))
    known = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}
    assert body.keys() <= known
    for content in [*body["contents"], body.get("systemInstruction", {"parts": []})]:
        types.Content.model_validate(content)
    if "generationConfig" in body:
        types.GenerationConfig.model_validate(body["generationConfig"])
    for tool in body.get("tools", ()):
        types.Tool.model_validate(tool)
    if "toolConfig" in body:
        types.ToolConfig.model_validate(body["toolConfig"])
