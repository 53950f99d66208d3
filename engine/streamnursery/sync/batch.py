"""`batch.run` for programs on threads and scripts."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from streamnursery import batch
from streamnursery.batch import BatchProgress, Shard
from streamnursery.sync.engine import SyncEngine

__all__ = ["BatchProgress", "Shard", "run"]


def run(
    eng: SyncEngine,
    rows: str | Path | Iterable[Any],
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

    An iterable is read to its end in your own thread before anything is sent; a file is not
    kept in memory. `started` is called in the engine's thread. Interrupted, the answers that have
    come are safe.
    """
    source = rows if isinstance(rows, str | Path) else list(rows)
    return eng._bridge.ask_task(
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
