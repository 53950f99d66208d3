"""Anthropic's own client against the simulated provider, and our requests against its types."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

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
from streamnursery.wire.anthropic_messages.client import AnthropicMessages
from tests.support.simulator import MODELS

pytest.importorskip("anthropic", reason="installed by `make contract`")
import anthropic
from anthropic.types import MessageParam, ToolParam
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from pydantic import ConfigDict, TypeAdapter, with_config

pytestmark = [
    pytest.mark.contract,
    # The client leaves its own generators to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]
TOOL: ToolParam = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
HI: list[MessageParam] = [{"role": "user", "content": "hi"}]


@asynccontextmanager
async def client_of(
    *script: Fault, plan: Plan | None = None, key: str = "sk-right"
) -> AsyncIterator[tuple[anthropic.AsyncAnthropic, Provider]]:
    """A client and its provider, all of whose connections end before this does."""
    provider = Provider(
        dice=Random(1), models=MODELS, plan=plan or Plan.always(*script), key=Secret("sk-right")
    )
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        url = server.url.removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=1) as client:
            yield client, provider
        await server.stop(grace=60)


async def test_it_streams_text_and_usage() -> None:
    async with (
        client_of(Crlf(), Split((5, 50))) as (client, provider),
        client.messages.stream(model="fast", max_tokens=50, messages=HI) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
        assert text == provider.log[-1].intended()
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens == 5
        assert provider.log[-1].path == "/v1/messages"
        assert provider.log[-1].credential == "right"


async def test_it_reads_whole_answers() -> None:
    async with client_of(Respond(text="one two")) as (client, provider):
        message = await client.messages.create(model="gpt-4.1", max_tokens=9, messages=HI)
        (block,) = message.content
        assert block.type == "text"
        assert block.text == "one two"
        assert message.usage.output_tokens == 2
        assert message._request_id == provider.log[-1].id


@pytest.mark.parametrize("stream", [True, False])
async def test_it_keeps_thoughts_and_calls_through_three_turns(stream: bool) -> None:
    turns = (
        Rule((Reasoning(3), CallTool(fragment=3)), When(requests=(1, 2))),
        Rule((Reasoning(2),), When(requests=(3,))),
    )
    async with client_of(plan=Plan(turns)) as (client, provider):
        messages = list(HI)
        for _ in range(3):
            asked: dict[str, Any] = {
                "model": "fast",
                "max_tokens": 2000,
                "messages": messages,
                "tools": [TOOL],
                "thinking": {"type": "enabled", "budget_tokens": 1024},
            }
            if stream:
                async with client.messages.stream(**asked) as events:
                    answer = await events.get_final_message()
            else:
                answer = await client.messages.create(**asked)
            assert answer.content[0].type == "thinking"
            messages.append({"role": "assistant", "content": answer.content})
            results: Any = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "rain"}
                for block in answer.content
                if block.type == "tool_use"
            ]
            messages += [{"role": "user", "content": results}] if results else []
        assert answer.stop_reason == "end_turn"
        assert [record.status for record in provider.log] == [200] * 3


async def test_it_raises_its_own_errors() -> None:
    async with client_of(key="sk-wrong") as (client, _):
        with pytest.raises(anthropic.AuthenticationError, match="Incorrect API key"):
            await client.messages.create(model="fast", max_tokens=9, messages=HI)
    async with client_of() as (client, _):
        with pytest.raises(anthropic.NotFoundError, match="does not exist"):
            await client.messages.create(model="none", max_tokens=9, messages=HI)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            await client.messages.create(model="fast", max_tokens=0, messages=HI)
    async with client_of(InStreamError(1, code="overloaded_error", message="Broken.")) as (c, _):
        with pytest.raises(anthropic.APIStatusError, match="Broken") as caught:
            async with c.messages.stream(model="fast", max_tokens=9, messages=HI) as stream:
                await stream.get_final_message()
        assert caught.value.type == "overloaded_error"


async def test_it_obeys_retry_after() -> None:
    plan = Plan((Rule((Status(429, 0.01),), When(requests=(1,))),))
    async with client_of(plan=plan) as (client, provider):
        await client.messages.create(model="fast", max_tokens=9, messages=HI)
        assert [record.status for record in provider.log] == [429, 200]


# Our requests, by the client's own types. --------------------------------------------------------

HELD = {
    "dialect": "anthropic-messages",
    "reasoning": "Hm.",
    "parts": [
        {"kind": "thinking", "data": {"type": "thinking", "signature": "s"}, "reasoning": 3},
        {
            "kind": "redacted_thinking",
            "data": {"type": "redacted_thinking", "data": "x"},
            "reasoning": 3,
        },
        {
            "kind": "server_tool_use",
            "data": {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            "text": 3,
        },
    ],
}
FUNCTION = {"name": "look", "description": "d", "parameters": TOOL["input_schema"], "strict": True}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
FILE = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}
LINK = {"type": "image_url", "image_url": "https://e.test/a.png"}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": ["Look:", IMAGE, LINK, {"type": "file", "file": FILE}]},
    {"role": "assistant", "content": "One. Two.", "tool_calls": [CALL], KEY: HELD},
    {"role": "tool", "tool_call_id": "c", "content": "seen"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
    },
]
REQUESTS = [
    ChatRequest("m", "Hi"),
    ChatRequest("m", CONVERSATION, tools=[{"type": "function", "function": FUNCTION}]),
    # Its types have no temperature and no top_p any more, which older models take.
    ChatRequest("m", "Hi", stop="x", user="u", tool_choice="required"),
    ChatRequest("m", "Hi", reasoning_effort="high", tool_choice="none"),
    ChatRequest("m", "Hi", tool_choice={"type": "function", "function": {"name": "look"}}),
    ChatRequest("m", "Hi", response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("thinking", ["budget", "adaptive"])
def test_our_requests_are_those_of_its_types(request_: ChatRequest, thinking: str) -> None:
    url = BaseUrl.parse("https://api.anthropic.com/v1")
    endpoint = Endpoint("e", url, options={"thinking": thinking})
    body = json.loads(AnthropicMessages().encode(request_, endpoint, "claude-x"))
    strict = with_config(ConfigDict(extra="forbid"))(MessageCreateParamsStreaming)
    told = TypeAdapter(strict).validate_python(body)
    assert {name: list(v) if name in LAZY else v for name, v in told.items()}.keys() == body.keys()
    for message in told["messages"]:
        content = message["content"]
        assert isinstance(content, str) or list(content)


LAZY = {"messages", "tools", "system"}
