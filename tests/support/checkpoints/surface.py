"""The public async surface, found by looking: what a user can await, iterate or enter.

Public are the names in `__all__` of the four public packages, the classes that a public function
hands out, and their methods without an underscore.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args, get_origin

PACKAGE = "streamnursery"
FACES = (PACKAGE, f"{PACKAGE}.testing", f"{PACKAGE}.simulator", f"{PACKAGE}.bench")
PROTOCOL = ("__anext__", "__aenter__", "__aexit__")
"""Methods that are called by syntax."""

Kind: TypeAlias = Literal["call", "block"]


def surface() -> dict[str, Kind]:
    """By name, such as `Engine.complete` or `testing.wait_quiescent`."""
    return dict(_members(_public()))


def _public() -> dict[str, Any]:
    """Functions and classes by the name that a user has for them."""
    found: dict[str, Any] = {}
    for face in FACES:
        module, prefix = import_module(face), face.removeprefix(PACKAGE).lstrip(".")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{prefix}.{name}".lstrip(".")] = value
    handed_out = {
        kind.__name__: kind
        for value in found.values()
        if inspect.isfunction(value)
        for kind in _classes(_returned(value), inspect.unwrap(value).__globals__)
        if _is_ours(kind) and kind not in found.values()
    }
    return found | handed_out


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
    try:
        return eval(annotation, names)
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
