"""Rows in, lines out: what an earlier run has done is not asked again, and a line that is shown as
done is on the disk.

Rule 1: a row is done when its line was synced, and not before.
Rule 2: what no row can help - a key that is refused, a budget that is spent, a file that cannot be
        written - ends the run and is not a row's failure: the rows it met are asked by the next
        run.
Rule 3: at the end answers that stand finish: for `grace` seconds after `stop`, then they are
cancelled.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import TypeAlias

import attrs
import trio

from streamnursery.batch.alike import alike
from streamnursery.batch.answers import answer_line, failure_line
from streamnursery.batch.journal import Journal
from streamnursery.batch.lines import BatchRow
from streamnursery.batch.options import BatchOptions
from streamnursery.batch.output import BatchOutput, id_hash
from streamnursery.batch.passed_on import PassedOn, pass_on
from streamnursery.batch.source import input_error
from streamnursery.batch.tasks import BatchTask, TaskCalls
from streamnursery.facade import Engine
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.completion import Completion
from streamnursery.values.errors import (
    AuthError,
    BatchFileError,
    BudgetExceededError,
    ConfigError,
    EngineClosedError,
    EngineError,
    StorageError,
)
from streamnursery.values.request import ChatRequest

_ENDS = (AuthError, ConfigError, BudgetExceededError, EngineClosedError, StorageError)
"""Errors that the next row would meet as well."""
_Answer: TypeAlias = Completion | PassedOn


@attrs.define
class BatchProgress:
    """Where a run is; its numbers grow while it goes on."""

    rows: int | None = None
    """Of the input, samples included; None while that is not known."""
    before: int = 0
    """Rows that earlier runs have done."""
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_left: float | None = None
    """Tokens, input and output, that are expected of the rows that are not done; None while that
    is not known."""
    tokens_worked: float = 0.0
    """Those that were expected of the rows that this run has done."""
    categories: dict[str, int] = attrs.field(factory=dict)
    """Of the failures, how many of each category."""
    spent: int = 0
    """Nano-dollars of answers from a provider's own batches, at half of the listed price. Other
    answers stand in the engine's `usage_report`."""
    skipped: int = 0
    """Rows of other shards, and those beyond `limit` or not in the sample."""
    torn: int = 0
    """Bytes that a crash had torn, and that were cut off."""
    error: EngineError | None = None
    """What ended the run before its last row."""
    stopped: bool = False
    """It was asked to end."""

    @property
    def done(self) -> int:
        """Rows with an answer or a final failure on the disk, earlier ones included."""
        return self.before + self.answered + self.failed

    @property
    def complete(self) -> bool:
        """The run came to its own end: no error and no stop. With `limit` there may be more
        rows."""
        return self.error is None and not self.stopped


