"""The dialects that can be spoken, by name: the built-in ones, and those that are added.

Rule 1: a dialect that is added is looked at once: its interface version, its name, its options.
Rule 2: one that is not built in is spoken through `GuardedDialect`, so that an exception out of it
        fails a stream and never the engine.
"""

import re
from collections.abc import Callable, Iterable

from streamnursery.values.errors import ConfigError
from streamnursery.wire.anthropic_messages.client import AnthropicMessages
from streamnursery.wire.dialect import API, Dialect, EndpointOption
from streamnursery.wire.gemini.client import Gemini
from streamnursery.wire.gemini_interactions.client import GeminiInteractions
from streamnursery.wire.guarded import GuardedDialect
from streamnursery.wire.openai_chat.azure import AzureOpenAI
from streamnursery.wire.openai_chat.client import OpenAIChat
from streamnursery.wire.openai_responses.client import OpenAIResponses

BUILT_IN: tuple[Dialect, ...] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    Gemini(),
    GeminiInteractions(),
    AzureOpenAI(),
)
DEFAULT = BUILT_IN[0].name
"""The dialect of an endpoint that states none."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,63}")

Finder = Callable[[str], tuple[Dialect, str] | None]
"""Looks up a dialect that was not added: the dialect and where it comes from. Raises
`ConfigError` if it is there and cannot be used."""


class Dialects:
    """The dialects of one engine."""

    def __init__(self, added: Iterable[Dialect] = (), finder: Finder | None = None) -> None:
        """Raises `ConfigError` for one of `added` that cannot be used."""
        self._known: dict[str, Dialect] = {dialect.name: dialect for dialect in BUILT_IN}
        self._finder = finder
        for dialect in added:
            self._add(dialect, f"dialects=[{type(dialect).__name__}]")

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that are loaded, the built-in ones first."""
        return tuple(self._known)

    def find(self, name: str) -> Dialect | None:
        """The dialect called `name`, or the default one for ""; None: there is none.

        Raises:
            ConfigError: there is one, and it cannot be used.
        """
        found = self._known.get(name or DEFAULT)
        if found is None and self._finder is not None:
            outside = self._finder(name)
            if outside is not None:
                dialect, source = outside
                if dialect.name != name:
                    msg = f"{source} is registered as {name!r} and calls itself {dialect.name!r}"
                    raise ConfigError(msg)
                found = self._add(dialect, source)
        return found

    def options(self) -> dict[str, list[tuple[str, EndpointOption]]]:
        """By the name of an option, the dialects that have it."""
        found: dict[str, list[tuple[str, EndpointOption]]] = {}
        for name, dialect in self._known.items():
            for option in dialect.options:
                found.setdefault(option.name, []).append((name, option))
        return found

    def _add(self, dialect: Dialect, source: str) -> Dialect:
        problem = _problem(dialect) or self._conflict(dialect)
        if problem is not None:
            msg = f"{source}: {problem}"
            raise ConfigError(msg)
        self._known[dialect.name] = guarded = GuardedDialect(dialect, source)
        return guarded

    def _conflict(self, dialect: Dialect) -> str | None:
        if dialect.name in self._known:
            return f"there is a dialect called {dialect.name!r} already; give it another name"
        known = self.options()
        for option in dialect.options:
            for other, theirs in known.get(option.name, ()):
                if type(theirs.default) is not type(option.default):
                    return f"its option {option.name!r} has another type than that of {other!r}"
        return None


def _problem(dialect: Dialect) -> str | None:
    api = getattr(dialect, "api", None)
    if api != API:
        return f"it was made for version {api!r} of the dialect interface, and this is {API}"
    missing = [name for name in _METHODS if not callable(getattr(dialect, name, None))]
    if missing:
        return f"it has no {', '.join(missing)}: it is not a dialect"
    name = getattr(dialect, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{name!r:.80} cannot name a dialect: lower case letters, digits, . _ -, at most 64"
    bad = [o.name for o in dialect.options if not _OPTION.fullmatch(o.name)]
    return f"{bad[0]!r:.80} cannot name an option of an endpoint" if bad else None


_METHODS = (
    "path",
    "headers",
    "encode",
    "check_head",
    "decoder",
    "continued",
    "error_from_answer",
)
