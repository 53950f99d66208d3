"""Answers as values of a class: what is asked for in four languages, and what comes of it."""

import dataclasses
import json
import pickle
from typing import Annotated, Any, TypedDict

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import streamnursery as sn
from streamnursery.records import Timings
from streamnursery.simulator import Respond
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.request_fields import CallOptions, RequestFields, SessionOptions
from streamnursery.values.structured import as_response_format, parsed
from streamnursery.wire.registry import Dialects
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import always, scene, virtual

POINTS = {"test": 6, "proof": 30, "soak": None}


@attrs.frozen
class City:
    """An attrs class within one."""

    name: str
    people: int


@attrs.frozen
class Country:
    cities: list[City]
    capital: City | None = None


class CountryStruct(msgspec.Struct):
    cities: list[City]
    capital: City | None = None


@dataclasses.dataclass
class CountryData:
    cities: list[City]
    capital: City | None = None


class CountryDict(TypedDict):
    cities: list[City]
    capital: City | None


KINDS = (Country, CountryStruct, CountryData, CountryDict)
cities = st.builds(City, st.text(max_size=9), st.integers(-(2**53), 2**53))


@given(st.sampled_from(KINDS), st.lists(cities, max_size=4), st.none() | cities)
def test_a_value_that_was_written_as_json_is_read_again(
    kind: Any, found: list[City], capital: City | None
) -> None:
    value = kind(cities=found, capital=capital)
    asked = as_response_format(kind)
    assert parsed(asked, msgspec.json.encode(value).decode(), "", "stop") == value
    assert as_response_format(asked) is asked
    assert pickle.loads(pickle.dumps(asked)).kind is kind


def objects(schema: Any) -> list[dict[str, Any]]:
    """All objects that a schema speaks of."""
    if isinstance(schema, list):
        return [found for below in schema for found in objects(below)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if schema.get("type") == "object" else []
    return here + [found for below in schema.values() for found in objects(below)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_an_object_that_takes_nothing_else(kind: type) -> None:
    asked = as_response_format(kind)
    inner = asked["json_schema"]
    assert (asked["type"], inner["name"]) == ("json_schema", kind.__name__)
    assert inner["schema"]["type"] == "object"
    found = objects(inner["schema"])
    assert len(found) >= 2
    assert all(one["additionalProperties"] is False for one in found)
    strict = all(set(one["required"]) == set(one["properties"]) for one in found)
    assert inner.get("strict", False) == strict == (kind is CountryDict)
    json.dumps(asked)


def test_a_schema_stands_in_its_box_and_what_apis_take_is_left_alone() -> None:
    schema = {"type": "object", "title": "A city!", "properties": {"name": {"type": "string"}}}
    boxed = {"type": "json_schema", "json_schema": {"name": "A_city_", "schema": schema}}
    assert as_response_format(schema) == boxed
    for own in (boxed, {"type": "json_object"}, {"type": "text"}, {"type": "grammar"}, None):
        assert as_response_format(own) is own
    assert parsed(boxed, '{"name": 1}', "", "stop") == {"name": 1}


class Nothing:
    """No class of any library."""


@attrs.frozen
class Unwritable:
    inside: Nothing


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Nothing, "cannot be Nothing: give a JSON schema"),
        (int, "cannot be int"),
        (Unwritable, "no JSON schema can be made of Unwritable: "),
        (7, "response_format must be a mapping or a class, not 7"),
        (Annotated[City, 1], "response_format must be a mapping or a class"),
    ],
)
@virtual
async def test_what_no_schema_can_be_made_of_is_refused_before_anything_is_sent(
    kind: Any, message: str
) -> None:
    async with scene() as place:
        with pytest.raises(sn.RequestError) as caught:
            await place.engine.complete("m", "Hi", response_format=kind)
        assert message in str(caught.value)
        assert place.asked == 0


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ('{"cities": [{"name": "Oslo", "people": "many"}]}', "$.cities[0].people", "`int`"),
        ('{"cities": [{"name": "Oslo"}]}', "$.cities[0]", "missing required field `people`"),
        ("[]", "$", "Expected `object`, got `array`"),
        ('{"cities": [', "byte 12", "truncated"),
        ("Oslo, of course", "byte 0", "malformed"),
        ("", "byte 0", "truncated"),
    ],
)
@virtual
async def test_an_answer_that_is_no_such_value_says_where(text: str, where: str, why: str) -> None:
    async with scene(always(Respond(text=text or " "))) as place:
        answer = await place.engine.complete("m", "Hi", response_format=Country)
    answer = attrs.evolve(answer, choices=(attrs.evolve(answer.choices[0], text=text),))
    with pytest.raises(sn.errors.StructuredOutputError) as caught:
        _ = answer.parsed
    error = caught.value
    assert (error.text, error.where, error.category) == (text, where, "parse_error")
    assert "no Country at" in str(error)
    assert why in str(error)
    assert not error.retryable


