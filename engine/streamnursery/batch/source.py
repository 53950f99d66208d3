"""Where the rows of a batch come from: a file, standard input, or an iterable of the caller's.

A file is read twice: once for all its mistakes, its length and its digest, before anything is sent;
and once for its rows. What comes from a pipe or an iterable is checked as it comes.
"""

import gzip
import io
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import attrs
import msgspec
import trio

from streamnursery.batch.lines import BatchRow, LineError, row_of
from streamnursery.batch.output import MAX_LINE, id_hash
from streamnursery.values.errors import BatchInputError, ConfigError, RequestError

Rows: TypeAlias = "str | Path | Iterable[Any] | AsyncIterable[Any]"
SHOWN = 20
"""Mistakes that are listed; the others are counted."""
_AT_ONCE = 200
"""Rows that are read from a file in one step of a thread."""
STDIN = "-"


def input_error(name: str, problems: list[str], count: int) -> BatchInputError:
    """The error for an input, with its first mistakes."""
    more = f"\n... and {count - len(problems)} more" if count > len(problems) else ""
    what = "one mistake" if count == 1 else f"{count} mistakes"
    error = BatchInputError(f"{name} has {what}; nothing was sent:\n" + "\n".join(problems) + more)
    error.problems, error.count = tuple(problems), count
    return error


@attrs.frozen
class Checked:
    """What the first reading of an input has found."""

    rows: int | None
    """None: not known before the end."""
    digest: str = ""
    weight: float | None = None
    """Tokens that are expected of all rows."""


@attrs.define
class Source:
    """Rows one after the other; `check` first."""

    rows: Rows
    model: str | None

    @property
    def name(self) -> str:
        if isinstance(self.rows, str | Path):
            return "standard input" if self.rows == STDIN else str(self.rows)
        return "the rows"

    @property
    def is_file(self) -> bool:
        return isinstance(self.rows, str | Path) and self.rows != STDIN

    async def check(self) -> Checked:
        """Read a file from its beginning to its end.

        Raises:
            BatchInputError: with its mistakes.
        """
        if not self.is_file:
            return Checked(None)
        return await trio.to_thread.run_sync(self._check, abandon_on_cancel=True)

    def _check(self) -> Checked:
        found, hashes, problems, count = 0, set[int](), list[str](), 0
        weight = 0.0
        digest = blake2b(digest_size=16)
        with opened(str(self.rows)) as stream:
            for number, at, line in numbered(stream):
                digest.update(line)
                wrong = None
                try:
                    row = self._row(line, number)
                except LineError as error:
                    wrong = str(error)
                else:
                    if row is not None:
                        key = id_hash(row.id)
                        wrong = f"{row.id!r:.80} is there twice" if key in hashes else None
                        hashes.add(key)
                        found += 1
                        weight += row.weight
                if wrong is not None:
                    count += 1
                    if len(problems) < SHOWN:
                        problems.append(f"line {number}, byte {at}: {wrong}")
        if count:
            raise input_error(self.name, problems, count)
        return Checked(found, digest.hexdigest(), weight)

    def _row(self, line: bytes, number: int) -> BatchRow | None:
        value = value_of(line)
        return None if value is None else row_of(value, number, self.model)

    async def each(self) -> AsyncGenerator[BatchRow, None]:
        """The rows.

        Raises:
            BatchInputError: of what was not checked before: a row that is none, an id that comes
            twice.
        """
        rows = self.rows
        values = self._from_file() if isinstance(rows, str | Path) else _numbered(rows)
        seen: set[int] | None = None if self.is_file else set()
        async with aclosing(values) as source:
            async for number, value in source:
                row = self._made(value, number)
                if seen is not None:
                    key = id_hash(row.id)
                    if key in seen:
                        raise self._mistake(number, f"{row.id!r:.80} is there twice")
                    seen.add(key)
                yield row  # noqa: ASYNC119 - its caller closes it

    def _made(self, value: object, number: int) -> BatchRow:
        try:
            return row_of(value, number, self.model)
        except LineError as error:
            raise self._mistake(number, str(error)) from None

    def _mistake(self, number: int, what: str) -> BatchInputError:
        return input_error(self.name, [f"row {number}: {what}"], 1)

    async def _from_file(self) -> AsyncGenerator[tuple[int, object], None]:
        with opened(str(self.rows)) as stream:
            lines = numbered(stream)
            while True:
                # A pipe may be silent for long, and Ctrl-C is not to wait for it.
                found = await trio.to_thread.run_sync(_some, lines, abandon_on_cancel=True)
                for number, _, line in found:
                    try:
                        value = value_of(line)
                    except LineError as error:
                        raise self._mistake(number, str(error)) from None
                    if value is not None:
                        yield number, value  # noqa: ASYNC119 - `each` closes it
                if len(found) < _AT_ONCE:
                    return


