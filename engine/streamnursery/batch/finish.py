"""What is done when all rows are: failures that were answered later leave the file of errors, the
output is brought into the order of the input, the outputs of several machines become one.

Files are replaced as a whole: written beside, synced, renamed, and the folder synced.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import attrs
import msgspec

from streamnursery.batch.files import Files, unusable
from streamnursery.batch.lines import BatchRow
from streamnursery.batch.options import BatchOptions, Shard
from streamnursery.batch.output import BatchOutput, BatchState, Paths, id_hash, lines_of
from streamnursery.values.errors import BatchFileError, RequestError

T = TypeVar("T")
_GROUP = 1024 * 1024
"""Bytes that are written at once."""


class _Name(msgspec.Struct):
    custom_id: str


_name = msgspec.json.Decoder(_Name).decode


async def compact_errors(output: BatchOutput) -> None:
    """Keep the last failure of each row that has no answer."""
    path = output.paths.errors
    await _in_files(output.files, path, partial(_compact, output))


def _compact(output: BatchOutput) -> None:
    files, path = output.files, output.paths.errors
    if not files.size(path):
        return
    places: dict[int, tuple[int, int]] = {}
    count = 0
    for at, line, _ in lines_of(files, path):
        places[id_hash(_name(line).custom_id)] = (at, len(line))
        count += 1
    for _, line, _ in lines_of(files, output.paths.out):
        places.pop(id_hash(_name(line).custom_id), None)
    if len(places) < count:
        _rewrite(files, path, (files.read(path, *place) for place in sorted(places.values())))


async def in_input_order(
    output: BatchOutput, rows: AsyncIterator[BatchRow], options: BatchOptions
) -> None:
    """Sort the answers as their rows stand in the input. Memory: 100 bytes a row."""
    order = [
        id_hash(one.id)
        async for row in rows
        for one in options.samples_of(row)
        if options.wants(id_hash(one.id))
    ]
    await _in_files(output.files, output.paths.out, partial(_sort, output, order))


def _sort(output: BatchOutput, order: list[int]) -> None:
    files, path = output.files, output.paths.out
    places = {
        id_hash(_name(line).custom_id): (at, len(line)) for at, line, _ in lines_of(files, path)
    }
    wanted = [places[key] for key in order if key in places]
    if wanted != sorted(wanted):
        _rewrite(files, path, (files.read(path, *place) for place in wanted))


def _rewrite(files: Files, path: str, lines: Iterator[bytes]) -> None:
    """The lock goes with the old file; the run is over but for this."""
    new = f"{path}.new"
    if files.size(new) is not None:
        files.remove(new)
    files.create(new)
    waiting, size = [], 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _GROUP:
            files.append(new, b"".join(waiting))
            waiting, size = [], 0
    files.append(new, b"".join(waiting))
    files.sync(new)
    files.replace(new, path)
    files.sync_folder(path)


@attrs.frozen
class Merged:
    """What the outputs of several machines come to."""

    answers: int
    failures: int
    doubled: int
    """Ids that stood in more than one of them; the first was taken."""
    missing: tuple[str, ...]
    """The first shards that are not among them."""


async def merge(parts: Sequence[str], out: str, files: Files) -> Merged:
    """Write the answers of shards into one file, and the failures into one beside it.

    Raises:
        BatchFileError: a part is not an output of a batch, belongs to another input, or a file
        cannot be used; `out` is there already.
    """
    if len(parts) < 1:
        raise RequestError("name the outputs to merge")
    return await _in_files(files, out, partial(_merge, list(parts), out, files))


def _merge(parts: list[str], out: str, files: Files) -> Merged:
    target = Paths(out)
    for path in (target.out, target.errors, target.state):
        if files.size(path) is not None:
            msg = f"{path} is there already; name another output"
            raise BatchFileError(msg)
    states = [_state_of(files, part) for part in parts]
    first = states[0]
    for part, state in zip(parts, states, strict=True):
        if attrs_of(state) != attrs_of(first):
            msg = f"{part} belongs to another input, model or setting than {parts[0]}"
            raise BatchFileError(msg)
    seen, doubled = set[int](), [0]

    def once(paths: Sequence[str]) -> Iterator[bytes]:
        for path in paths:
            for _, line, whole in lines_of(files, path) if files.size(path) else ():
                key = id_hash(_name(line).custom_id)
                if not whole:
                    msg = f"{path} ends in the middle of a line; let its own run go on first"
                    raise BatchFileError(msg)
                if key in seen:
                    doubled[0] += 1
                else:
                    seen.add(key)
                    yield line

    _rewrite(files, target.out, once(parts))
    answers = len(seen)
    _rewrite(files, target.errors, once([Paths(part).errors for part in parts]))
    _rewrite(files, target.state, iter([msgspec.json.encode(_unsharded(first))]))
    return Merged(answers, len(seen) - answers, doubled[0], _missing(states))


def _state_of(files: Files, part: str) -> BatchState:
    path = Paths(part).state
    if files.size(path) is None:
        msg = f"{part} has no {path} beside it: it is not the output of a batch"
        raise BatchFileError(msg)
    return msgspec.json.decode(files.read(path, 0, _GROUP), type=BatchState)


def attrs_of(state: BatchState) -> tuple[object, ...]:
    """What all parts of one run have in common."""
    of = state.shard.partition("/")[2]
    return (state.version, state.input, state.model, state.settings, of)


def _unsharded(state: BatchState) -> BatchState:
    return msgspec.structs.replace(state, shard="")


def _missing(states: list[BatchState]) -> tuple[str, ...]:
    of = states[0].shard.partition("/")[2]
    if not of:
        return ()
    there = {state.shard for state in states}
    wanted = (str(Shard(number, int(of))) for number in range(1, int(of) + 1))
    return tuple(shard for shard in wanted if shard not in there)[:20]


async def _in_files(files: Files, path: str, job: Callable[[], T]) -> T:
    try:
        return await files.run(job)
    except OSError as error:
        raise unusable(error.filename or path, "written", error) from error
