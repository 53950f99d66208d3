"""Amazon's own client against the simulated provider, and our requests against its model of the
API."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar

import pytest
import trio

from streamnursery.simulator import (
    CallTool,
    InStreamError,
    Plan,
    Provider,
    Reasoning,
    Split,
    serve_loopback,
)
from streamnursery.simulator.fault import Fault
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.settings import Endpoint
from streamnursery.wire.bedrock_converse.client import BedrockConverse
from tests.support.simulator import MODELS

pytest.importorskip("botocore", reason="installed by `make contract`")
import botocore.session
from botocore.config import Config
from botocore.exceptions import EventStreamError
from botocore.validate import ParamValidator

T = TypeVar("T")

pytestmark = [
    pytest.mark.contract,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # What it leaves behind in the thread that it ran in.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
ASKED = {"modelId": "fast", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}


@asynccontextmanager
async def provider_of(
    monkeypatch: pytest.MonkeyPatch, *script: Fault
) -> AsyncIterator[tuple[Callable[..., Any], Provider]]:
    """A way to use a client in a thread, and the provider that it talks to. The client signs its
    requests: it sends no bearer token without TLS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    provider = Provider(dice=Random(1), models=MODELS, plan=Plan.always(*script))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        url = server.url.removesuffix("/v1")

        async def run(use: Callable[[Any], T]) -> T:
            def work() -> T:
                session = botocore.session.Session()
                client = session.create_client(
                    "bedrock-runtime",
                    region_name="us-east-1",
                    endpoint_url=url,
                    config=Config(retries={"total_max_attempts": 1}),
                )
                try:
                    return use(client)
                finally:
                    client.close()

            return await trio.to_thread.run_sync(work)

        yield run, provider
        await server.stop(grace=60)


async def test_it_streams_every_kind_of_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def use(client: Any) -> Any:
        return list(client.converse_stream(**ASKED)["stream"])

    script = (Split((5, 50)), Reasoning(2), CallTool(fragment=3))
    async with provider_of(monkeypatch, *script) as (run, provider):
        events = await run(use)
        names = [next(iter(event)) for event in events]
        assert (names[0], names[-2:]) == ("messageStart", ["messageStop", "metadata"])
        assert events[-2]["messageStop"]["stopReason"] == "tool_use"
        deltas = [
            event["contentBlockDelta"]["delta"]
            for event in events
            if len(event) == 1 and "contentBlockDelta" in event
        ]
        thoughts = [one["reasoningContent"] for one in deltas if "reasoningContent" in one]
        assert [next(iter(one)) for one in thoughts] == ["text", "text", "signature"]
        (start,) = [
            event["contentBlockStart"]["start"] for event in events if "contentBlockStart" in event
        ]
        arguments = "".join(one["toolUse"]["input"] for one in deltas if "toolUse" in one)
        assert start["toolUse"]["name"]
        assert isinstance(json.loads(arguments), dict)
        reply = provider.log[-1].reply
        assert reply is not None
        assert events[-1]["metadata"]["usage"]["outputTokens"] == reply.output_tokens


async def test_it_reads_whole_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with provider_of(monkeypatch) as (run, provider):
        answer = await run(lambda client: client.converse(**ASKED))
        text = answer["output"]["message"]["content"][0]["text"]
        assert text == provider.log[-1].intended()
        assert answer["stopReason"] == "end_turn"


async def test_it_meets_an_exception_in_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def use(client: Any) -> Any:
        with pytest.raises(EventStreamError, match="throttlingException"):
            list(client.converse_stream(**ASKED)["stream"])

    async with provider_of(monkeypatch, InStreamError(2, code="rate_limit_error")) as (run, _):
        await run(use)


def test_our_requests_are_of_its_shapes() -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}}
    here = Endpoint("e", BaseUrl.parse("https://x.test"))
    png = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    file = {"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"}
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": ["Where?", png, {"type": "file", "file": file}]},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "c", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ],
            KEY: {
                "dialect": "bedrock-converse",
                "parts": [{"kind": "reasoningContent", "data": thought}],
            },
        },
        {"role": "tool", "tool_call_id": "c", "content": '{"rain": true}'},
    ]
    request = ChatRequest(
        "m",
        messages,
        max_tokens=5,
        temperature=0.1,
        top_p=0.9,
        stop=["x"],
        reasoning_effort="high",
        tools=[{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        metadata={"k": "v"},
    )
    made = json.loads(BedrockConverse().encode(request, here, "anthropic.claude"))
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    shape = model.operation_model("ConverseStream").input_shape
    report = ParamValidator().validate({**made, "modelId": "m"}, shape)
    assert not report.has_errors(), report.generate_report()
    assert made.keys() <= shape.members.keys()