def _some(lines: Iterator[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    return list(islice(lines, _AT_ONCE))


async def _numbered(rows: Any) -> AsyncGenerator[tuple[int, object], None]:
    if hasattr(rows, "__aiter__"):
        number = 0
        async for value in rows:
            number += 1
            yield number, value
    else:
        for number, value in enumerate(rows, 1):
            yield number, value


def value_of(line: bytes) -> object | None:
    """What a line says: an object, or text; None of an empty one.

    Raises:
        LineError: it is too long, no UTF-8, or begins like an object and is none.
    """
    if len(line) > MAX_LINE:
        msg = f"a line of more than {MAX_LINE:,} bytes"
        raise LineError(msg)
    text = line.strip()
    if not text:
        return None
    if not text.startswith(b"{"):
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            msg = f"not UTF-8 at its byte {error.start}"
            raise LineError(msg) from None
    try:
        return msgspec.json.decode(text)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"no JSON: {error}"
        raise LineError(msg) from None


def numbered(stream: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """`(number from 1, offset, line)`. Of a line beyond the bound only its beginning is given."""
    at, number = 0, 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        size = len(line)
        while not line.endswith(b"\n") and size > MAX_LINE:  # the rest of a line that is too long
            more = stream.readline(MAX_LINE)
            size += len(more)
            if not more or more.endswith(b"\n"):
                break
        yield number, at, line
        at += size


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """The bytes of an input, decompressed.

    Raises:
        RequestError: it cannot be read.
        ConfigError: it needs a package that is not installed.
    """
    try:
        if path == STDIN:
            yield sys.stdin.buffer
            return
        with _file(path) as stream:
            yield stream
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error)
        msg = f"{path} cannot be read: {why}"
        raise RequestError(msg) from error


def _file(path: str) -> IO[bytes]:
    if path.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(path))
    if path.endswith(".zst"):
        return _zstandard(path)
    if path.endswith(".parquet"):
        return _parquet(path)
    return open(path, "rb")


def _zstandard(path: str) -> IO[bytes]:
    # Not by the package zstandard: where it is installed, httpx takes answers in that coding.
    try:
        import pyarrow
    except ImportError:
        msg = f"{path} needs pyarrow: pip install 'pyarrow>=18'"
        raise ConfigError(msg) from None
    found: IO[bytes] = io.BufferedReader(pyarrow.input_stream(path, compression="zstd"))
    return found


def _parquet(path: str) -> IO[bytes]:
    """The rows of a Parquet file as lines of JSON."""
    try:
        import pyarrow.parquet
    except ImportError:
        msg = f"{path} needs pyarrow: pip install 'pyarrow>=18'"
        raise ConfigError(msg) from None

    class ParquetLines(io.RawIOBase):
        def __init__(self) -> None:
            file = pyarrow.parquet.ParquetFile(path)
            self._rows = (row for batch in file.iter_batches(1000) for row in batch.to_pylist())
            self._rest = b""

        def readable(self) -> bool:
            return True

        def readinto(self, into: Any) -> int:
            while not self._rest:
                row = next(self._rows, None)
                if row is None:
                    return 0
                kept = {name: value for name, value in row.items() if value is not None}
                self._rest = msgspec.json.encode(kept, enc_hook=str) + b"\n"
            size = min(len(into), len(self._rest))
            into[:size], self._rest = self._rest[:size], self._rest[size:]
            return size

    return io.BufferedReader(ParquetLines())
