"""What a configuration says of requests that do not say it themselves."""

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import streamnursery as sn
from streamnursery.config import config_from_mapping
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.request_defaults import FIELDS, RequestDefaults
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import PACED, scene, virtual

POINTS = {"test": 6, "proof": 30, "soak": None}
DEFAULTS: dict[str, Any] = {
    "temperature": 0.5,
    "max_tokens": 7,
    "extra": {"top_k": 40, "seed": 1},
    "model": "m",
}
MODEL: dict[str, Any] = {"temperature": 0.25, "extra": {"top_k": 3}, "reasoning_effort": "low"}

defaults = st.builds(
    RequestDefaults,
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 100),
    top_p=st.none() | st.floats(0, 1),
    reasoning_effort=st.none() | st.sampled_from(["low", "high"]),
    extra=st.dictionaries(st.sampled_from(["top_k", "seed", "user"]), st.integers(), max_size=3),
)
requests = st.builds(
    sn.ChatRequest,
    model=st.just("m"),
    messages=st.just("Hi"),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 100),
    seed=st.none() | st.integers(),
    extra=st.dictionaries(st.sampled_from(["top_k", "seed"]), st.integers(), max_size=2),
)


def said(request: sn.ChatRequest) -> dict[str, Any]:
    """All that a request says, beside its model and messages."""
    fields = {name: getattr(request, name) for name in (*FIELDS, "seed")}
    return {**{k: v for k, v in fields.items() if v is not None}, "extra": dict(request.extra)}


@virtual
async def test_a_request_is_sent_with_what_its_model_and_the_defaults_say() -> None:
    async with scene(profile=PACED, model=MODEL, defaults=DEFAULTS) as place:
        found = []
        own: dict[str, Any] = {"temperature": 0.0, "seed": 9, "extra": {"top_k": 1}}
        for model, fields in (("m", {}), ("m", own), ("main/m", {})):
            async with place.engine.stream(model, "Hi", **fields) as stream:
                answer = await stream.completion()
            assert answer.usage is not None
            assert answer.usage.output_tokens == 7, "the provider obeys max_tokens"
            found.append(said(stream.request))
    of_model = {"temperature": 0.25, "max_tokens": 7, "reasoning_effort": "low"}
    assert found == [
        {**of_model, "extra": {"top_k": 3, "seed": 1}},
        {**of_model, "temperature": 0.0, "seed": 9, "extra": {"top_k": 1}},
        {"temperature": 0.5, "max_tokens": 7, "extra": {"top_k": 40, "seed": 1}},
    ]


@given(requests, defaults, defaults)
def test_a_request_goes_before_its_model_and_that_before_the_defaults(
    request: sn.ChatRequest, model: RequestDefaults, engine: RequestDefaults
) -> None:
    filled = model.over(engine).filled(request)
    for name in FIELDS:
        first = (getattr(holder, name) for holder in (request, model, engine))
        assert getattr(filled, name) == next((v for v in first if v is not None), None)
    for name in ("top_k", "seed", "user"):
        field = getattr(request, name, None)
        holders = [request.extra, *([] if field is not None else [model.extra, engine.extra])]
        values = [holder[name] for holder in holders if name in holder]
        assert filled.extra.get(name) == (values[0] if values else None)
    assert filled.seed == request.seed
    assert model.over(engine).filled(filled) == filled


@virtual
async def test_a_request_without_a_model_goes_to_the_default_one_or_is_refused() -> None:
    async with scene(profile=PACED, defaults=DEFAULTS) as place:
        answer = await place.engine.complete(prompt="Hi")
        assert answer.route == "main/m"
        assert place.engine.estimate(prompt="Hi").output_tokens == 7
    async with scene(profile=PACED) as place:
        with pytest.raises(sn.RequestError, match=r"`defaults\.model` is not set"):
            await place.engine.complete(prompt="Hi")


def test_from_asyncio_and_threads_the_defaults_hold_too() -> None:
    options: dict[str, Any] = {"model": MODEL, "defaults": DEFAULTS}

    async def main() -> None:
        async with aio_scene(**options) as (eng, _):
            async with eng.stream(prompt="Hi") as stream:
                await stream.completion()
            assert said(stream.request)["temperature"] == 0.25

    run(main)
    with sync_scene(**options) as (eng, _):
        answer = eng.complete(prompt="Hi")
        assert answer.usage is not None
        assert answer.usage.output_tokens == 7


@virtual
async def test_the_model_of_a_task_brings_its_defaults() -> None:
    async with scene(profile=PACED, model=MODEL, defaults=DEFAULTS) as place:
        async with place.engine.stream("auto", "Hi") as stream:
            await stream.completion()
        assert said(stream.request)["reasoning_effort"] == "low"


@virtual
async def test_outcomes_have_the_request_as_it_was_given() -> None:
    async with scene(profile=PACED, model=MODEL, defaults=DEFAULTS) as place:
        request = sn.ChatRequest("m", "Hi")
        [outcome] = await place.engine.settle([request])
        assert outcome.request is request


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"temperature": 3}, "temperature: must be"),
        ({"max_tokens": 0}, "max_tokens: must be"),
        ({"extra": {"stream": False}}, 'extra: may not contain "stream"'),
        ({"extra": {"top_p": 1}}, "a key of its own beside `extra`"),
        ({"extra": 5}, "extra: must be a table of request fields"),
        ({"reasoning_effort": ["low"]}, "reasoning_effort: must be printable text"),
    ],
)
@pytest.mark.parametrize("place", ["defaults", "model"])
def test_a_default_that_no_request_could_have_is_a_mistake_of_the_configuration(
    table: dict[str, Any], message: str, place: str
) -> None:
    mapping = {"defaults": table} if place == "defaults" else {"models": {"m": table}}
    with pytest.raises(sn.ConfigError) as caught:
        config_from_mapping(mapping, environ={})
    assert message in str(caught.value)


def test_a_request_with_defaults_that_is_cancelled_anywhere_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        config = world.config(max_streams=1, default_model="gpt-4.1")
        config = attrs.evolve(config, request=RequestDefaults(max_tokens=3))
        async with world.open_engine(config) as eng:
            with scope:
                await eng.complete(prompt="Hi", tenant="a")
                answer = await eng.complete(prompt="Hi", tenant="b")
                assert answer.usage is not None
                assert answer.usage.output_tokens == 3
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)
