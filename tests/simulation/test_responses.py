"""The Responses dialect and the simulated provider's /v1/responses, through the whole engine."""

import json
from random import Random
from typing import Any

import pytest

from streamnursery import ChatRequest, ModelError, ServerError, TruncatedStreamError
from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    CallTool,
    Cut,
    InStreamError,
    Plan,
    Provider,
    Reasoning,
    Refuse,
    Reset,
    Respond,
    Rule,
    Stall,
    When,
)
from streamnursery.testing import World
from streamnursery.values.errors import (
    ContentError,
    EngineError,
    IdleTimeoutError,
    MalformedChunkError,
)
from streamnursery.values.events import Restarted
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream

ENDPOINT = Endpoint("sim", BaseUrl.parse("http://sim.test/v1"), dialect="openai-responses")
CONFIG = EngineConfig(endpoints={"sim": ENDPOINT}, default_endpoint="sim")
TEXT = Respond(text="Eight words in all, and a full stop.")


def ask(*script: Any, seed: int = 3, **fields: Any) -> Any:
    """The completion of one request, or what ended it."""
    world = World(seed, plan=Plan.always(*script))

    async def main(world: World) -> Any:
        async with world.open_engine(CONFIG) as eng:
            try:
                return await eng.complete(
                    ChatRequest(**{"model": "fast", "messages": HI, **fields})
                )
            except EngineError as error:
                return error

    return world.run(main)


HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "get", "parameters": {"properties": {"x": {}}}}}


def test_an_answer_comes_whole_with_its_usage_and_names() -> None:
    completion = ask(TEXT)
    assert completion.text == TEXT.text
    assert completion.finish_reason == "completed"
    assert completion.usage.output_tokens == 8
    assert completion.response_id == "resp_sim-1"
    assert completion.model == "fast"


def test_thoughts_refusals_and_calls_come_as_what_they_are() -> None:
    thought = ask(Reasoning(4), TEXT)
    assert (len(thought.reasoning.split()), thought.text) == (4, TEXT.text)
    assert ask(Refuse(), TEXT).choices[0].refusal == TEXT.text
    called = ask(CallTool("get", arguments='{"x":[1,2]}'), CallTool("put"), tools=[TOOL])
    assert [(c.name, c.arguments) for c in called.tool_calls] == [
        ("get", '{"x":[1,2]}'),
        ("put", "{}"),
    ]
    assert all(call.id for call in called.tool_calls)


def test_a_limit_of_tokens_gives_an_incomplete_answer_that_is_whole() -> None:
    completion = ask(TEXT, max_tokens=3)
    assert completion.text == "Eight words in"
    assert completion.finish_reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Cut(3), EngineError),
        (Cut(3, how="end"), TruncatedStreamError),
        (Reset(3), EngineError),
        (InStreamError(3), ServerError),
        (InStreamError(3, code="invalid_prompt", done=True), ContentError),
        (BadJson(3), MalformedChunkError),
        (Stall(3, pings=1.0), IdleTimeoutError),
    ],
)
def test_a_fault_in_the_middle_is_one_typed_error_with_the_partial(
    fault: Any, kind: type[EngineError]
) -> None:
    error = ask(fault, TEXT, patience=Patience(idle=5.0), retries=Retries(attempts=1))
    assert isinstance(error, kind)
    assert error.partial is not None
    assert error.partial.text == "Eight words in"


def test_bytes_that_are_no_utf8_cost_a_sign_and_not_the_answer() -> None:
    assert ask(BadUtf8(1), TEXT).text == "Eight\ufffd in all, and a full stop."


def test_a_fault_before_the_first_token_is_tried_again() -> None:
    world = World(plan=Plan((Rule((Cut(0),), When(requests=(1, 2))),)))

    async def main(world: World) -> None:
        async with world.open_engine(CONFIG) as eng:
            async with eng.stream("fast", "Hi") as stream:
                events = [event async for event in stream]
                assert len(stream.attempts) == 3
            assert not any(isinstance(event, Restarted) for event in events)

    world.run(main)


def test_what_the_api_does_not_know_is_the_callers_error() -> None:
    assert isinstance(ask(model="fats", seed=1), ModelError)
    assert "stop" in str(ask(stop="x"))


