"""OpenAI's clients for Python and Node against `sim` in a process of its own: streaming, usage,
tools, two choices, errors and Retry-After, the same for each."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trio

openai = pytest.importorskip("openai", reason="installed by `make contract`")

from tests.support.cli import start
from tests.support.peers import INSTALLED, needs

NODE_CLIENT = "npm/node_modules/openai"
pytestmark = [
    pytest.mark.contract,
    # The client leaves its own generators to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]
HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SCRIPT = """{"rules": [
  {"when": {"model": "claude-sonnet-4.5"}, "script": ["call_tool"]},
  {"when": {"model": "gemini-2.5-flash"}, "script": [{"status": {"code": 401}}]},
  {"when": {"model": "deepseek-v3.2", "requests": [1]},
   "script": [{"status": {"code": 429, "retry_after": 2}}]},
  {"when": {"model": "gpt-4.1"}, "script": [{"status": {"code": 429}}]}
]}"""
ERRORS = {
    "gemini-2.5-flash": "AuthenticationError",
    "none": "NotFoundError",
    "gpt-4.1": "RateLimitError",
}
NODE = """
const OpenAI = require(process.argv[2]).default;
const baseURL = process.argv[3], messages = [{role: "user", content: "hi"}];
const tools = [JSON.parse(process.argv[4])];
const client = new OpenAI({baseURL, apiKey: "any", maxRetries: 1});
const once = new OpenAI({baseURL, apiKey: "any", maxRetries: 0});
const name = model => once.chat.completions.create({model, messages})
  .then(() => "none", error => error.constructor.name);
(async () => {
  const began = performance.now();
  await client.chat.completions.create({model: "deepseek-v3.2", messages, max_tokens: 1});
  const waited = (performance.now() - began) / 1000;
  let text = "", usage = null;
  const stream = await client.chat.completions.create(
    {model: "fast", messages, seed: 1, stream: true, stream_options: {include_usage: true}});
  for await (const c of stream) { text += c.choices[0]?.delta.content ?? ""; usage ??= c.usage; }
  const choices = (await client.chat.completions.create(
    {model: "fast", messages, seed: 1, n: 2})).choices.map(c => c.message.content);
  const called = await client.chat.completions.stream(
    {model: "claude-sonnet-4.5", messages, tools}).finalChatCompletion();
  const call = called.choices[0].message.tool_calls[0].function;
  const errors = {};
  for (const model of JSON.parse(process.argv[5])) errors[model] = await name(model);
  console.log(JSON.stringify({text, usage: usage.completion_tokens, errors, waited, choices,
    tool: call.name, city: JSON.parse(call.arguments).city}));
})();
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "s.json").write_text(SCRIPT)
    with start(tmp_path, "sim", "--port", "0", "--json", "--script", "s.json") as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(30)


def check(told: dict[str, Any]) -> None:
    """What a client was told, the same for all of them."""
    assert told["waited"] >= 2  # its own first wait is at most half a second
    assert told["choices"][0] == told["text"] != told["choices"][1]
    assert told["usage"] == len(told["text"].split())
    assert (told["tool"], bool(told["city"])) == ("weather", True)
    assert told["errors"] == ERRORS


def test_the_blocking_client_is_served(url: str) -> None:
    told: dict[str, Any] = {"text": "", "errors": {}}
    with openai.OpenAI(base_url=url, api_key="any", max_retries=1) as client:
        create = client.chat.completions.create
        began = monotonic()
        create(model="deepseek-v3.2", messages=HI, max_tokens=1)
        told["waited"] = monotonic() - began
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        for chunk in create(model="fast", messages=HI, seed=1, **options):
            told["text"] += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            told["usage"] = chunk.usage and chunk.usage.completion_tokens
        whole = create(model="fast", messages=HI, seed=1, n=2)
        told["choices"] = [choice.message.content for choice in whole.choices]
        ask = client.chat.completions.stream
        with ask(model="claude-sonnet-4.5", messages=HI, tools=[TOOL]) as stream:
            told |= called(stream.get_final_completion())
        quick = client.with_options(max_retries=0).chat.completions.create
        for model in ERRORS:
            with pytest.raises(openai.APIStatusError) as caught:
                quick(model=model, messages=HI)
            told["errors"][model] = type(caught.value).__name__
    check(told)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_async_client_is_served(url: str, loop: str) -> None:
    run: Any = asyncio.run if loop == "asyncio" else lambda coroutine: trio.run(lambda: coroutine)
    run(converse(url))


async def converse(url: str) -> None:
    told: dict[str, Any] = {"text": "", "errors": {}}
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=1) as client:
        create = client.chat.completions.create
        began = monotonic()
        await create(model="deepseek-v3.2", messages=HI, max_tokens=1)
        told["waited"] = monotonic() - began
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        async for chunk in await create(model="fast", messages=HI, seed=1, **options):
            told["text"] += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            told["usage"] = chunk.usage and chunk.usage.completion_tokens
        whole = await create(model="fast", messages=HI, seed=1, n=2)
        told["choices"] = [choice.message.content for choice in whole.choices]
        ask = client.chat.completions.stream
        async with ask(model="claude-sonnet-4.5", messages=HI, tools=[TOOL]) as stream:
            told |= called(await stream.get_final_completion())
        quick = client.with_options(max_retries=0).chat.completions.create
        for model in ERRORS:
            with pytest.raises(openai.APIStatusError) as caught:
                await quick(model=model, messages=HI)
            told["errors"][model] = type(caught.value).__name__
    check(told)


def called(completion: Any) -> dict[str, Any]:
    call = completion.choices[0].message.tool_calls[0].function
    return {"tool": call.name, "city": json.loads(call.arguments)["city"]}


def test_twenty_requests_at_once_are_served(url: str) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="any") as client:
            create = client.chat.completions.create
            answers = await asyncio.gather(*(create(model="fast", messages=HI) for _ in range(20)))
            assert all(answer.choices[0].message.content for answer in answers)

    asyncio.run(main())


@needs(NODE_CLIENT, "node")
def test_the_client_for_node_is_served(url: str, tmp_path: Path) -> None:
    (tmp_path / "ask.cjs").write_text(NODE)
    words = (INSTALLED / NODE_CLIENT, url, json.dumps(TOOL), json.dumps(list(ERRORS)))
    ran = subprocess.run(
        ["node", tmp_path / "ask.cjs", *words], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    check(json.loads(ran.stdout))
