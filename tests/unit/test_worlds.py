"""`aio` and `sync` cannot drift from the trio facade: same verbs, arguments and docstrings."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import streamnursery as sn
from streamnursery import aio, sync
from streamnursery.bridge.words import World, worded
from streamnursery.pipeline.broadcast import Reader
from streamnursery.pipeline.relayed import RelayedAnswer
from streamnursery.scheduler.run.observers import RecordStream
from streamnursery.sessions.messages import Receipt

CLASSES = {
    "Engine": (sn.Engine, "engine.{}Engine"),
    "TokenStream": (sn.TokenStream, "stream.{}TokenStream"),
    "Session": (sn.Session, "session.{}Session"),
    "Receipt": (Receipt, "session.{}Receipt"),
    "RecordStream": (RecordStream, "records.{}RecordStream"),
}
ONLY_IN_SYNC = {
    "Broadcast": (sn.Broadcast, "broadcast.{}Broadcast"),
    "Reader": (Reader, "broadcast.{}Reader"),
    "RelayedAnswer": (RelayedAnswer, "relay.{}RelayedAnswer"),
}
"""Of asyncio they are the pipeline's own."""
FOR_THE_ENGINE = {
    "RecordStream": {"put", "close"},
    "Broadcast": {"enter", "has", "leave", "more", "wake", "checkpoint"},
    "Reader": {"put", "holds_back"},
}
"""Public for other rooms, and no verbs."""
MORE = {"begun", "receive_within", "lock"}
"""Of aio and sync, for their own rooms."""
PLAIN = {"dropped", "replay_bytes"}
"""Attributes of instances in trio, and properties elsewhere."""
OTHER_WORD = {"async_fn": "fn"}
"""In sync."""


def theirs(world: World, where: str) -> Any:
    module, _, name = where.format(world.title()).partition(".")
    return getattr(importlib.import_module(f"streamnursery.{world}.{module}"), name)


CASES: dict[str, tuple[World, str, type, type]] = {}
for _name, (_ours, _where) in CLASSES.items():
    CASES[f"aio {_name}"] = ("aio", _name, _ours, theirs("aio", _where))
for _name, (_ours, _where) in {**CLASSES, **ONLY_IN_SYNC}.items():
    CASES[f"sync {_name}"] = ("sync", _name, _ours, theirs("sync", _where))

TOP: list[str] = importlib.import_module("streamnursery").__all__
WORLDS: dict[str, Any] = {"aio": aio, "sync": sync}

each_class = pytest.mark.parametrize("case", CASES)


def verbs(kind: type, name: str) -> dict[str, Any]:
    """Public attributes, inherited ones included."""
    without = FOR_THE_ENGINE.get(name, set())
    return {
        verb: inspect.getattr_static(kind, verb)
        for verb in dir(kind)
        if not verb.startswith("_") and verb not in without
    }


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@each_class
def test_the_verbs_are_the_same(case: str) -> None:
    _world, name, ours, foreign = CASES[case]
    assert set(verbs(foreign, name)) - MORE - PLAIN == set(verbs(ours, name)) - PLAIN


@each_class
def test_the_arguments_are_the_same(case: str) -> None:
    world, name, ours, foreign = CASES[case]
    for verb, original in verbs(ours, name).items():
        other = inspect.getattr_static(foreign, verb)
        assert isinstance(other, property) == isinstance(original, property), verb
        if inspect.isfunction(original):
            expected = parameters(original)
            if world == "sync":
                expected = [(OTHER_WORD.get(word, word), *rest) for word, *rest in expected]
            assert [(word, *rest) for word, *rest in parameters(other)] == expected, verb


@each_class
def test_the_words_are_the_same(case: str) -> None:
    world, name, ours, foreign = CASES[case]
    for verb, original in verbs(ours, name).items():
        doc = inspect.getattr_static(foreign, verb).__doc__
        if isinstance(original, property) or inspect.isfunction(original):
            assert doc in (original.__doc__, worded(original.__doc__, world)), verb


@each_class
def test_what_is_awaited_in_trio_is_awaited_in_aio_and_never_in_sync(case: str) -> None:
    world, name, ours, foreign = CASES[case]
    for verb, original in verbs(ours, name).items():
        other = inspect.getattr_static(foreign, verb)
        if world == "sync":
            assert not inspect.iscoroutinefunction(other), verb
        elif inspect.iscoroutinefunction(original):
            assert inspect.iscoroutinefunction(other), verb


@pytest.mark.parametrize("name", ["aio", "sync"])
def test_every_public_name_of_the_top_is_there(name: str) -> None:
    world = WORLDS[name]
    assert set(TOP) <= set(world.__all__)
    own = set(world.__all__) - set(TOP)
    assert own == ({"shared"} if world is aio else {"complete", "shared", "stream"})
    for public in world.__all__:
        assert getattr(world, public) is not None


@pytest.mark.parametrize("name", ["aio", "sync"])
def test_names_that_mean_the_same_are_the_same(name: str) -> None:
    world = WORLDS[name]
    others = {"Engine", "TokenStream", "Session", "Broadcast", "open_engine"}
    for public in set(TOP) - others:
        assert getattr(world, public) is getattr(sn, public), public
    assert world.errors is sn.errors


@pytest.mark.parametrize("name", ["aio", "sync"])
def test_open_engine_takes_what_trios_takes(name: str) -> None:
    world = WORLDS[name]
    found = parameters(world.open_engine)
    assert [p for p in found if p[0] != "on_loop"] == parameters(sn.open_engine)


def test_the_words_of_a_docstring_are_those_of_its_world() -> None:
    doc = sync.Engine.stream.__doc__
    assert doc is not None
    assert "async" not in doc
    assert "trio" not in doc
    doc = aio.Engine.stream.__doc__
    assert doc is not None
    assert "async with eng.stream" in doc
    assert "trio's clock" not in doc
