"""Values as Python code that makes them again: plans above all."""

import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import attrs

_FACES = ("streamnursery.simulator", "streamnursery", "streamnursery.settings")


def as_code(value: object) -> str:
    """An expression; fields that have their default are left out. What has no other form is its
    `repr`."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if attrs.has(type(value)):
        return f"{type(value).__name__}({', '.join(_fields(value))})"
    if type(value) is tuple:
        inside = ", ".join(map(as_code, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if type(value) is list:
        return f"[{', '.join(map(as_code, value))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{as_code(k)}: {as_code(v)}' for k, v in value.items())}}}"
    return f'float("{value!r}")' if value in _NO_LITERAL else repr(value)


_NO_LITERAL = (float("inf"), float("-inf"))


def _fields(value: object) -> Iterable[str]:
    by_place = True
    for field in attrs.fields(type(value)):  # type: ignore[arg-type]
        content = getattr(value, field.name)
        if not field.init or content == _default(field):
            by_place = False
            continue
        name = "" if by_place and not field.kw_only else f"{field.alias}="
        yield name + as_code(content)


def _default(field: "attrs.Attribute[Any]") -> object:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return attrs.NOTHING if default.takes_self else default.factory()
    return default


def imports_of(values: Iterable[object]) -> list[str]:
    """The lines that `as_code` of these values needs before it."""
    names: dict[str, set[str]] = {}
    for value in values:
        for kind in _kinds(value):
            names.setdefault(_home(kind), set()).add(kind.__name__)
    return [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]


def _kinds(value: object) -> Iterable[type]:
    if isinstance(value, Enum):
        yield type(value)
    elif attrs.has(type(value)):
        yield type(value)
        for field in attrs.fields(type(value)):  # type: ignore[arg-type]
            content = getattr(value, field.name)
            if content != _default(field):
                yield from _kinds(content)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _kinds(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _kinds(item)


def _home(kind: type) -> str:
    """Where a user imports it from."""
    for face in _FACES:
        if getattr(sys.modules.get(face), kind.__name__, None) is kind:
            return face
    return kind.__module__
