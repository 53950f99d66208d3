"""OpenAI's clients for Python and Node against `sim` in a process of its own."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

openai = pytest.importorskip("openai", reason="installed by `make contract`")
from openai.types.chat import ChatCompletionMessageParam

from tests.support.cli import start
from tests.support.peers import installed

pytestmark = pytest.mark.contract
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
SCRIPT = """{"rules": [
  {"when": {"model": "claude-sonnet-4.5"}, "script": ["call_tool"]},
  {"when": {"model": "gemini-2.5-flash"}, "script": [{"status": {"code": 401}}]},
  {"when": {"model": "deepseek-v3.2", "requests": [1]},
   "script": [{"status": {"code": 429, "retry_after": 2}}]},
  {"when": {"model": "gpt-4.1"}, "script": [{"status": {"code": 429}}]}
]}"""
NODE = """
const OpenAI = require(process.argv[2]).default;
const baseURL = process.argv[3], messages = [{role: "user", content: "hi"}];
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
  const whole = await client.chat.completions.create({model: "fast", messages, seed: 1, n: 2});
  const tools = [{type: "function", function: {name: "weather", parameters: {type: "object"}}}];
  const called = await client.chat.completions.stream(
    {model: "claude-sonnet-4.5", messages, tools}).finalChatCompletion();
  const errors = [await name("gemini-2.5-flash"), await name("none"), await name("gpt-4.1")];
  console.log(JSON.stringify({text, usage, errors, waited, choices: whole.choices.length,
    first: whole.choices[0].message.content,
    tool: called.choices[0].message.tool_calls[0].function.name}));
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


def test_the_blocking_client_is_served(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=1) as client:
        create = client.chat.completions.create
        began = monotonic()
        create(model="deepseek-v3.2", messages=HI, max_tokens=1)
        assert monotonic() - began >= 2  # its own first wait is at most half a second
        chunks = list(
            create(
                model="fast",
                messages=HI,
                seed=1,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert chunks[-1].usage is not None
        whole = create(model="fast", messages=HI, seed=1, n=2)
        assert [c.index for c in whole.choices] == [0, 1]
        assert text and whole.choices[0].message.content
        quick = client.with_options(max_retries=0).chat.completions.create
        for model, error in (
            ("gemini-2.5-flash", openai.AuthenticationError),
            ("none", openai.NotFoundError),
            ("gpt-4.1", openai.RateLimitError),
        ):
            with pytest.raises(error):
                quick(model=model, messages=HI)


def test_the_client_on_asyncio_is_served(url: str) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="any") as client:
            stream = await client.chat.completions.create(model="fast", messages=HI, stream=True)
            chunks = [chunk async for chunk in stream]
            assert any(c.choices and c.choices[0].finish_reason == "stop" for c in chunks)
            many = [client.chat.completions.create(model="fast", messages=HI) for _ in range(20)]
            assert all(c.choices[0].message.content for c in await asyncio.gather(*many))
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="none", messages=HI)

    asyncio.run(main())


def test_the_client_for_node_is_served(url: str, tmp_path: Path) -> None:
    package = installed("npm/node_modules/openai")
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (tmp_path / "ask.cjs").write_text(NODE)
    ran = subprocess.run(
        [node, tmp_path / "ask.cjs", package, url], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["errors"] == ["AuthenticationError", "NotFoundError", "RateLimitError"]
    assert told["choices"] == 2 and told["tool"] == "weather"
    assert told["text"] and told["first"] and told["usage"]["completion_tokens"] > 0
    assert told["waited"] >= 2
