"""Docstrings for two worlds: those of the engine's own verbs, in each world's words."""

import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
World: TypeAlias = Literal["aio", "sync"]

_SYNC = (
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"trio's clock", "`time.monotonic()`'s clock"),
    (r"async function", "function"),
)
_AIO = ((r"trio's clock", "the event loop's clock"),)


def worded(doc: str | None, world: World) -> str | None:
    """A docstring of the trio facade as `world` has it."""
    if doc is None:
        return None
    for pattern, word in _SYNC if world == "sync" else _AIO:
        doc = re.sub(pattern, word, doc)
    return doc


def same_words(original: object, world: World | None = None) -> Callable[[F], F]:
    """A decorator: the docstring of `original`, in the words of `world` or as it stands."""

    def decorate(function: F) -> F:
        doc = original.__doc__
        function.__doc__ = doc if world is None else worded(doc, world)
        return function

    return decorate
