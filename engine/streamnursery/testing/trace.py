"""What happened in a world, in order, and its digest: equal runs have equal digests."""

from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from streamnursery.values.secret import Secret

if TYPE_CHECKING:
    from streamnursery.values.events import StreamEvent
    from streamnursery.values.lifecycle import LifecycleRecord

Entry: TypeAlias = "LifecycleRecord | tuple[int, StreamEvent] | tuple[float, str]"
"""A record of an engine, an event that consumer number n was handed, or a note."""


def _plain(value: object) -> object:
    """What JSON has no form for: errors by class and message, and nothing that may be a key."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Secret):
        return "secret"
    return type(value).__name__


# Sets are sorted: their own order follows the process's hash seed.
_encode = msgspec.json.Encoder(enc_hook=_plain, order="deterministic").encode


class Trace:
    """Grows by everything that can be seen from outside; kept in memory, up to a bound."""

    def __init__(self, max_entries: int = 1_000_000) -> None:
        self.dropped = 0
        """Entries beyond the bound; they count in the digest by their number only."""
        self._max_entries = max_entries
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        if len(self._entries) < self._max_entries:
            self._entries.append(entry)
        else:
            self.dropped += 1

    def __len__(self) -> int:
        return len(self._entries) + self.dropped

    def lines(self, last: int | None = None) -> list[str]:
        """The entries as text, or the last so many of them."""
        entries = self._entries if last is None else self._entries[-last:]
        return [_line(entry).decode() for entry in entries]

    def digest(self, *more: object) -> str:
        """32 hex digits over all entries and over `more`."""
        return _digest([*map(_line, self._entries), b"%d" % self.dropped, *map(_encode, more)])


def _line(entry: Entry) -> bytes:
    if isinstance(entry, tuple):
        who, what = entry
        return _encode([type(what).__name__, who, what])
    return _encode([type(entry).__name__, entry])


def _digest(lines: Iterable[bytes]) -> str:
    hashed = blake2b(digest_size=16)
    for line in lines:
        hashed.update(line)
        hashed.update(b"\n")
    return hashed.hexdigest()
