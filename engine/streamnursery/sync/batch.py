"""`batch.run` for programs on threads and scripts."""

from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from typing import Any, Unpack

import trio

from streamnursery import batch
from streamnursery.batch import BatchProgress, ProviderBatches, Shard, TaskAnswer
from streamnursery.batch.foreign import ForeignRow
from streamnursery.batch.run import RunOptions, check_options
from streamnursery.batch.tasks import BatchTask
from streamnursery.batch.tasks import TaskRow as _EngineRow
from streamnursery.sync.engine import SyncEngine
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import Prompt, RequestFields

__all__ = ["BatchProgress", "ProviderBatches", "Shard", "TaskAnswer", "TaskRow", "run"]


def run(
    eng: SyncEngine,
    rows: str | Path | Iterable[Any],
    *,
    out: str | Path,
    task: "Callable[[SyncTaskRow], object] | None" = None,
    **options: Unpack[RunOptions],
) -> BatchProgress:
    """As `streamnursery.batch.run`, without `grace`, `stop` and `files`. `task` is a plain
    function, called in a thread of its own for each row under way: `max_in_flight` bounds them.

    An iterable is read to its end in your own thread before anything is sent; a file is not
    kept in memory. `started` is called in the engine's thread. Interrupted, the answers that have
    come are safe.
    """
    check_options(options)
    source = rows if isinstance(rows, str | Path) else list(rows)
    made = None if task is None else _from_the_engine(eng._bridge, task)
    return eng._bridge.ask_task(
        lambda engine: batch.run(engine, source, out=out, task=made, **options)
    )


class SyncTaskRow(ForeignRow):
    """What a task gets: a row, and the way to make calls for it."""

    def __init__(self, row: _EngineRow, bridge: SyncBridge) -> None:
        super().__init__(row)
        self._bridge = bridge

    def complete(
        self,
        model: str | ChatRequest | None = None,
        prompt: Prompt | None = None,
        **fields: Unpack[RequestFields],
    ) -> TaskAnswer:
        """As `streamnursery.batch.TaskRow.complete`, awaited for you."""
        return self._bridge.ask_task(self._call(model, prompt, fields))


TaskRow = SyncTaskRow


def _from_the_engine(bridge: SyncBridge, task: Callable[[SyncTaskRow], object]) -> BatchTask:
    """`task` as the engine's thread calls it."""
    threads: list[trio.CapacityLimiter] = []  # made in the engine's thread; rows are bounded

    async def made(engine_row: _EngineRow) -> object:
        row = SyncTaskRow(engine_row, bridge)
        threads[:] = threads or [trio.CapacityLimiter(inf)]
        try:
            return await trio.to_thread.run_sync(
                task, row, abandon_on_cancel=True, limiter=threads[0]
            )
        finally:
            row._end()

    return made
