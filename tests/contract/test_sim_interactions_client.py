"""Google's client of the Interactions API against the simulated provider, and our requests against
its types."""

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
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint
from streamnursery.wire.gemini_interactions.client import GeminiInteractions
from tests.support.simulator import MODELS

pytest.importorskip("google.genai", reason="installed by `make contract`")
import pydantic
from google import genai
from google.genai import types
from google.genai._gaos.types import interactions

T = TypeVar("T")

pytestmark = [
    pytest.mark.contract,
    # What it leaves behind in the thread that it ran in.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@asynccontextmanager
async def provider_of(*script: Fault) -> AsyncIterator[tuple[Callable[..., Any], Provider]]:
    """A way to use a client in a thread, and the provider that it talks to."""
    provider = Provider(
        dice=Random(1), models=MODELS, plan=Plan.always(*script), key=Secret("AIza-right")
    )
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        url = server.url.removesuffix("/v1")

        async def run(use: Callable[[genai.Client], T]) -> T:
            def work() -> T:
                options = types.HttpOptions(base_url=url)
                with genai.Client(api_key="AIza-right", http_options=options) as client:
                    return use(client)

            return await trio.to_thread.run_sync(work)

        yield run, provider
        await server.stop(grace=60)


async def test_it_streams_steps() -> None:
    def use(client: genai.Client) -> Any:
        asked = client.interactions.create(model="fast", input="hi", stream=True)
        return [event.model_dump() for event in asked]

    async with provider_of(Crlf(), Split((5, 50)), Reasoning(2), CallTool(fragment=3)) as (
        run,
        provider,
    ):
        events = await run(use)
        kinds = [event["event_type"] for event in events]
        assert kinds[:2] == ["interaction.created", "interaction.status_update"]
        assert kinds[-1] == "interaction.completed"
        deltas = [event["delta"] for event in events if event["event_type"] == "step.delta"]
        names = ["thought_summary", "thought_signature", "arguments_delta"]
        assert list(dict.fromkeys(delta["type"] for delta in deltas)) == names
        assert not any(delta.get("is_unknown") for delta in deltas)
        starts = [event["step"]["type"] for event in events if event["event_type"] == "step.start"]
        assert starts == ["thought", "function_call"]
        last = events[-1]["interaction"]
        assert last["status"] == "requires_action"
        assert last["usage"]["total_thought_tokens"] == 2
        assert provider.log[-1].credential == "right"


async def test_it_reads_whole_answers_and_asks_for_them_again() -> None:
    def use(client: genai.Client) -> Any:
        made = client.interactions.create(model="fast", input="hi", background=True)
        again = client.interactions.get(made.id, stream=True, last_event_id="e2")
        return made, [event.model_dump() for event in again]

    async with provider_of() as (run, _):
        made, events = await run(use)
        assert made.id.startswith("v1_")
        assert events[0]["event_id"] == "e3"
        assert events[-1]["event_type"] == "interaction.completed"


def test_our_requests_are_of_its_types() -> None:
    here = Endpoint("e", BaseUrl.parse("https://x.test/v1beta"))
    thought = {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": "Hm"}]}
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Where?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "c", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ],
            KEY: {
                "dialect": "gemini-interactions",
                "parts": [{"kind": "thought", "data": thought}],
            },
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
        tools=[{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        metadata={"k": "v"},
        extra={"background": True},
    )
    made = json.loads(GeminiInteractions().encode(request, here, "gemini-3-pro"))
    value = interactions.CreateModelInteraction.model_validate(made)
    plain = value.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert not unknown(value)
    for name in ("input", "generation_config", "tools", "system_instruction", "response_format"):
        assert plain[name] == made[name]


def unknown(value: object) -> bool:
    """Whether a type has taken something that it does not know."""
    if isinstance(value, pydantic.BaseModel):
        inner = [getattr(value, name) for name in type(value).model_fields]
        return bool(getattr(value, "is_unknown", False) or value.model_extra) or any(
            unknown(one) for one in inner
        )
    if isinstance(value, dict):
        return any(unknown(one) for one in value.values())
    return isinstance(value, list) and any(unknown(one) for one in value)
