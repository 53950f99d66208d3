"""The rows of the providers' table, and what each of them stands on."""

import json
from typing import Any

import pytest

from streamnursery.config.providers import PROVIDERS, UNTESTED, ProviderPreset
from streamnursery.values.errors import RequestError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.prices import BUILT_IN
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Endpoint
from streamnursery.wire.openai_chat.client import OpenAIChat

ROWS = {preset.name: preset for preset in PROVIDERS}
MISTRAL = """
model messages temperature top_p max_tokens stream stop random_seed metadata response_format tools
tool_choice presence_penalty frequency_penalty min_tokens repetition_penalty top_k logprobs
top_logprobs prompt_logprobs top_prompt_logprobs n prediction parallel_tool_calls reasoning_effort
prompt_mode guardrails prompt_cache_key service_tier safe_prompt
"""
"""Fields of `ChatCompletionStreamRequest` in mistralai 3.7.0, made from Mistral's specification.
Its server answers 422 to any other."""
TOOL = {"type": "function", "function": {"name": "look"}}
FULL = ChatRequest(
    "m",
    "Hi",
    max_tokens=5,
    temperature=0.5,
    top_p=0.9,
    stop=["x"],
    seed=1,
    n=1,
    tools=[TOOL],
    tool_choice="auto",
    response_format={"type": "text"},
    reasoning_effort="high",
    metadata={"a": "b"},
)


def endpoint(row: ProviderPreset) -> Endpoint:
    known = {option.name for option in OpenAIChat.options}
    options = {name: value for name, value in row.options if name in known}
    return Endpoint(row.name, BaseUrl.parse(row.url), options=options)


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_every_row_says_what_it_stands_on(row: ProviderPreset) -> None:
    assert row.evidence.startswith("recorded: ")
    assert row.name not in UNTESTED


def test_what_is_sent_to_mistral_are_fields_that_its_server_knows() -> None:
    body = json.loads(OpenAIChat().encode(FULL, endpoint(ROWS["mistral"]), "mistral-large"))
    assert body.keys() <= set(MISTRAL.split())
    assert body["random_seed"] == 1


def test_what_mistral_refuses_is_not_sent_there() -> None:
    request = ChatRequest("m", "Hi", user="u")
    with pytest.raises(RequestError, match="'mistral' has no request field 'user'"):
        OpenAIChat().encode(request, endpoint(ROWS["mistral"]), "mistral-large")


def test_ids_of_other_providers_are_short_at_mistral_and_still_match() -> None:
    calls = [
        {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for call_id in ("toolu_01QE1WLsSVp5hy5Q3GmGTmjP", "D681PevKs")
    ]
    messages: list[Any] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in calls),
    ]
    there = endpoint(ROWS["mistral"])
    body = json.loads(OpenAIChat().encode(ChatRequest("m", messages), there, "mistral-large"))
    _, said, *results = body["messages"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == ids
    assert ids[1] == "D681PevKs"
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)
    assert messages[1]["tool_calls"] is calls


def test_openai_gets_the_name_of_the_bound_that_its_reasoning_models_take() -> None:
    body = json.loads(OpenAIChat().encode(FULL, endpoint(ROWS["openai"]), "o3"))
    assert body["max_completion_tokens"] == 5
    assert body["seed"] == 1
    assert body["stream_options"] == {"include_usage": True}


def test_the_spellings_of_the_price_table_are_known_where_the_api_has_others() -> None:
    own = {other for row in PROVIDERS for other, _ in row.spellings}
    assert {name for name in BUILT_IN if "." in name and name.startswith(("claude", "deep"))} <= own
