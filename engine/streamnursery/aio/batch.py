"""`batch.run` for programs on asyncio."""

from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Any, Unpack

from streamnursery import batch
from streamnursery.aio.engine import AioEngine
from streamnursery.batch import BatchProgress, Shard
from streamnursery.batch.run import RunOptions, check_options

__all__ = ["BatchProgress", "Shard", "run"]


async def run(
    eng: AioEngine,
    rows: str | Path | Iterable[Any] | AsyncIterable[Any],
    *,
    out: str | Path,
    **options: Unpack[RunOptions],
) -> BatchProgress:
    """As `streamnursery.batch.run`, without `task`, `grace`, `stop` and `files`.

    An iterable is read to its end on your own event loop before anything is sent; a file is not
    kept in memory. `started` is called in the engine's thread. Cancelled, the answers that have
    come are safe.
    """
    check_options(options)
    source = await _at_hand(rows)
    return await eng._bridge.ask_task(lambda engine: batch.run(engine, source, out=out, **options))


async def _at_hand(rows: Any) -> Any:
    if isinstance(rows, str | Path):
        return rows
    if hasattr(rows, "__aiter__"):
        return [row async for row in rows]
    return list(rows)
