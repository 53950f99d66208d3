"""Several calls for a row: an async function of the caller's, each of whose calls is in the
journal.

A run that goes on begins the function anew; the calls that were answered before are answered from
the journal, so it goes on at the first one that is missing. The function must make the same calls
in the same order for the same row.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, Unpack

import attrs
import msgspec
import trio

from streamnursery.batch.answers import chat_body, task_line
from streamnursery.batch.files import Files
from streamnursery.batch.journal import Journal
from streamnursery.batch.lines import BatchRow
from streamnursery.batch.options import BatchOptions
from streamnursery.batch.output import id_hash, lines_of
from streamnursery.facade import Engine
from streamnursery.values.errors import RequestError
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.values.request_fields import Prompt, RequestFields


class _CallMark(msgspec.Struct):
    digest: str
    call: int


class _JournalledCall(msgspec.Struct):
    custom_id: str
    body: dict[str, Any]
    streamnursery: _CallMark


@attrs.frozen
class TaskAnswer:
    """The answer to one call of a task."""

    body: Mapping[str, Any]
    """A chat completion as OpenAI's API has it."""

    @property
    def text(self) -> str:
        return str(self.message.get("content") or "")

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message, to append to `messages`."""
        found: dict[str, Any] = self.body["choices"][0]["message"]
        return found

    @property
    def usage(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.body.get("usage")
        return found


class TaskRow:
    """What a task gets: a row, and the way to make calls for it."""

    def __init__(self, calls: "TaskCalls", engine: Engine, row: BatchRow) -> None:
        self.id = row.id
        self.request = row.request
        self.fields = row.fields
        """The line of the input as it was."""
        self.made = 0
        """Calls so far."""
        self._calls = calls
        self._engine = engine
        self._row = row
        self.busy = False
        """A call is under way."""

    async def complete(
        self,
        model: str | ChatRequest | None = None,
        prompt: Prompt | None = None,
        **fields: Unpack[RequestFields],
    ) -> TaskAnswer:
        """As `Engine.complete`; without arguments the row's own request. The answer is on the disk
        when this returns.

        Raises:
            RequestError: two calls of a row at once, or another one than in an earlier run.
            EngineError: as `Engine.complete`.
        """
        if self.busy:
            raise RequestError("the calls of one row are made one after the other")
        if model is None and self._row.url:
            msg = f"{self.id!r:.80} is no prompt but a row for {self._row.url}: name a model"
            raise RequestError(msg)
        request = self.request if model is None else make_request(model, prompt, **fields)
        self.busy = True
        try:
            number, self.made = self.made, self.made + 1
            return await self._calls.answer(self._engine, self._row, number, request)
        finally:
            self.busy = False


BatchTask: TypeAlias = Callable[[TaskRow], Awaitable[object]]


class TaskCalls:
    """The calls of all rows that are not done, in a file beside the output."""

    def __init__(self, files: Files, path: str, journal: Journal, options: BatchOptions) -> None:
        self._options = options
        self._files = files
        self._path = path
        self._journal = journal
        self._known: dict[int, dict[int, tuple[int, int]]] = {}
        """By the hash of a row's id and the number of a call: where its line is."""

    async def load(self, done: set[int]) -> None:
        """Find what earlier runs have of rows that are not `done`."""
        await self._files.run(partial(self._load, done))

    def _load(self, done: set[int]) -> None:
        for at, line, _ in lines_of(self._files, self._path):
            found = _decode(line)
            key = id_hash(found.custom_id)
            if key not in done:
                self._known.setdefault(key, {})[found.streamnursery.call] = (at, len(line))

    async def run(self, engine: Engine, row: BatchRow, task: BatchTask) -> bytes:
        """The line of output for a row."""
        of = TaskRow(self, engine, row)
        value = await task(of)
        try:
            return task_line(row, value, of.made)
        except TypeError as error:
            msg = f"what the task returned for {row.id!r:.80} is no JSON: {error}"
            raise RequestError(msg) from None

    def forget(self, row: BatchRow) -> None:
        self._known.pop(id_hash(row.id), None)

    async def answer(
        self, engine: Engine, row: BatchRow, number: int, request: ChatRequest
    ) -> TaskAnswer:
        digest = attrs.evolve(row, request=request, url="").digest
        place = self._known.get(id_hash(row.id), {}).get(number)
        if place is not None:
            line = _decode(await self._files.run(partial(self._files.read, self._path, *place)))
            if line.streamnursery.digest != digest:
                msg = (
                    f"call {number + 1} for {row.id!r:.80} asks for something else than in an "
                    "earlier run; a task makes the same calls for the same row, or name another "
                    "output"
                )
                raise RequestError(msg)
            return TaskAnswer(line.body)
        body = chat_body(await engine.complete(self._options.paid(request)))
        mark = _CallMark(digest, number)
        data = msgspec.json.encode(_JournalledCall(row.id, body, mark), enc_hook=str) + b"\n"
        safe = trio.Event()
        await self._journal.put(self._path, data, safe.set)
        await self._journal.wait(safe)
        return TaskAnswer(body)


_decode = msgspec.json.Decoder(_JournalledCall).decode
