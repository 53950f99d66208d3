"""Message Batches: Anthropic's own client against the simulated provider, and ours by its types."""

import json
from pathlib import Path
from random import Random

import pytest
import trio

import streamnursery as sn
from streamnursery import batch
from streamnursery.simulator import Plan, Provider, Rule, Status, When, serve_loopback
from tests.support.simulator import MODELS

pytest.importorskip("anthropic", reason="installed by `make contract`")
import anthropic
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import BatchCreateParams, Request
from pydantic import BaseModel, ConfigDict, TypeAdapter, with_config

pytestmark = [
    pytest.mark.contract,
    # The client leaves its own generators to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]


def requests(count: int) -> list[Request]:
    return [
        {
            "custom_id": f"r{n}",
            "params": {
                "model": "fast",
                "max_tokens": 5,
                "messages": [{"role": "user", "content": f"Fact {n}"}],
            },
        }
        for n in range(count)
    ]


async def test_their_client_makes_lists_cancels_and_reads_batches() -> None:
    plan = Plan((Rule((Status(529),), When(model="fast", every=3)),))
    provider = Provider(dice=Random(1), models=MODELS, plan=plan)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        url = server.url.removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=url, api_key="sk", max_retries=0) as client:
            api = client.messages.batches
            made = await api.create(requests=requests(6))
            assert made.processing_status == "in_progress"
            assert made.request_counts.processing == 6
            while made.processing_status != "ended":
                made = await api.retrieve(made.id)
                await trio.sleep(0.05)
            _strict(MessageBatch, made.to_dict(mode="json"))
            results = [one async for one in await api.results(made.id)]
            kinds = {one.custom_id: one.result.type for one in results}
            assert sorted(kinds) == [f"r{n}" for n in range(6)]
            assert set(kinds.values()) == {"succeeded", "errored"}
            for one in results:
                _strict(MessageBatchIndividualResponse, one.to_dict(mode="json"))
            second = await api.create(requests=requests(40))
            cancelled = await api.cancel(second.id)
            assert cancelled.processing_status == "canceling"
            listed = [one.id async for one in api.list(limit=1)]
            assert listed == [second.id, made.id]
            await api.delete(made.id)
            with pytest.raises(anthropic.NotFoundError):
                await api.retrieve(made.id)
            with pytest.raises(anthropic.BadRequestError):
                await api.create(requests=[{**requests(1)[0], "custom_id": "a b"}])
        await server.stop(grace=60)


def _strict(kind: type[BaseModel], value: object) -> None:
    """It has the fields and the values of the type, and no other field."""
    kind.model_validate(value)
    assert isinstance(value, dict)
    assert set(value) <= set(kind.model_fields)


async def test_what_we_send_is_what_their_types_allow(tmp_path: Path) -> None:
    heard: list[bytes] = []

    class Listening(Provider):
        def begin(self, *args: object, **more: object) -> object:  # type: ignore[override]
            exchange = super().begin(*args, **more)  # type: ignore[arg-type]
            answer = exchange.answer

            def listening(body: bytes, now: float) -> object:
                if exchange.record.path.endswith("/batches") and body:
                    heard.append(body)
                return answer(body, now)

            exchange.answer = listening  # type: ignore[method-assign, assignment]
            return exchange

    provider = Listening(dice=Random(1), models=MODELS)
    rows = [
        {"id": f"row {n}", "model": "m", "prompt": f"Fact {n}", "max_tokens": 5, "stop": ["x"]}
        for n in range(3)
    ]
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        config = {
            "endpoints": {
                "main": {"url": server.url, "auth": "none", "dialect": "anthropic-messages"}
            },
            "models": {"m": {"routes": [{"endpoint": "main", "model": "fast"}]}},
        }
        async with sn.open_engine(config) as eng:
            progress = await batch.run(eng, rows, out=tmp_path / "out.jsonl", via="provider")
        assert (progress.error, progress.answered) == (None, 3)
        await server.stop(grace=60)
    (body,) = heard
    closed = with_config(ConfigDict(extra="forbid"))(BatchCreateParams)
    told = TypeAdapter(closed).validate_json(body)
    assert len(list(told["requests"])) == 3
    assert all(set(one) == {"custom_id", "params"} for one in json.loads(body)["requests"])
