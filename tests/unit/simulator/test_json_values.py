"""JSON that follows a schema, in arguments of tools and in answers."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator.json_values import json_text
from streamnursery.simulator.question import question_from
from streamnursery.simulator.reply import WORDS, make_reply
from streamnursery.simulator.script import CallTool
from streamnursery.wire.openai_chat.server import ApiError

_LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda low, room: {"type": "integer", "minimum": low, "maximum": low + room},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low: {"type": "number", "exclusiveMinimum": low, "multipleOf": 0.25},
        st.integers(-9, 9),
    ),
    st.builds(
        lambda least, room: {"type": "string", "minLength": least, "maxLength": least + room},
        st.integers(0, 60),
        st.integers(0, 20),
    ),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers(), min_size=1)),
    st.builds(lambda value: {"const": value}, st.text()),
)


def _objects(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.text(max_size=5), below, max_size=4)
    made = st.builds(lambda p: {"type": "object", "properties": p, "required": list(p)}, properties)
    lists = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least},
        below,
        st.integers(0, 4),
    )
    return made | lists | st.builds(lambda parts: {"anyOf": parts}, st.lists(below, min_size=1))


SCHEMAS = st.recursive(_LEAVES, _objects, max_leaves=12)


def valid(value: Any, schema: dict[str, Any]) -> bool:
    """The keywords that the schemas above have, checked by the book."""
    if "anyOf" in schema:
        return any(valid(value, part) for part in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    match schema["type"]:
        case "object":
            known = schema["properties"]
            return set(value) == set(known) and all(valid(value[k], known[k]) for k in known)
        case "array":
            long_enough = len(value) >= schema["minItems"]
            return bool(long_enough) and all(valid(item, schema["items"]) for item in value)
        case "integer":
            within = schema["minimum"] <= value <= schema["maximum"]
            return type(value) is int and bool(within)
        case "number":
            return bool(value > schema["exclusiveMinimum"]) and bool(value * 4 == int(value * 4))
        case "string":
            return bool(schema["minLength"] <= len(value) <= schema["maxLength"])
        case "boolean":
            return isinstance(value, bool)
        case _:
            return value is None


@given(properties=st.dictionaries(st.text(max_size=5), SCHEMAS, max_size=4), seed=st.integers())
def test_what_is_made_is_valid(properties: dict[str, Any], seed: int) -> None:
    schema = {"type": "object", "properties": properties}
    made = json.loads(json_text(schema, Random(seed), WORDS))
    assert valid(made, schema)
    assert json.loads(json_text(schema, Random(seed), WORDS)) == made


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
        "required": ["name", "next"],
    }
    made = json.loads(
        json_text({"$ref": "#/$defs/node", "$defs": {"node": node}}, Random(3), WORDS)
    )
    levels = 0
    while made is not None:
        assert set(made) == {"name", "next"}
        made, levels = made["next"], levels + 1
    assert 2 <= levels <= 10
    endless = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert json.loads(json_text(endless, Random(3), WORDS)) == {}


def asked(**more: object) -> dict[str, Any]:
    return {"model": "fast", "messages": [{"role": "user", "content": "Hi"}], **more}


def said(**more: object) -> str:
    return make_reply(question_from(asked(**more)), (), (20, 20)).choices[0].text


SCHEMA = {"type": "object", "properties": {"sky": {"enum": ["blue", "grey"]}}, "required": ["sky"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}


def test_an_answer_is_json_where_json_is_asked_for() -> None:
    assert isinstance(json.loads(said(response_format={"type": "json_object"})), dict)
    assert json.loads(said(response_format=FORMAT))["sky"] in ("blue", "grey")
    assert said(response_format=FORMAT) == said(response_format=FORMAT)
    assert {said(response_format=FORMAT, seed=seed) for seed in range(20)} == {
        '{"sky":"blue"}',
        '{"sky":"grey"}',
    }
    assert said(response_format={"type": "text"}) == said()


def test_json_is_cut_off_by_the_limit_of_tokens_as_any_text_is() -> None:
    wanted = question_from(asked(response_format={"type": "json_object"}, max_tokens=2))
    choice = make_reply(wanted, (), (20, 20)).choices[0]
    assert choice.finish == "length"
    with pytest.raises(ValueError, match=r"Unterminated|delimiter|Expecting"):
        json.loads(choice.text)


@pytest.mark.parametrize(
    "wrong",
    ["json", {"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}],
)
def test_a_format_that_nobody_knows_is_refused(wrong: object) -> None:
    with pytest.raises(ApiError, match="response_format"):
        question_from(asked(response_format=wrong))


def test_arguments_of_a_tool_follow_its_schema_in_depth() -> None:
    parameters = {"type": "object", "properties": {"where": SCHEMA, "days": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "look", "parameters": parameters}}]
    reply = make_reply(question_from(asked(tools=tools)), (CallTool(),), (20, 20))
    (call,) = reply.choices[0].calls
    made = json.loads(call.arguments)
    assert made["where"]["sky"] in ("blue", "grey")
    assert isinstance(made["days"], int)
