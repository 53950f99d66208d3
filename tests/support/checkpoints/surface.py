"""The public async surface, found by looking: what a user can await, iterate or enter.

Public are the names in `__all__` of the public packages, the classes that a public function
hands out, and their methods without an underscore.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args, get_origin

PACKAGE = "streamnursery"
FACES = (
    PACKAGE,
    *(f"{PACKAGE}.{name}" for name in ("plugins", "records", "testing", "simulator", "bench")),
)
UNPREFIXED = ("plugins", "records")
"""Modules whose names stand in the table as if they were at the top."""
PROTOCOL = ("__anext__", "__aenter__", "__aexit__")
"""Methods that are called by syntax."""

Kind: TypeAlias = Literal["call", "block"]


def surface() -> dict[str, Kind]:
    """By name, such as `Engine.complete` or `testing.wait_quiescent`."""
    return dict(_members(_public()))


def _public() -> dict[str, Any]:
    """Functions and classes by the name that a user has for them, and the classes that they hand
    out. A protocol is the user's to implement."""
    found: dict[str, Any] = {}
    for face in FACES:
        module, prefix = import_module(face), face.removeprefix(PACKAGE).lstrip(".")
        prefix = "" if prefix in UNPREFIXED else prefix
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or (inspect.isclass(value) and not _is_protocol(value)):
                found[f"{prefix}.{name}".lstrip(".")] = value
    while more := dict(_handed_out(found)):
        found |= more
    return found


def _handed_out(found: dict[str, Any]) -> Iterator[tuple[str, type]]:
    """Classes of ours that a function or a method of `found` returns, and that are not there."""
    known = {value for value in found.values() if inspect.isclass(value)}
    for value in list(found.values()):
        functions = [value] if inspect.isfunction(value) else list(_methods(value))
        for function in functions:
            inner = inspect.unwrap(function)
            for kind in _classes(_returned(function), inner.__globals__):
                if _is_ours(kind) and kind not in known and not _is_protocol(kind):
                    yield kind.__name__, kind


def _methods(kind: type) -> Iterator[Callable[..., Any]]:
    for member in dir(kind):
        if member in PROTOCOL or not member.startswith("_"):
            method = inspect.getattr_static(kind, member)
            function = getattr(method, "__func__", method)  # of a static or class method
            function = function.fget if isinstance(function, property) else function
            if inspect.isfunction(function) and _is_ours(inspect.unwrap(function)):
                yield function


def _is_protocol(kind: Any) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def _members(public: dict[str, Any]) -> Iterator[tuple[str, Kind]]:
    for name, value in public.items():
        if not inspect.isclass(value):
            yield from _kinds(name, value)
            continue
        for member in dir(value):
            if member in PROTOCOL or not member.startswith("_"):
                method = inspect.getattr_static(value, member)
                function = getattr(method, "__func__", method)  # of a static or class method
                if inspect.isfunction(function) and _is_ours(inspect.unwrap(function)):
                    yield from _kinds(f"{name}.{member}", function)


def _kinds(name: str, function: Callable[..., Any]) -> Iterator[tuple[str, Kind]]:
    if inspect.iscoroutinefunction(function):
        yield name, "call"
    elif inspect.isasyncgenfunction(inspect.unwrap(function)):
        # Under `asynccontextmanager`. A bare async generator would be a third kind: there is none.
        assert function is not inspect.unwrap(function), f"{name} is an async generator"
        yield name, "block"
    else:
        returned = get_origin(_returned(function)) or _returned(function)
        if inspect.isclass(returned):
            if issubclass(returned, AbstractAsyncContextManager):
                yield name, "block"
            assert not issubclass(returned, Awaitable), f"{name} returns an awaitable"


def _returned(function: Callable[..., Any]) -> Any:
    """What the annotation says that a call gives."""
    inner = inspect.unwrap(function)
    return _read(inner.__annotations__.get("return"), inner.__globals__)


def _read(annotation: Any, names: dict[str, Any]) -> Any:
    """`annotation`, which may be text; None for a name that only type checkers know."""
    if not isinstance(annotation, str):
        return annotation
    # What a module imports for types alone is public, or nothing that can be awaited.
    top = import_module(PACKAGE)
    known = {name: getattr(top, name) for name in top.__all__}
    try:
        return eval(annotation, {**known, **names})
    except NameError:
        assert "Async" not in annotation and "Await" not in annotation, annotation
        return None


def _classes(annotation: Any, names: dict[str, Any]) -> Iterator[type]:
    read = _read(annotation, names)
    if inspect.isclass(read):
        yield read
    for part in get_args(read):
        yield from _classes(part, names)


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith(PACKAGE)