@virtual
async def test_the_text_of_a_long_wrong_answer_is_not_in_the_message() -> None:
    text = "x" * 5000
    async with scene(always(Respond(text=text))) as place:
        answer = await place.engine.complete("m", "Hi", response_format={"type": "json_object"})
    with pytest.raises(sn.errors.StructuredOutputError, match=r"no JSON at byte 0") as caught:
        assert answer.parsed
    assert caught.value.text == text
    assert len(str(caught.value)) < 300


def test_a_refusal_and_an_answer_that_was_cut_short_say_so() -> None:
    with pytest.raises(sn.errors.StructuredOutputError, match="the model refused: I may not"):
        parsed(as_response_format(City), "", "I may not", "refusal")
    with pytest.raises(sn.errors.StructuredOutputError, match=r"cut short \(length\)"):
        parsed(as_response_format(City), '{"name": ', "", "length")


@pytest.mark.parametrize(
    "name", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"]
)
@virtual
async def test_every_language_asks_for_the_schema_and_the_answer_is_typed(name: str) -> None:
    endpoint = sn.Endpoint(
        "main", sn.settings.BaseUrl.parse("http://main.example.com/v1"), dialect=name
    )
    request = sn.ChatRequest("m", "Hi", response_format=Country, max_tokens=99)
    dialect = Dialects().find(name)
    assert dialect is not None
    body = json.loads(dialect.encode(request, endpoint, "m"))
    assert as_response_format(Country)["json_schema"]["schema"] in values(body)

    text = '{"cities": [{"name": "Oslo", "people": 7}], "capital": null}'
    main = {"main": {"url": "http://main.example.com/v1", "dialect": name}}
    async with scene(always(Respond(text=text)), endpoints=main) as place:
        answer = await place.engine.complete(request)
        assert answer.parsed == Country([City("Oslo", 7)])
        async with place.engine.stream("m", "Hi", response_format=Country) as stream:
            assert (await stream.completion()).parsed == answer.parsed
        [outcome] = await place.engine.settle([request])
        assert outcome.completion is not None
        assert outcome.completion.parsed == answer.parsed


def values(body: Any) -> list[Any]:
    """All objects within one of JSON."""
    below = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return [body, *(found for one in below for found in values(one))]


def test_the_arguments_of_a_tool_call_are_parsed_on_demand() -> None:
    answer = sn.Completion((), None, Timings(0.0), "r", None, None, None)
    call = sn.ToolCall(0, "c", "look", '{"name": "Oslo", "people": 7}')
    assert answer.parse(call) == {"name": "Oslo", "people": 7}
    assert answer.parse(call, City) == City("Oslo", 7)
    assert answer.parse(sn.ToolCall(0, "c", "look", "")) == {}
    for text, where in (('{"name": ', "byte 9"), ("[1]", "$")):
        with pytest.raises(sn.errors.StructuredOutputError) as caught:
            answer.parse(sn.ToolCall(0, "c", "look", text))
        assert caught.value.where == where
    with pytest.raises(sn.RequestError, match="cannot be int"):
        answer.parse(call, int)


def test_pydantic_models_make_their_own_schema_and_read_their_own_text() -> None:
    pydantic = pytest.importorskip("pydantic")
    kind = pydantic.create_model("Town", name=(str, ...), people=(int, ...))
    asked = as_response_format(kind)
    assert asked["json_schema"]["strict"]
    found = parsed(asked, '{"name": "Oslo", "people": 7}', "", "stop")
    assert (type(found), found.people) == (kind, 7)
    for text, where in (('{"name": "Oslo", "people": "x"}', "$.people"), ("Oslo", "$")):
        with pytest.raises(sn.errors.StructuredOutputError) as caught:
            parsed(asked, text, "", "stop")
        assert caught.value.where == where


def test_from_asyncio_and_threads_an_answer_is_typed_too() -> None:
    plan = always(Respond(text='{"name": "Oslo", "people": 7}'))

    async def main() -> None:
        async with aio_scene(plan) as (eng, _):
            assert (await eng.complete("m", "Hi", response_format=City)).parsed.people == 7

    run(main)
    with sync_scene(plan) as (eng, _):
        assert eng.complete("m", "Hi", response_format=City).parsed == City("Oslo", 7)


@pytest.mark.parametrize("kind", [RequestFields, CallOptions, SessionOptions])
def test_the_typed_keywords_are_the_fields_of_a_request(kind: type) -> None:
    fields = attrs.fields_dict(sn.ChatRequest)
    assert set(kind.__annotations__) >= set(fields) - {"model"}
    more = set(kind.__annotations__) - set(fields)
    options = {"deadline", "timeout", "buffer_events", "buffer_bytes"}
    by_kind: dict[type, set[str]] = {
        RequestFields: set(),
        CallOptions: options | {"when_behind"},
        SessionOptions: options | {"previous_response_id"},
    }
    assert more == by_kind[kind]


def test_a_typed_answer_that_is_cancelled_anywhere_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine(world.config(max_streams=1)) as eng:
            with scope:
                for tenant in "ab":
                    answer = await eng.complete(
                        "gpt-4.1", "Hi", response_format=City, tenant=tenant
                    )
                    assert isinstance(answer.parsed, City)
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)
