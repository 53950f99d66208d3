"""`batch.run` for programs on asyncio."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Unpack

import trio

from streamnursery import batch
from streamnursery.aio.engine import AioEngine
from streamnursery.aio.waits import Bridge
from streamnursery.batch import BatchProgress, ProviderBatches, Shard, TaskAnswer
from streamnursery.batch.foreign import ForeignRow
from streamnursery.batch.run import RunOptions, check_options
from streamnursery.batch.tasks import BatchTask
from streamnursery.batch.tasks import TaskRow as _EngineRow
from streamnursery.bridge.hosting import AsyncHost, Spawned
from streamnursery.values.errors import StreamCancelledError
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import Prompt, RequestFields

__all__ = ["BatchProgress", "ProviderBatches", "Shard", "TaskAnswer", "TaskRow", "run"]


async def run(
    eng: AioEngine,
    rows: str | Path | Iterable[Any] | AsyncIterable[Any],
    *,
    out: str | Path,
    task: "Callable[[AioTaskRow], Awaitable[object]] | None" = None,
    **options: Unpack[RunOptions],
) -> BatchProgress:
    """As `streamnursery.batch.run`, without `grace`, `stop` and `files`. `task` runs on your own
    event loop, once for each row under way.

    An iterable is read to its end on your own event loop before anything is sent; a file is not
    kept in memory. `started` is called in the engine's thread. Cancelled, the answers that have
    come are safe.
    """
    check_options(options)
    source = await _at_hand(rows)
    bridge = eng._bridge
    made = None if task is None else _from_the_engine(bridge, bridge.hosts.current(), task)
    return await bridge.ask_task(
        lambda engine: batch.run(engine, source, out=out, task=made, **options)
    )


class AioTaskRow(ForeignRow):
    """What a task gets: a row, and the way to make calls for it."""

    def __init__(self, row: _EngineRow, bridge: Bridge) -> None:
        super().__init__(row)
        self._bridge = bridge

    async def complete(
        self,
        model: str | ChatRequest | None = None,
        prompt: Prompt | None = None,
        **fields: Unpack[RequestFields],
    ) -> TaskAnswer:
        """As `streamnursery.batch.TaskRow.complete`."""
        return await self._bridge.ask_task(self._call(model, prompt, fields))


TaskRow = AioTaskRow


def _from_the_engine(
    bridge: Bridge, host: AsyncHost, task: Callable[[AioTaskRow], Awaitable[object]]
) -> BatchTask:
    """`task` as the engine's thread calls it."""

    async def made(engine_row: _EngineRow) -> object:
        row, over = AioTaskRow(engine_row, bridge), trio.Event()
        values: list[object] = []
        errors: list[Exception] = []
        spawned: list[Spawned] = []

        async def run_here() -> None:
            try:
                values.append(await task(row))
            except Exception as error:  # noqa: BLE001 - raised in the engine's thread
                errors.append(error)
            finally:
                bridge.tell(over.set)

        host.call_soon(lambda: spawned.append(host.spawn(run_here)))
        try:
            await over.wait()
        except trio.Cancelled:
            host.call_soon(lambda: spawned[0].cancel())
            raise
        finally:
            row._end()
        if errors:
            raise errors[0]
        if not values:
            raise StreamCancelledError("the task was cancelled")
        return values[0]

    return made


async def _at_hand(rows: Any) -> Any:
    if isinstance(rows, str | Path):
        return rows
    if hasattr(rows, "__aiter__"):
        return [row async for row in rows]
    return list(rows)