class BatchRun:
    """One run over an open output."""

    def __init__(
        self,
        engine: Engine,
        output: BatchOutput,
        options: BatchOptions,
        progress: BatchProgress,
        stop: trio.Event,
        task: BatchTask | None,
        *,
        alike: bool = False,
    ) -> None:
        """`alike` puts rows that begin alike together; not where rows come from what may wait for
        the answers to others."""
        self._alike = alike
        self._engine = engine
        self._output = output
        self._options = options
        self._progress = progress
        self._stop = stop
        self._task = task
        self._journal = Journal(output.files)
        self._rows: dict[int, BatchRow] = {}
        """Those that are under way, by the number of their request."""
        self._same: dict[str, list[BatchRow]] = {}
        """With `dedupe`: rows that wait for the answer to an equal request."""
        self._known: dict[str, _Answer] = {}
        """With `dedupe`: answers by what was asked. All are kept until the end."""
        most = options.max_in_flight or engine.statistics().total.max_streams
        self._room = trio.Semaphore(most)
        """Of rows under way, streamed or passed on."""
        self._calls = TaskCalls(output.files, output.paths.calls, self._journal, options)

    async def run(self, rows: AsyncIterator[BatchRow]) -> None:
        """Ask for every row that is not done."""
        if self._task is not None:
            await self._calls.load(self._output.found.answered)
        try:
            with bare_errors():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._journal.run)
                    asking = trio.CancelScope()
                    nursery.start_soon(self._give_up_after, asking)
                    with asking:
                        wanted = self._wanted(rows)
                        ordered = alike(wanted) if self._alike else wanted
                        async with aclosing(wanted), aclosing(ordered):
                            await self._ask(ordered)
                    await self._journal.flush()
                    nursery.cancel_scope.cancel()
        finally:
            await self._journal.finish()
        if self._journal.error is not None:
            raise self._journal.error

    async def _give_up_after(self, asking: trio.CancelScope) -> None:
        await self._stop.wait()
        self._progress.stopped = True
        await trio.sleep(self._options.grace)
        asking.cancel()

    async def _ask(self, rows: AsyncIterator[BatchRow]) -> None:
        if self._task is not None:
            await self._run_tasks(rows, self._task)
            return
        with bare_errors():
            async with trio.open_nursery() as passing:
                async with aclosing(self._requests(rows, passing)) as requests:
                    await self._stream(requests)

    async def _stream(self, requests: AsyncGenerator[ChatRequest, None]) -> None:
        most = self._options.max_in_flight
        async with self._engine.as_completed(requests, max_in_flight=most) as outcomes:
            async for outcome in outcomes:
                self._room.release()
                row = self._rows.pop(outcome.index)
                await self._take(row, outcome.completion, outcome.error)

    async def _requests(
        self, rows: AsyncIterator[BatchRow], passing: trio.Nursery
    ) -> AsyncGenerator[ChatRequest, None]:
        """Those that are streamed; those that are passed on are begun in `passing`."""
        number = 0
        async for row in rows:
            if self._options.dedupe and await self._is_asked(row):
                continue
            await self._room.acquire()
            if self._stop.is_set():
                return  # while it waited; the next run asks for it
            self._progress.in_flight += 1
            if row.url:
                passing.start_soon(self._pass_on, row)
                continue
            self._rows[number] = row
            number += 1
            yield self._options.paid(row.request)

    async def _pass_on(self, row: BatchRow) -> None:
        answer, failure = None, None
        try:
            try:
                answer = await pass_on(self._engine, row, self._options.tenant)
            except EngineError as error:
                failure = error
            with self._file_failures():
                await self._take(row, answer, failure)
        finally:
            self._room.release()

    @contextmanager
    def _file_failures(self) -> Iterator[None]:
        """Of a file that cannot be written `run` tells, once for all rows."""
        try:
            yield
        except BatchFileError:
            self._stop.set()

    async def _is_asked(self, row: BatchRow) -> bool:
        """Whether an equal request was made, whose answer is or will be that of this row."""
        digest = row.digest
        known = self._known.get(digest)
        if known is not None:
            await self._answered(row, known, paid=False)
        elif digest in self._same:
            self._same[digest].append(row)
        else:
            self._same[digest] = []
            return False
        return True

    async def _wanted(self, rows: AsyncIterator[BatchRow]) -> AsyncGenerator[BatchRow, None]:
        """Rows that this run has to do."""
        found, options, progress = self._output.found, self._options, self._progress
        taken = 0
        async for row in rows:
            if self._stop.is_set() or (options.limit is not None and taken >= options.limit):
                return
            for one in options.samples_of(row):
                key = id_hash(one.id)
                if not options.wants(key):
                    progress.skipped += 1
                    self._not_left(one)
                elif key in found.answered or not self._again(key):
                    progress.before += 1
                    self._not_left(one)
                    self._compare(one, key)
                else:
                    taken += 1
                    yield one
                    if self._stop.is_set():
                        return

    def _not_left(self, row: BatchRow) -> float:
        """Take a row out of what is left to do."""
        if self._progress.tokens_left is None:
            return 0.0
        weight = row.weight
        self._progress.tokens_left = max(0.0, self._progress.tokens_left - weight)
        return weight

    def _again(self, key: int) -> bool:
        """Whether a row without an answer is asked for: one that has failed only where that is
        wanted."""
        return key not in self._output.found.failed or self._options.retry_errors

    def _compare(self, row: BatchRow, key: int) -> None:
        known = self._output.found.digests.get(key)
        if known and known != row.digest:
            what = f"{row.id!r:.80} was asked for with another request in an earlier run"
            raise input_error(
                "the input", [f"{what}; give it another id, or name another output"], 1
            )

    async def _take(self, row: BatchRow, answer: _Answer | None, error: EngineError | None) -> None:
        """Write down what became of a row; some errors end the run."""
        self._progress.in_flight -= 1
        if isinstance(error, _ENDS):
            self._progress.error = self._progress.error or error
            self._stop.set()
            return
        for one in self._equal_to(row, answer):
            if answer is not None:
                await self._answered(one, answer, paid=one is row)
            elif error is not None:
                await self._failed(one, error)

    def _equal_to(self, row: BatchRow, completion: _Answer | None) -> list[BatchRow]:
        """The row, and those that wait for its answer."""
        if not self._options.dedupe:
            return [row]
        if completion is not None:
            self._known[row.digest] = completion
        return [row, *self._same.pop(row.digest, ())]

    async def _answered(self, row: BatchRow, completion: _Answer, *, paid: bool) -> None:
        line = answer_line(row, completion)
        usage = completion.usage if paid else None

        def synced() -> None:
            self._progress.answered += 1
            self._progress.tokens_worked += self._not_left(row)
            self._progress.input_tokens += (usage and usage.input_tokens) or 0
            self._progress.output_tokens += (usage and usage.output_tokens) or 0

        await self._journal.put(self._output.paths.out, line, synced)

    async def _failed(self, row: BatchRow, error: EngineError) -> None:
        def synced() -> None:
            progress = self._progress
            progress.failed += 1
            progress.categories[error.category] = progress.categories.get(error.category, 0) + 1
            progress.tokens_worked += self._not_left(row)

        await self._journal.put(self._output.paths.errors, failure_line(row, error), synced)

    # Several calls for a row. ------------------------------------------------------------------

    async def _run_tasks(self, rows: AsyncIterator[BatchRow], task: BatchTask) -> None:
        room = self._room
        with bare_errors():
            async with trio.open_nursery() as nursery:
                async for row in rows:
                    await room.acquire()
                    self._progress.in_flight += 1
                    nursery.start_soon(self._one_task, row, task, room)

    async def _one_task(self, row: BatchRow, task: BatchTask, room: trio.Semaphore) -> None:
        try:
            with self._file_failures():
                await self._done_by(task, row)
        finally:
            self._progress.in_flight -= 1
            room.release()

    async def _done_by(self, task: BatchTask, row: BatchRow) -> None:
        try:
            line = await self._calls.run(self._engine, row, task)
        except BatchFileError:
            raise
        except _ENDS as error:
            self._progress.error = self._progress.error or error
            self._stop.set()
        except EngineError as error:
            await self._failed(row, error)
        else:

            def synced() -> None:
                self._progress.answered += 1
                self._progress.tokens_worked += self._not_left(row)

            await self._journal.put(self._output.paths.out, line, synced)
            self._calls.forget(row)
