"""OpenAI's own client against the simulated provider: who must be fooled verifies the fake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from streamnursery.simulator import (
    CallTool,
    Crlf,
    InStreamError,
    Plan,
    Provider,
    Respond,
    Rule,
    Split,
    Status,
    When,
    serve_loopback,
)
from streamnursery.simulator.fault import Fault
from streamnursery.values.secret import Secret
from tests.support.simulator import MODELS

pytest.importorskip("openai", reason="installed by `make contract`")
import openai
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)

pytestmark = [
    pytest.mark.contract,
    # The client leaves its own generators to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


@asynccontextmanager
async def client_of(
    *script: Fault, plan: Plan | None = None, key: str = "sk-right"
) -> AsyncIterator[tuple[openai.AsyncOpenAI, Provider]]:
    """A client and its provider, all of whose connections end before this does."""
    provider = Provider(
        dice=Random(1), models=MODELS, plan=plan or Plan.always(*script), key=Secret("sk-right")
    )
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        async with openai.AsyncOpenAI(base_url=server.url, api_key=key, max_retries=1) as client:
            yield client, provider
        await server.stop(grace=60)


async def test_it_streams_text_and_usage() -> None:
    async with client_of(Crlf(), Split((5, 50))) as (client, provider):
        stream = await client.chat.completions.create(
            model="sim/fast", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == provider.expected_text({"model": "fast", "messages": HI})
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 5
        assert chunks[-2].choices[0].finish_reason == "stop"


async def test_it_reads_whole_answers_and_reuses_connections() -> None:
    async with client_of(Respond(text="one two")) as (client, provider):
        for _ in range(3):
            completion = await client.chat.completions.create(model="gpt-4.1", messages=HI, n=2)
            assert [choice.message.content for choice in completion.choices] == ["one two"] * 2
            assert completion.usage is not None
            assert completion.usage.completion_tokens == 4
            assert completion._request_id == provider.log[-1].id
        assert provider.log[0].headers["x-stainless-retry-count"] == "0"
        assert provider.log[0].credential == "right"


@pytest.mark.parametrize("stream", [True, False])
async def test_it_puts_tool_calls_together(stream: bool) -> None:
    async with client_of(CallTool(fragment=3)) as (client, _):
        if stream:
            asked = client.chat.completions.stream(model="fast", messages=HI, tools=[TOOL])
            async with asked as events:
                whole: ChatCompletion = await events.get_final_completion()
        else:
            whole = await client.chat.completions.create(model="fast", messages=HI, tools=[TOOL])
        calls = whole.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert calls[0].function.name == "weather"
        assert calls[0].function.arguments.startswith('{"city":"')


async def test_it_lists_models() -> None:
    async with client_of() as (client, _):
        assert [model.id async for model in client.models.list()] == [
            "sim/fast",
            "steady",
            "gpt-4.1",
        ]
        assert (await client.models.retrieve("gpt-4.1")).owned_by == "sim"


async def test_it_raises_its_own_errors() -> None:
    async with client_of(key="sk-wrong") as (client, _):
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            await client.models.list()
    async with client_of() as (client, _):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="none", messages=HI)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="fast", messages=HI, n=999)
        assert caught.value.param == "n"
    async with client_of(InStreamError(1, message="Broken.")) as (client, _):
        stream = await client.chat.completions.create(model="fast", messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="Broken"):
            [chunk async for chunk in stream]


async def test_it_obeys_retry_after() -> None:
    plan = Plan((Rule((Status(429, 0.01),), When(requests=(1,))),))
    async with client_of(plan=plan) as (client, provider):
        await client.chat.completions.create(model="fast", messages=HI)
        assert [record.status for record in provider.log] == [429, 200]
        assert provider.log[1].headers["x-stainless-retry-count"] == "1"


async def test_closing_its_stream_is_noticed() -> None:
    async with client_of() as (client, provider):
        stream = await client.chat.completions.create(
            model="fast?stall=2", messages=HI, stream=True
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
    assert provider.log[0].aborted
