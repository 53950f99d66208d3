"""Ollama's own client against the simulated provider, and our requests against its types."""

import json
from random import Random
from typing import Any

import pytest
import trio

from streamnursery.simulator import (
    CallTool,
    InStreamError,
    Plan,
    Provider,
    Reasoning,
    serve_loopback,
)
from streamnursery.simulator.fault import Fault
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Endpoint
from streamnursery.wire.ollama_chat.client import OllamaChat
from tests.support.simulator import MODELS

pytest.importorskip("ollama", reason="installed by `make contract`")
import ollama
from ollama._types import ChatRequest as TheirRequest

pytestmark = [
    pytest.mark.contract,
    # What it leaves behind in the thread that it ran in.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ASKED: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "hi"}]}


async def asked(*script: Fault, stream: bool = True) -> tuple[Any, Provider]:
    provider = Provider(dice=Random(1), models=MODELS, plan=Plan.always(*script))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)

        def use() -> Any:
            client = ollama.Client(host=server.url.removesuffix("/v1"))
            try:
                answer = client.chat(**ASKED, stream=stream, think=True)
                return list(answer) if stream else answer
            finally:
                client._client.close()  # it has no way of its own

        try:
            return await trio.to_thread.run_sync(use), provider
        finally:
            await server.stop(grace=60)


async def test_it_streams_text_thoughts_and_calls() -> None:
    parts, provider = await asked(Reasoning(2))
    assert "".join(part.message.content or "" for part in parts) == provider.log[-1].intended()
    assert len("".join(part.message.thinking or "" for part in parts).split()) == 2
    assert (parts[-1].done, parts[-1].done_reason) == (True, "stop")
    reply = provider.log[-1].reply
    assert reply is not None
    assert parts[-1].eval_count == reply.output_tokens
    parts, _ = await asked(CallTool("get", arguments='{"a":1}', fragment=2))
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("get", {"a": 1})]


async def test_it_reads_whole_answers_and_meets_errors() -> None:
    answer, provider = await asked(stream=False)
    assert answer.message.content == provider.log[-1].intended()
    with pytest.raises(ExceptionGroup) as caught:
        await asked(InStreamError(1))
    assert isinstance(caught.value.exceptions[0], ollama.ResponseError)


def test_our_requests_are_of_its_types() -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where?"},
        {
            "role": "assistant",
            "content": "Wait.",
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    request = ChatRequest(
        "m",
        messages,
        max_tokens=5,
        temperature=0.1,
        top_p=0.9,
        stop=["x"],
        seed=3,
        reasoning_effort="high",
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        extra={"options": {"num_ctx": 4096}, "keep_alive": "5m"},
    )
    here = Endpoint("e", BaseUrl.parse("http://x.test/api"))
    made = json.loads(OllamaChat().encode(request, here, "qwen3"))
    theirs = TheirRequest.model_validate(made)
    assert made.keys() <= TheirRequest.model_fields.keys()
    assert set(made["options"]) <= set(ollama.Options.model_fields)
    ollama.Message.model_validate(theirs.messages[2])
    assert theirs.messages[2] == made["messages"][2]
