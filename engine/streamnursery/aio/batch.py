"""`batch.run` for programs on asyncio."""

from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Any

from streamnursery import batch
from streamnursery.aio.engine import AioEngine
from streamnursery.batch import BatchProgress, Shard

__all__ = ["BatchProgress", "Shard", "run"]


async def run(
    eng: AioEngine,
    rows: str | Path | Iterable[Any] | AsyncIterable[Any],
    *,
    out: str | Path,
    model: str | None = None,
    samples: int = 1,
    limit: int | None = None,
    sample: float | None = None,
    shard: str | Shard | None = None,
    retry_errors: bool = False,
    dedupe: bool = False,
    tenant: str | None = None,
    order: str | None = None,
    max_in_flight: int | None = None,
    started: Callable[[BatchProgress], None] | None = None,
) -> BatchProgress:
    """As `streamnursery.batch.run`, without `task`.

    An iterable is read to its end on your own event loop before anything is sent; a file is not
    kept in memory. `started` is called in the engine's thread. Cancelled, the answers that have
    come are safe.
    """
    source = await _at_hand(rows)
    return await eng._bridge.ask_task(
        lambda engine: batch.run(
            engine,
            source,
            out=out,
            model=model,
            samples=samples,
            limit=limit,
            sample=sample,
            shard=shard,
            retry_errors=retry_errors,
            dedupe=dedupe,
            tenant=tenant,
            order=order,
            max_in_flight=max_in_flight,
            started=started,
        )
    )


async def _at_hand(rows: Any) -> Any:
    if isinstance(rows, str | Path):
        return rows
    if hasattr(rows, "__aiter__"):
        return [row async for row in rows]
    return list(rows)