# Background responses, without an engine: what a resumed stream will find. ------------------------


class Client:
    """Asks a provider without any network."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.provider = Provider(dice=Random(1), plan=plan)
        self.provider.elapsed(0.0)

    def ask(self, method: str, path: str, body: object = None, now: float = 0.0) -> list[Any]:
        """The steps of the answer."""
        exchange = self.provider.begin(method, path, (), now)
        return list(exchange.answer(b"" if body is None else json.dumps(body).encode(), now))

    def body(self, *question: Any, **options: Any) -> bytes:
        data = b"".join(s.data for s in self.ask(*question, **options) if hasattr(s, "data"))
        return data.partition(b"\r\n\r\n")[2]


def unchunked(body: bytes) -> bytes:
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        out += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return out


ASK = {"model": "sim/fast?respond=5", "input": "Hi", "stream": True, "background": True}


def test_a_background_response_can_be_taken_up_after_any_event() -> None:
    client = Client()
    first = unchunked(client.body("POST", "/v1/responses", ASK))
    records = [record + b"\n\n" for record in first.split(b"\n\n") if record]
    for count in range(len(records)):
        decoder = OpenAIResponsesStream()
        decoder.feed(b"".join(records[:count]))
        after = "" if decoder.number is None else f"&starting_after={decoder.number}"
        rest = client.body("GET", f"/v1/responses/resp_sim-1?stream=true{after}", now=9.0)
        assert unchunked(rest) == b"".join(records[count:])


def test_a_background_response_is_made_whether_or_not_the_client_stays() -> None:
    client = Client()
    question = {**ASK, "model": "gpt-4.1?respond=5"}
    client.ask("POST", "/v1/responses", question)
    path = "/v1/responses/resp_sim-1"
    assert json.loads(client.body("GET", path))["status"] == "in_progress"
    assert json.loads(client.body("GET", path, now=99.0))["status"] == "completed"
    client.ask("POST", "/v1/responses", question, now=100.0)
    number = client.provider.log[-1].number
    path = f"/v1/responses/resp_sim-{number}"
    assert json.loads(client.body("POST", f"{path}/cancel", now=100.1))["status"] == "cancelled"
    rest = unchunked(client.body("GET", f"{path}?stream=true", now=101.0))
    assert b"response.cancelled" in rest
    assert b"response.completed" not in rest


def test_a_foreground_response_is_kept_for_its_words_and_not_for_its_stream() -> None:
    client = Client()
    client.ask("POST", "/v1/responses", {**ASK, "background": False})
    assert b"background=true" in client.body("GET", "/v1/responses/resp_sim-1?stream=true")
    more = {"model": "fast", "input": "And?", "previous_response_id": "resp_sim-1"}
    assert json.loads(client.body("POST", "/v1/responses", more))["status"] == "completed"
    client.ask("POST", "/v1/responses", {**ASK, "store": False})
    lost = {**more, "previous_response_id": f"resp_sim-{client.provider.log[-1].number}"}
    assert b"previous_response_not_found" in client.body("POST", "/v1/responses", lost)


@pytest.mark.parametrize(
    "body",
    [b"x", b"[]", b'{"model":"fast"}', b'{"model":"fast","input":[1]}', b'{"input":"x"}'],
)
def test_questions_that_are_none_are_refused(body: bytes) -> None:
    client = Client()
    exchange = client.provider.begin("POST", "/v1/responses", (), 0.0)
    step: Any = next(exchange.answer(body, 0.0))
    assert step.data.startswith(b"HTTP/1.1 400")


def test_items_of_a_question_are_the_messages_of_a_conversation() -> None:
    client = Client()
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Look"}, {"type": "x"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "a", "name": "get", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "42"},
    ]
    choice = {"type": "function", "name": "get"}
    tools = [{"type": "function", "name": "get"}, {"type": "web_search"}]
    question = {"model": "fast", "input": items, "instructions": "Be brief"}
    said = client.body("POST", "/v1/responses", question | {"tools": tools, "tool_choice": choice})
    (call,) = json.loads(said)["output"]
    assert (call["type"], call["name"]) == ("function_call", "get")
