"""Scripts and plans as text: all forms, all mistakes, and back again."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator import (
    CallTool,
    CloseIdle,
    Comments,
    Crlf,
    Cut,
    Drip,
    Garbage,
    HangAfterDone,
    InStreamError,
    Plan,
    RateLimit,
    Redirect,
    RefuseConnect,
    Respond,
    Rule,
    ScriptError,
    SlowTls,
    Split,
    Stall,
    Status,
    UsageLie,
    When,
    parse_plan,
    parse_script,
)
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.grammar import dump_plan, dump_script, split_model
from streamnursery.simulator.script import FAULTS, GARBAGE, Script

texts = st.text(st.characters(codec="utf-8"), max_size=12)
counts = st.integers(0, 10_000)
seconds = st.floats(0, 1e6)
header_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | counts | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
request_faults: st.SearchStrategy[Fault] = st.one_of(
    st.builds(Respond, tokens=st.none() | counts, text=st.none() | texts, finish=texts),
    st.builds(CallTool, function=st.none() | texts, fragment=st.integers(1, 9)),
    st.builds(Stall, at=counts, seconds=st.none() | seconds, pings=st.none() | seconds),
    st.builds(Drip, bytes=st.integers(1, 9), every=seconds),
    st.builds(HangAfterDone, seconds=st.none() | seconds),
    st.builds(Cut, at=counts, how=st.sampled_from(["fin", "end"])),
    st.builds(InStreamError, at=counts, code=st.none() | counts | texts, message=texts),
    st.builds(Split, sizes=st.lists(st.integers(1, 99), min_size=1, max_size=4)),
    st.builds(Comments, n=st.integers(1, 9)),
    st.builds(Garbage, kind=st.sampled_from(GARBAGE)),
    st.builds(UsageLie, usage=json_values),
    st.builds(Redirect, location=header_texts),
    st.builds(RateLimit, rpm=st.none() | st.integers(1, 99)),
    st.builds(
        Status,
        code=st.integers(200, 599),
        retry_after=st.none() | header_texts | seconds,
        body=json_values,
        headers=st.dictionaries(st.sampled_from(["x-a", "x-b"]), header_texts, max_size=2),
    ),
    st.sampled_from([Crlf(), CloseIdle(after=0.5)]),
)
network_faults: st.SearchStrategy[Fault] = st.one_of(
    st.builds(RefuseConnect, address=st.none() | counts),
    st.builds(SlowTls, seconds=st.none() | seconds),
)
whens = st.builds(
    When,
    requests=st.none() | st.lists(st.integers(1, 99), min_size=1, max_size=3),
    every=st.none() | st.integers(1, 9),
    model=st.none() | texts,
    since=seconds,
    until=st.none() | seconds,
    probability=st.floats(0, 1),
)


def read(parse: Callable[[str], object], text: str) -> bool:
    """Whether `text` was read, or its mistakes were listed."""
    try:
        parse(text)
    except ScriptError as error:
        return bool(error.problems)
    return True


def problems(script: str) -> tuple[str, ...]:
    with pytest.raises(ScriptError) as caught:
        parse_script(script)
    return caught.value.problems


def plan_problems(plan: str) -> tuple[str, ...]:
    with pytest.raises(ScriptError) as caught:
        parse_plan(plan)
    return caught.value.problems


def model_problems(model: str) -> tuple[str, ...]:
    with pytest.raises(ScriptError) as caught:
        split_model(model)
    return caught.value.problems


@given(st.lists(request_faults, max_size=4).map(tuple))
def test_a_script_survives_its_text_form(script: Script) -> None:
    text = dump_script(script)
    assert text.isascii() and text.isprintable()
    assert parse_script(text) == script


@given(
    st.lists(st.tuples(st.lists(request_faults | network_faults, max_size=2), whens), max_size=3)
)
def test_a_plan_survives_its_text_form(rules: list[tuple[list[Fault], When]]) -> None:
    plan = Plan(tuple(Rule(tuple(faults), when) for faults, when in rules))
    assert parse_plan(dump_plan(plan)) == plan


@given(json_values)
def test_any_json_is_a_script_or_a_list_of_mistakes(value: object) -> None:
    assert read(parse_script, json.dumps(value))


@given(texts)
def test_any_query_is_a_script_or_a_list_of_mistakes(query: str) -> None:
    assert read(split_model, f"sim/fast?{query}")


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ('"crlf"', (Crlf(),)),
        ('{"cut": 3, "crlf": true}', (Cut(3), Crlf())),
        ('{"cut": 3, "crlf": false}', (Cut(3),)),
        ('[{"stall": [2, 30]}, "crlf"]', (Stall(2, 30), Crlf())),
        ('{"stall": {"at": 2, "pings": 0.5}}', (Stall(2, None, 0.5),)),
        ('{"split": [1, 5]}', (Split((1, 5)),)),
        ('{"split": 7}', (Split((7,)),)),
        ('{"hang_after_done": null}', (HangAfterDone(None),)),
        ('{"crlf": null}', (Crlf(),)),
        ('"garbage"', (Garbage("html"),)),
        (
            '{"status": {"code": 429, "headers": {"x-a": "1"}}}',
            (Status(429, headers=(("x-a", "1"),)),),
        ),
        ("[]", ()),
    ],
)
def test_a_script_has_short_forms(text: str, script: Script) -> None:
    assert parse_script(text) == script


@pytest.mark.parametrize(
    ("model", "name", "script"),
    [
        ("sim/fast", "fast", ()),
        ("gpt-4.1", "gpt-4.1", ()),
        ("org/model", "org/model", ()),
        ("sim/fast?cut=3&crlf=1", "fast", (Cut(3), Crlf())),
        ("fast?crlf", "fast", (Crlf(),)),
        ("fast?crlf=0&comments=2", "fast", (Comments(2),)),
        ("fast?stall=2,30,0.5", "fast", (Stall(2, 30, 0.5),)),
        ("fast?stall=2&stall.pings=1", "fast", (Stall(2, None, 1),)),
        ("fast?stall=2,null", "fast", (Stall(2, None),)),
        ("fast?split=1,5,3", "fast", (Split((1, 5, 3)),)),
        ("fast?respond.text=a,b", "fast", (Respond(text="a,b"),)),
        ("fast?respond.text=12", "fast", (Respond(text="12"),)),
        ("fast?garbage=json", "fast", (Garbage("json"),)),
        ("fast?status=429&status.retry_after=2.5", "fast", (Status(429, 2.5),)),
        ("fast?cut=3&cut=5", "fast", (Cut(3), Cut(5))),
        ("fast?redirect=http://a/b,308", "fast", (Redirect("http://a/b", 308),)),
    ],
)
def test_a_model_name_carries_a_script(model: str, name: str, script: Script) -> None:
    assert split_model(model) == (name, script)


def test_every_mistake_of_a_script_is_reported_with_its_path() -> None:
    text = '[{"cut": -1}, {"stal": 1}, "reset", 3, {"cut": {"att": 1}}, {"crlf": [1]}]'
    assert problems(text) == (
        "script[0].cut.at: must be a whole number >= 0, not -1",
        'script[1].stal: no such fault; did you mean "stall"?',
        "script[2].reset.at: is missing",
        'script[3]: a fault is a name or an object like {"cut": 3}, not 3',
        'script[4].cut.att: no such field; did you mean "at"?',
        "script[4].cut.at: is missing",
        "script[5].crlf: takes true, as it has no fields, not [1]",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "this is not JSON"),
        ("[" * 5000, "this is not JSON"),
        ("7", "script: must be a list of faults or one of them"),
        ('{"stall": [1, 2, 3, 4]}', "takes at most 3 values"),
        ('{"crlf": {"x": 1}}', "no such field; it has none"),
        ('{"garbage": "xml"}', "must be one of html, json"),
        ('{"status": 99}', "must be an HTTP status"),
        ('{"cut": true}', "at: is missing"),
        ('{"drip": {"every": -1}}', "must be seconds >= 0"),
        ('{"in_stream_error": {"done": 1}}', "must be true or false"),
        ('{"redirect": "a\\r\\nb"}', "must be text that fits into a header"),
        ('{"split": []}', "must be whole numbers >= 1, at least one"),
        ('{"refuse_connect": true}', "comes before the request; put it into a plan"),
        ('{"slow_tls": 1}', "comes before the request; put it into a plan"),
    ],
)
def test_a_mistake_says_what_would_be_right(text: str, problem: str) -> None:
    assert problem in " ".join(problems(text))


def test_every_mistake_of_a_plan_is_reported_with_its_path() -> None:
    text = """{"rules": [{"when": {"modle": "x", "probability": 2}, "script": "crlf"}, {},
               {"script": "cutt", "wen": {}}, {"when": 1, "script": []}], "rule": 1}"""
    assert plan_problems(text) == (
        "rule: a plan has only rules",
        'rules[0].when.modle: no such field; did you mean "model"?',
        "rules[0].when.probability: must be a number from 0 to 1, not 2",
        "rules[1]: must be an object with a script",
        'rules[2].wen: did you mean "when"?',
        'rules[2].script.cutt: no such fault; did you mean "cut"?',
        "rules[3].when: must be an object",
    )
    assert plan_problems('{"rules": 1}') == ("rules: must be a list",)


def test_every_mistake_of_a_model_name_is_reported() -> None:
    assert model_problems("fast?cutt=1&crlf=2&cut=x&stall.secs=3&refuse_connect=1") == (
        'model?cutt: no such fault; did you mean "cut"?',
        "model?crlf: is 1 or 0, not '2'",
        "model?cut.at: must be a whole number >= 0, not 'x'",
        'model?stall.secs: no such field; did you mean "seconds"?',
        "model?stall.at: is missing",
        "model: refuse_connect comes before the request; put it into a plan",
    )


def test_a_bare_script_is_a_plan_for_every_request() -> None:
    assert parse_plan('{"cut": 3}') == Plan.always(Cut(3))


def test_a_value_made_in_python_is_checked_alike() -> None:
    with pytest.raises(ValueError, match=r"Cut.at must be a whole number >= 0, not -1"):
        Cut(-1)
    with pytest.raises(ValueError, match=r"Drip.every must be seconds >= 0"):
        Drip(1, 10**400)
    with pytest.raises(ValueError, match=r"When.every must be a whole number >= 1, or null"):
        When(every=0)


def test_faults_are_named_in_snake_case() -> None:
    names = {"bad_utf8", "in_stream_error", "no_end_mark", "hang_after_done", "slow_tls", "cut"}
    assert names <= FAULTS.keys()
    assert all(kind.name == name for name, kind in FAULTS.items())
