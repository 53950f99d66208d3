"""Collects what is wrong with a configuration: where it stands, what it is, what to do.

Rule 1: of what a source says only names are repeated (tables, keys, endpoints, models) and
        numbers. Any other text may be a key that was put in the wrong place.
Rule 2: the report is bounded, in number and in length, whatever the source holds.
Rule 3: names are shown escaped, so that a file cannot write to the reader's terminal.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TypeAlias

MAX_PROBLEMS = 100
"""Problems listed; the others are counted."""
MAX_NAME = 60
"""Characters of a name that are shown."""
MAX_LISTED = 20
MAX_COMPARED = 500
"""Names that a misspelt one is compared with."""

Place: TypeAlias = tuple[str, ...]
"""The path of a setting: `("models", "gpt-4.1", "max_streams")`."""

_BARE = re.compile(r"[A-Za-z0-9_*-]{1,60}")


class MisfitError(Exception):
    """A value cannot be used. Each of `problems` says what it must be, never what it was."""

    def __init__(self, *problems: str, rest: object = None) -> None:
        super().__init__(*problems)
        self.problems = problems
        self.rest = rest
        """What could be read of it, for the checks that look at several settings."""


class Report:
    """The problems of one configuration, in the order in which they were found."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._left_out = 0

    def add(self, origin: str, place: Place, what: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            where = f"{origin}: {dotted(place)}" if place else origin
            self._problems.append(f"{where}: {what}")
        else:
            self._left_out += 1

    @property
    def problems(self) -> tuple[str, ...]:
        if not self._left_out:
            return tuple(self._problems)
        return (*self._problems, f"and {self._left_out} more; fix these first")

    @property
    def full(self) -> bool:
        """The list is full: looking for suggestions is wasted."""
        return len(self._problems) >= MAX_PROBLEMS


def quoted(name: str) -> str:
    return json.dumps(name if len(name) <= MAX_NAME else name[:MAX_NAME] + "...")


def dotted(place: Place) -> str:
    """The path as TOML writes it: `models."gpt-4.1".max_streams`."""
    return ".".join(part if _BARE.fullmatch(part) else quoted(part) for part in place)


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The name among the first 500 of `known` that was probably meant."""
    by_lower = {candidate.lower(): candidate for candidate in islice(known, MAX_COMPARED)}
    close = difflib.get_close_matches(name[:MAX_NAME].lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """A clause to end a message with: what was meant, or what there is."""
    names = list(islice(known, MAX_COMPARED))
    meant = nearest(name, names)
    if meant is not None:
        return f"; did you mean {quoted(meant)}?"
    listed = ", ".join(quoted(known_name) for known_name in sorted(names)[:MAX_LISTED])
    return f"; there is {listed}" if listed else "; there is none"


def described(raw: object) -> str:
    """What a value is, in a word; numbers as they are, texts never."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return str(raw) if abs(raw) < 10**18 else "a number of more than 18 digits"
    if isinstance(raw, float):
        return str(raw)
    if isinstance(raw, str):
        return "text"
    if isinstance(raw, Mapping):
        return "a table"
    return "an array" if isinstance(raw, list | tuple) else f"a {type(raw).__name__}"
