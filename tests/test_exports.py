"""The public names: sorted, complete, documented, and nothing public outside of them."""

import importlib
import importlib.util
import inspect
from types import ModuleType
from typing import get_args

import pytest

import streamnursery as sn
from streamnursery.values import errors, events

MODULES = (
    *(
        "aio",
        "batch",
        "bench",
        "errors",
        "events",
        "plugins",
        "records",
        "sdk",
        "settings",
        "simulator",
        "sync",
        "telemetry",
    ),
    "testing",
)
FACES = ("streamnursery", *(f"streamnursery.{name}" for name in MODULES))
MOST_AT_THE_TOP = 75
MOST = 271


def faces() -> list[ModuleType]:
    """The packages that declare a public face; the others have nothing public yet."""
    found = [importlib.import_module(name) for name in FACES if importlib.util.find_spec(name)]
    return [module for module in found if hasattr(module, "__all__")]


def public(module: ModuleType) -> list[str]:
    """`__all__`, which is a plain list of names."""
    names = module.__all__
    assert isinstance(names, list)
    return names


def in_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order that ruff keeps (RUF022)."""
    if name.isupper():
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)


def all_errors(base: type[errors.EngineError]) -> set[type[errors.EngineError]]:
    return {base}.union(*(all_errors(below) for below in base.__subclasses__()))


def is_ours(value: object) -> bool:
    """Not a module, and not imported from another package."""
    return not inspect.ismodule(value) and getattr(value, "__module__", "streamnursery").startswith(
        "streamnursery"
    )


each_face = pytest.mark.parametrize("face", faces(), ids=lambda face: face.__name__)


@each_face
def test_the_names_are_sorted_and_unique(face: ModuleType) -> None:
    assert public(face) == sorted(set(public(face)), key=in_order)


@each_face
def test_every_name_exists(face: ModuleType) -> None:
    assert [name for name in public(face) if not hasattr(face, name)] == []


@each_face
def test_nothing_else_looks_public(face: ModuleType) -> None:
    visible = {name for name in dir(face) if not name.startswith("_")}
    extra = visible - set(public(face)) - {"TYPE_CHECKING"}
    assert [name for name in extra if is_ours(getattr(face, name))] == []


@each_face
def test_every_class_and_function_is_documented(face: ModuleType) -> None:
    values = {name: getattr(face, name) for name in public(face)}
    bare = [
        name
        for name, value in values.items()
        if (inspect.isclass(value) or inspect.isroutine(value))
        and not (value.__doc__ or "").strip()
    ]
    assert bare == []


@each_face
def test_the_face_says_what_it_is_for(face: ModuleType) -> None:
    assert (face.__doc__ or "").strip()


def test_every_error_is_in_errors_and_every_event_in_events() -> None:
    ours = [
        kind
        for kind in all_errors(errors.EngineError)
        if kind.__module__.startswith("streamnursery")
    ]
    assert {kind.__name__ for kind in ours} == set(sn.errors.__all__)
    kinds = [kind.__name__ for kind in get_args(events.StreamEvent)]
    assert set(sn.events.__all__) == {*kinds, "Failed", "StreamEvent"}


def test_the_names_are_few_enough_to_read() -> None:
    top = importlib.import_module("streamnursery")
    assert len(dir(top)) <= MOST_AT_THE_TOP
    assert len({name for face in faces() for name in public(face)}) <= MOST


def test_a_name_that_is_not_at_the_top_says_where_it_is() -> None:
    with pytest.raises(AttributeError, match=r"it is in streamnursery\.records"):
        getattr(sn, "Quantiles")  # noqa: B009 - a type checker would refuse the attribute


def test_a_session_shows_what_a_user_may_call_and_nothing_else() -> None:
    session = {name for name in dir(sn.Session) if not name.startswith("_")}
    assert session == {
        "beat",
        "endpoint",
        "error",
        "number",
        "send",
        "send_nowait",
        "state",
        "statistics",
        "stream",
        "typed",
        "wait_open",
    }
