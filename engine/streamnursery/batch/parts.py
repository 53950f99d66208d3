"""The journal of batches that a provider works on: `OUT.batches`.

Rule 1: a step is on the disk before the next one is made. So of a batch that was paid for either
        its id is known, or that it was asked for, and then it can be found by its mark.
Rule 2: a part whose file never arrived has cost nothing: its rows are free again.
"""

from functools import partial
from typing import Literal

import attrs
import msgspec

from streamnursery.batch.files import Files, unusable
from streamnursery.batch.output import lines_of

Step = Literal["file", "asked", "batch", "free", "done"]
_KEY = 8
"""Bytes of the hash of an id, and of the digest of what is asked."""


class _Planned(msgspec.Struct, tag="planned", tag_field="step"):
    part: str
    endpoint: str
    model: str
    route: str
    url: str
    rows: bytes
    """Hash and digest of each."""
    names: list[str] = []
    """Their ids, where the provider's lines cannot have them."""


class _Made(msgspec.Struct, tag="made", tag_field="step"):
    part: str
    what: Step
    value: str = ""


_decode = msgspec.json.Decoder(_Planned | _Made).decode


@attrs.define(eq=False)
class Part:
    """Rows that go into one batch of a provider."""

    id: str
    """Its mark in the metadata of the batch."""
    endpoint: str
    model: str
    """As the rows name it."""
    route: str
    url: str
    digests: dict[int, str] = attrs.field(repr=False)
    """Of what is asked for, by the hash of the row's id."""
    names: list[str] = attrs.field(factory=list, repr=False)
    """Ids of the rows, in the order of the provider's lines; of a batch whose lines have names of
    their own."""
    file: str = ""
    asked: bool = False
    """A batch was asked for; there may be one."""
    since: str = ""
    """The provider's newest batch before that."""
    batch: str = ""
    strangers: set[str] = attrs.field(factory=set)
    """Batches that looked like this one's, and are not."""
    over: bool = False

    @property
    def paid(self) -> bool:
        """There is, or may be, a batch."""
        return not self.over and self.asked


class ProviderParts:
    """All parts of a run and of the runs before it."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._parts: dict[str, Part] = {}

    @property
    def batches(self) -> set[str]:
        """Those that are known, of all parts."""
        return {part.batch for part in self._parts.values() if part.batch}

    @property
    def open(self) -> list[Part]:
        return [part for part in self._parts.values() if not part.over]

    async def load(self) -> None:
        """What earlier runs have begun.

        Raises:
            BatchFileError: the file cannot be used.
        """
        try:
            await self._files.run(self._load)
        except OSError as error:
            raise unusable(self._path, "read", error) from error

    def _load(self) -> None:
        if self._files.size(self._path) is None:
            return
        good = 0
        for at, line, whole in lines_of(self._files, self._path):
            try:
                found = _decode(line) if whole else None
            except (msgspec.DecodeError, msgspec.ValidationError):
                found = None
            if found is None:  # torn, and never acted upon
                self._files.truncate(self._path, good)
                self._files.sync(self._path)
                return
            self._take(found)
            good = at + len(line)

    def _take(self, found: _Planned | _Made) -> None:
        if isinstance(found, _Planned):
            self._parts[found.part] = Part(
                found.part,
                found.endpoint,
                found.model,
                found.route,
                found.url,
                _read(found.rows),
                found.names,
            )
            return
        part = self._parts[found.part]
        if found.what == "file":
            part.file = found.value
        elif found.what == "asked":
            part.asked, part.since, part.batch = True, found.value, ""
        elif found.what == "batch":
            part.batch = found.value
        else:
            part.over = True
            part.digests.clear()
            part.names.clear()

    async def plan(self, part: Part) -> None:
        """Note a new one."""
        await self._add(
            _Planned(
                part.id,
                part.endpoint,
                part.model,
                part.route,
                part.url,
                _written(part.digests),
                part.names,
            )
        )
        self._parts[part.id] = part

    async def step(self, part: Part, what: Step, value: str = "") -> None:
        """Note what was, or is about to be, done with it."""
        made = _Made(part.id, what, value)
        await self._add(made)
        self._take(made)

    async def _add(self, record: _Planned | _Made) -> None:
        try:
            await self._files.run(partial(self._append, msgspec.json.encode(record) + b"\n"))
        except OSError as error:
            safe = "; batches that were begun go on, and the same command finds them"
            raise unusable(self._path, "written", error, safe) from error

    def _append(self, line: bytes) -> None:
        files, path = self._files, self._path
        if files.size(path) is None:
            files.create(path)
            files.sync_folder(path)
        files.append(path, line)
        files.sync(path)


def _written(digests: dict[int, str]) -> bytes:
    return b"".join(key.to_bytes(_KEY, "big") + bytes.fromhex(d) for key, d in digests.items())


def _read(rows: bytes) -> dict[int, str]:
    each = (rows[at : at + 2 * _KEY] for at in range(0, len(rows), 2 * _KEY))
    return {int.from_bytes(one[:_KEY], "big"): one[_KEY:].hex() for one in each}
