"""The files of a run, as an earlier run or a crash left them.

`OUT` has the answers, `OUT` with `.errors` before its ending the failures; `OUT.state` says what
the run is about, so that another input, model or setting is not mixed into it.

Rule 1: a line counts if it is whole. A crash tears at most the last group: a line that cannot be
read
        within it, and all behind it, is copied to `.torn` and cut off. One further up is damage,
        and nothing is touched.
Rule 2: what is not ours is refused: a file without a state, lines without our key.
"""

from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import Any

import attrs
import msgspec

from streamnursery.batch.files import Files, unusable
from streamnursery.batch.journal import GROUP
from streamnursery.values.errors import BatchFileError

_CHUNK = 1024 * 1024
MAX_LINE = 64 * 1024 * 1024
"""Bytes of a line of input or output."""
VERSION = 1


class _Ours(msgspec.Struct):
    digest: str = ""


class _Line(msgspec.Struct):
    custom_id: str
    streamnursery: _Ours


@attrs.frozen
class Paths:
    """Where the files of a run are."""

    out: str

    @property
    def errors(self) -> str:
        stem, dot, ending = self.out.rpartition(".")
        return f"{stem}.errors.{ending}" if dot and "/" not in ending else f"{self.out}.errors"

    @property
    def state(self) -> str:
        return f"{self.out}.state"

    @property
    def batches(self) -> str:
        return f"{self.out}.batches"

    @property
    def calls(self) -> str:
        return f"{self.out}.calls"


@attrs.define
class EarlierRun:
    """What was done before."""

    answered: set[int] = attrs.field(factory=set)
    """Hashes of the ids with an answer."""
    failed: set[int] = attrs.field(factory=set)
    """Hashes of the ids that have failed for good."""
    digests: dict[int, str] = attrs.field(factory=dict)
    """Of what was asked, by hash of the id; kept where the input cannot be compared as a whole."""
    torn: int = 0
    """Bytes that were cut off."""


class BatchState(msgspec.Struct, frozen=True):
    """What a run is about."""

    version: int
    input: str
    """Digest of the input's bytes; empty where it has none (an iterable, stdin)."""
    model: str
    settings: str
    """Digest of what else decides about answers."""
    shard: str = ""


_WORDS = {
    "version": "the version of the format",
    "input": "the input",
    "model": "--model",
    "settings": "a setting (--samples, --task)",
    "shard": "--shard",
}


def id_hash(name: str) -> int:
    """64 bits that stand for an id: a million of them take 60 MB less than the texts."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


class BatchOutput:
    """The files of one run. Its methods wait for the disk in jobs of `files`."""

    def __init__(self, files: Files, paths: Paths, state: BatchState, *, digests: bool) -> None:
        self.files = files
        self.paths = paths
        self.found = EarlierRun()
        self._state = state
        self._digests = digests

    async def open(self, *, calls: bool = False) -> None:
        """Lock the files, look at what is there, and make what is not.

        Raises:
            BatchFileError: another process has them, they are about something else, damaged, not
                ours, or cannot be used.
        """
        path = self.paths.out
        try:
            await self.files.run(partial(self._open, calls=calls))
        except OSError as error:
            raise unusable(error.filename or path, "used", error) from error

    def _open(self, *, calls: bool) -> None:
        files, paths = self.files, self.paths
        before = files.size(paths.out)
        files.create(paths.out)
        if not files.lock(paths.out):
            msg = f"another process works on {paths.out}; wait for its end, or name another output"
            raise BatchFileError(msg)
        known = self._compare(before)
        mine = [paths.out, paths.errors, *([paths.calls] if calls else [])]
        for path in mine:
            files.create(path)
        if not known:
            self._write_state()
        files.sync_folder(paths.out)
        for number, path in enumerate(mine):
            self._recover(path, number)

    def _compare(self, before: int | None) -> bool:
        """Whether the state of an earlier run is there and says the same."""
        path = self.paths.state
        if self.files.size(path) is None:
            if before:
                msg = (
                    f"{self.paths.out} is there, and no {path} beside it: it is not the output of "
                    "a batch; name another output"
                )
                raise BatchFileError(msg)
            return False
        try:
            state = msgspec.json.decode(self.files.read(path, 0, _CHUNK), type=BatchState)
        except (msgspec.DecodeError, msgspec.ValidationError):
            if before:
                msg = f"{path} cannot be read; put it back, or name another output"
                raise BatchFileError(msg) from None
            return False  # a crash came before the first line
        names = BatchState.__struct_fields__
        changed = [_WORDS[n] for n in names if _differ(state, self._state, n)]
        if changed:
            msg = (
                f"{self.paths.out} was begun with other things: {', '.join(changed)} changed. Name "
                "another output, or go on with what it was begun with"
            )
            raise BatchFileError(msg)
        return True

    def _write_state(self) -> None:
        files, path = self.files, self.paths.state
        new = f"{path}.new"
        if files.size(new) is not None:
            files.truncate(new, 0)
        files.create(new)
        files.append(new, msgspec.json.encode(self._state))
        files.sync(new)
        files.replace(new, path)

    def _recover(self, path: str, number: int) -> None:
        """Read a file, and cut off what a crash tore."""
        files, found = self.files, self.found
        good, bad, behind = 0, None, 0
        for at, line, whole in lines_of(files, path):
            parsed = _parsed(line) if whole and bad is None else None
            if parsed is not None:
                good = at + len(line)
                self._take(parsed, number)
                continue
            if whole and bad is None and _is_json(line):
                msg = f"{path}, byte {at}: a line that is not of a batch; name another output"
                raise BatchFileError(msg)
            bad = at if bad is None else bad
            behind += 1
            if behind > GROUP:
                msg = f"{path}, byte {bad}: a line that cannot be read; the file is damaged"
                raise BatchFileError(msg)
        if bad is not None:
            size = files.size(path) or 0
            found.torn += size - good
            torn = f"{path}.torn"
            files.create(torn)
            files.append(torn, files.read(path, good, size - good))
            files.sync(torn)
            files.sync_folder(torn)
            files.truncate(path, good)
            files.sync(path)

    def _take(self, line: _Line, number: int) -> None:
        found, key = self.found, id_hash(line.custom_id)
        if number == 0:
            found.answered.add(key)
            found.failed.discard(key)
        elif number == 1 and key not in found.answered:
            found.failed.add(key)
        if self._digests and number < 2:
            found.digests[key] = line.streamnursery.digest


def _differ(one: BatchState, other: BatchState, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _parsed(line: bytes) -> _Line | None:
    try:
        return _decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


_decode = msgspec.json.Decoder(_Line).decode


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def lines_of(files: Files, path: str) -> Iterator[tuple[int, bytes, bool]]:
    """`(offset, line with its end, whether it has one)`; inside of a job of `files`."""
    at, rest = 0, b""
    while True:
        data = files.read(path, at + len(rest), _CHUNK)
        if not data:
            break
        rest += data
        *lines, rest = rest.split(b"\n")
        for line in lines:
            yield at, line + b"\n", True
            at += len(line) + 1
        if len(rest) > 2 * MAX_LINE:
            break
    if rest:
        yield at, rest, False


def settings_digest(**settings: Any) -> str:
    """Of the settings that decide about answers."""
    text = msgspec.json.encode(settings, order="deterministic", enc_hook=str)
    return blake2b(text, digest_size=8).hexdigest()
