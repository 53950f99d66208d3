"""`streamnursery.batch.run`: a file of prompts becomes a file of answers, whatever happens in
between."""

import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypedDict

import trio

from streamnursery.batch.files import Files, RealFiles
from streamnursery.batch.finish import compact_errors, in_input_order
from streamnursery.batch.options import BatchOptions, Shard
from streamnursery.batch.output import VERSION, BatchOutput, BatchState, Paths, settings_digest
from streamnursery.batch.parts import ProviderParts
from streamnursery.batch.provider_run import ProviderBatches, ProviderRun
from streamnursery.batch.runner import BatchProgress, BatchRun
from streamnursery.batch.source import Rows, Source
from streamnursery.batch.tasks import BatchTask
from streamnursery.facade import Engine
from streamnursery.values.errors import BatchFileError, RequestError


class RunOptions(TypedDict, total=False):
    """What `run` of every world takes besides engine, rows and `out`; see there."""

    model: str | None
    samples: int
    limit: int | None
    sample: float | None
    shard: str | Shard | None
    retry_errors: bool
    dedupe: bool
    tenant: str | None
    order: str | None
    max_in_flight: int | None
    via: str | ProviderBatches | None
    started: Callable[[BatchProgress], None] | None


def check_options(options: Mapping[str, object]) -> None:
    """Raise `TypeError` for one that only the engine's own world has."""
    unknown = options.keys() - RunOptions.__annotations__.keys()
    if unknown:
        msg = f"run() got an unexpected keyword argument {min(unknown)!r}"
        raise TypeError(msg)


async def run(
    eng: Engine,
    rows: Rows,
    *,
    out: str | Path,
    model: str | None = None,
    task: BatchTask | None = None,
    samples: int = 1,
    limit: int | None = None,
    sample: float | None = None,
    shard: str | Shard | None = None,
    retry_errors: bool = False,
    dedupe: bool = False,
    tenant: str | None = None,
    order: str | None = None,
    max_in_flight: int | None = None,
    via: str | ProviderBatches | None = None,
    grace: float = 10.0,
    stop: trio.Event | None = None,
    started: Callable[[BatchProgress], None] | None = None,
    files: Files | None = None,
) -> BatchProgress:
    """Ask for every row, and write the answers to `out` and the failures beside it.

    `rows` is the path of a file - OpenAI's or Anthropic's batch lines, `{"prompt"}` or
    `{"messages"}` with the fields of a request, plain lines; `.gz`, `.zst` and `.parquet` of them -
    or "-", or an iterable of such mappings, of texts or of `ChatRequest`s. `model` serves rows that
    name none.

    The output is the journal: the same call again goes on where the last one ended, whatever ended
    it. `task` makes several calls for a row: `async def task(row): ...`, with `row.complete(...)`.
    `order="input"` sorts the output at the end. After `stop` no row is begun, and those under way
    have `grace` seconds. `started` is called once with the progress, which grows while it runs.

    `via="provider"` sends the rows through the batch API of OpenAI or of Anthropic, at half price
    and within a day: batches are made, looked at and fetched. A run that was ended goes on
    waiting; no row is sent twice. Limits and budgets of the engine do not hold there.

    Returns the progress as it is in the end: `error` says what ended the run before its last row,
    such as a budget that is spent.

    Raises:
        BatchInputError: the input has mistakes; of a file all are listed, and nothing was sent.
        BatchFileError: a file cannot be used or written; what was counted as done is safe.
        RequestError: an option is wrong.
    """
    if order not in (None, "input"):
        msg = f'order is "input" or None, not {order!r:.40}'
        raise RequestError(msg)
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    options = BatchOptions(
        samples, limit, sample, part, retry_errors, dedupe, max_in_flight, grace, tenant
    )
    provider = _provider(via, options, task)
    path, files = os.fspath(out), RealFiles() if files is None else files
    source = Source(rows, model)
    checked = await source.check()
    output = BatchOutput(
        files,
        Paths(path),
        _state(checked.digest, model, options, task),
        digests=not source.is_file,
    )
    progress = BatchProgress(None if checked.rows is None else checked.rows * samples)
    if checked.weight is not None and provider is None:
        progress.tokens_left = checked.weight * samples
    stop = trio.Event() if stop is None else stop
    try:
        await output.open(calls=task is not None)
        progress.torn = output.found.torn
        if started is not None:
            started(progress)
        alike = source.is_file
        work = BatchRun(eng, output, options, progress, stop, task, alike=alike)
        if provider is not None:
            work = ProviderRun(eng, output, options, progress, stop, task)
            work.limits = provider
        else:
            await _check_no_batches(output)
        async with aclosing(source.each()) as each:
            await work.run(each)
        await compact_errors(output)
        if order == "input" and progress.complete:
            async with aclosing(source.each()) as each:
                await in_input_order(output, each, options)
    finally:
        with trio.CancelScope(shield=True):
            await files.run(files.close)
    return progress


def _provider(
    via: str | ProviderBatches | None, options: BatchOptions, task: BatchTask | None
) -> ProviderBatches | None:
    if via is None:
        return None
    if task is not None or options.dedupe or options.tenant is not None:
        raise RequestError("a provider's batches know no task, no dedupe and no tenant")
    if via == "provider":
        return ProviderBatches()
    if not isinstance(via, ProviderBatches):
        msg = f'via is "provider", a ProviderBatches or None, not {via!r:.40}'
        raise RequestError(msg)
    return via


async def _check_no_batches(output: BatchOutput) -> None:
    """Rows that a provider works on would be paid for twice."""
    parts = ProviderParts(output.files, output.paths.batches)
    await parts.load()
    waiting = sum(part.paid for part in parts.open)
    if waiting:
        msg = (
            f"{waiting} batches of {output.paths.out} are at the provider: go on with --via "
            'provider (via="provider") until they have come, or name another output'
        )
        raise BatchFileError(msg)


def _state(
    digest: str, model: str | None, options: BatchOptions, task: BatchTask | None
) -> BatchState:
    settings: dict[str, Any] = {"samples": options.samples, "task": task is not None}
    shard = "" if options.shard is None else str(options.shard)
    return BatchState(VERSION, digest, model or "", settings_digest(**settings), shard)
