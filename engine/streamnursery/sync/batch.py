"""`batch.run` for programs on threads and scripts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

from streamnursery import batch
from streamnursery.batch import BatchProgress, Shard
from streamnursery.batch.run import RunOptions, check_options
from streamnursery.sync.engine import SyncEngine

__all__ = ["BatchProgress", "Shard", "run"]


def run(
    eng: SyncEngine,
    rows: str | Path | Iterable[Any],
    *,
    out: str | Path,
    **options: Unpack[RunOptions],
) -> BatchProgress:
    """As `streamnursery.batch.run`, without `task`, `grace`, `stop` and `files`.

    An iterable is read to its end in your own thread before anything is sent; a file is not
    kept in memory. `started` is called in the engine's thread. Interrupted, the answers that have
    come are safe.
    """
    check_options(options)
    source = rows if isinstance(rows, str | Path) else list(rows)
    return eng._bridge.ask_task(lambda engine: batch.run(engine, source, out=out, **options))
