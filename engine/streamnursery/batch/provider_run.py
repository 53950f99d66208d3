"""Rows through a provider's own batch API: a day's patience for half of the price.

Rule 1: no row is in two batches at once. What is asked of the provider is noted before it is asked
        for, and a batch whose answer was lost is looked for before another one is made.
Rule 2: answers are fetched until they are on the disk; a batch is over after that, and not before.
Rule 3: a stop ends the waiting. Batches go on at the provider, and the same command fetches them.
"""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
import trio

from streamnursery.batch.anthropic_api import AnthropicBatchApi
from streamnursery.batch.lines import BatchRow
from streamnursery.batch.output import id_hash
from streamnursery.batch.parts import Part, ProviderParts
from streamnursery.batch.provider_api import NotOursError, OpenAIBatchApi, ProviderApi
from streamnursery.batch.provider_lines import ANTHROPIC, AnsweredLine, url_and_body
from streamnursery.batch.runner import BatchRun
from streamnursery.config.prices import price_source
from streamnursery.core.money.pricing import cost
from streamnursery.values.errors import (
    AttemptState,
    BatchFileError,
    BatchInputError,
    EngineError,
    RequestError,
    ServerError,
)
from streamnursery.values.usage import Usage

_SETTLES = 30.0
"""Seconds after which a batch that was made stands in the provider's list."""
_CREATE_TRIES = 5
_ROOM = 64 * 1024
"""Of a relayed body, for what stands around the lines."""
_MOST_FAILURES = 20
"""Looks in a row that may fail before the run ends."""


@attrs.frozen
class ProviderBatches:
    """How a provider's own batch API is used: OpenAI's, or Anthropic's."""

    lines: int = 50_000
    """Of one batch at most."""
    nbytes: int = 200_000_000
    """Of its file at most; `engine.max_relayed_bytes` may allow less."""
    poll: float = 2.0
    """Seconds between two looks at first; they grow to a minute."""

    def __attrs_post_init__(self) -> None:
        for name in ("lines", "nbytes", "poll"):
            if not getattr(self, name) > 0:
                msg = f"{name} must be above 0, not {getattr(self, name)!r}"
                raise RequestError(msg)


@attrs.define(eq=False)
class _RowGroup:
    """Rows for one batch: of one endpoint, one path, one model."""

    endpoint: str
    model: str
    route: str
    url: str
    lines: list[bytes] = attrs.field(factory=list)
    digests: dict[int, str] = attrs.field(factory=dict)
    names: list[str] = attrs.field(factory=list)
    size: int = 0
    mark: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    """Of its next batch."""


class ProviderRun(BatchRun):
    """One run over an open output, by way of batches of the provider's."""

    limits: ProviderBatches = ProviderBatches()

    async def _ask(self, rows: AsyncIterator[BatchRow]) -> None:
        self._parts = ProviderParts(self._output.files, self._output.paths.batches)
        await self._parts.load()
        self._price_of = price_source(self._engine.config)
        try:
            await self._take_up()
            await self._submit(rows)
            await self._collect()
        except (BatchFileError, BatchInputError):
            raise
        except EngineError as error:
            self._progress.error = self._progress.error or error

    def _api(self, part: Part) -> ProviderApi:
        # As it was asked, whatever the endpoint's dialect is called now.
        kind = AnthropicBatchApi if part.names else OpenAIBatchApi
        return kind(self._engine, part.endpoint)

    # Rows to the provider. -----------------------------------------------------------------------

    async def _take_up(self) -> None:
        """Go on with what earlier runs have begun."""
        for part in self._parts.open:
            if not part.file and not part.asked:
                await self._parts.step(part, "free")
            elif not part.batch:
                await self._create(part)
        for part in self._parts.open:
            # Some of its failures may have been written; they are fetched again.
            self._output.found.failed -= part.digests.keys()
            self._count(part, 1)

    def _count(self, part: Part, sign: int) -> None:
        left = sum(key not in self._output.found.answered for key in part.digests)
        self._progress.in_flight += sign * left

    async def _submit(self, rows: AsyncIterator[BatchRow]) -> None:
        busy = {key for part in self._parts.open for key in part.digests}
        groups: dict[tuple[str, str, str], _RowGroup] = {}
        allowed = self._engine.config.max_relayed_bytes - _ROOM
        most = max(1, min(self.limits.nbytes, allowed))
        async for row in rows:
            key = id_hash(row.id)
            if key in busy:
                continue
            group, line = self._line(groups, row)
            if group.digests and (
                len(group.digests) >= self.limits.lines or group.size + len(line) > most
            ):
                await self._send(group)
                group, line = self._line(groups, row)
            group.lines.append(line)
            group.digests[key] = row.digest
            group.names.append(row.id)
            group.size += len(line)
            if sum(one.size for one in groups.values()) > 2 * most:
                await self._send(max(groups.values(), key=lambda one: one.size))
        for group in groups.values():
            if group.lines and not self._stop.is_set():
                await self._send(group)

    def _line(
        self, groups: dict[tuple[str, str, str], _RowGroup], row: BatchRow
    ) -> tuple[_RowGroup, bytes]:
        route = self._engine._first(row.request.model, None)
        url, body = url_and_body(row, self._engine._outlets[route.endpoint], route.model)
        group = groups.setdefault(
            (route.endpoint, url, route.model),
            _RowGroup(route.endpoint, row.request.model, str(route), url),
        )
        name = f"{group.mark}-{len(group.lines)}"
        return group, self._api_of(route.endpoint).line(row.id, name, url, body)

    def _api_of(self, endpoint: str) -> ProviderApi:
        speaks = self._engine._outlets[endpoint].dialect.name
        kind = AnthropicBatchApi if speaks == ANTHROPIC else OpenAIBatchApi
        return kind(self._engine, endpoint)

    async def _send(self, group: _RowGroup) -> None:
        api = self._api_of(group.endpoint)
        names = [] if api.keeps_input else list(group.names)
        about = (group.mark, group.endpoint, group.model, group.route, group.url)
        part = Part(*about, dict(group.digests), names)
        data = api.joined(group.lines)
        for held in (group.lines, group.names, group.digests):
            held.clear()
        group.size, group.mark = 0, uuid.uuid4().hex
        await self._parts.plan(part)
        self._count(part, 1)
        file = await api.upload(part, data)
        if file:
            await self._parts.step(part, "file", file)
            data = b""
        await self._create(part, data)

    async def _create(self, part: Part, data: bytes = b"") -> None:
        """Make its batch, unless there is one. Where that takes `data` and there are none, a part
        without a batch is free.

        Raises:
            EngineError: there is none, or nobody knows; the next run looks for it.
        """
        api = self._api(part)
        waits = iter(self._engine.config.retries.base * 2**n for n in range(_CREATE_TRIES - 1))
        while True:
            if part.asked:
                found = await self._found(part)
                if found is not None:
                    await self._parts.step(part, "batch", found)
                    return
                if not api.keeps_input and not data:
                    await self._parts.step(part, "free")
                    return
            await self._parts.step(part, "asked", await api.newest())
            try:
                made = await api.create(part, data)
            except EngineError as error:
                wait = next(waits, None)
                if not error.retryable or wait is None or self._stop.is_set():
                    if _refused(error):
                        await self._parts.step(part, "free")
                    raise
                part.asked = not _refused(error)
                await trio.sleep(max(wait, error.retry_after or 0))
            else:
                await self._parts.step(part, "batch", made)
                return

    async def _found(self, part: Part) -> str | None:
        """The batch of a part whose answer was lost."""
        api = self._api(part)
        found = await api.find(part, self._parts.batches)
        if found is None:
            await trio.sleep(_SETTLES)
            found = await api.find(part, self._parts.batches)
        return found

    # Answers from the provider. ------------------------------------------------------------------

    async def _collect(self) -> None:
        pause, failures = self.limits.poll, 0
        while self._parts.open and not self._stop.is_set():
            for part in self._parts.open:
                try:
                    api = self._api(part)
                    batch = await api.batch(part.batch)
                    if api.is_over(batch):
                        await self._fetch(part, batch)
                    failures = 0
                except BatchFileError:
                    raise
                except EngineError as error:
                    failures += 1
                    if not error.retryable or failures >= _MOST_FAILURES:
                        raise
                if self._stop.is_set():
                    return
            if self._parts.open:
                with trio.move_on_after(pause):
                    await self._stop.wait()
                pause = min(pause * 1.5, max(60.0, self.limits.poll))

    async def _fetch(self, part: Part, batch: dict[str, Any]) -> None:
        left = {key for key in part.digests if key not in self._output.found.answered}
        try:
            answers = await self._api(part).answers(part, batch)
        except NotOursError:
            await self._look_further(part, len(left))
            return
        for told in answers:
            await self._keep(part, told, left)
        await self._journal.flush()
        self._progress.in_flight -= len(left)
        await self._parts.step(part, "done")
        if left:
            raise _unanswered(batch, len(left))

    async def _look_further(self, part: Part, left: int) -> None:
        """The batch that was taken for the part's has ended, and is another's."""
        part.strangers.add(part.batch)
        await self._parts.step(part, "asked", part.since)
        await self._create(part)
        if part.over:
            self._progress.in_flight -= left
            msg = f"a batch of {left} rows never reached the provider; the next run asks for them"
            raise ServerError(msg, retryable=False)

    async def _keep(self, part: Part, told: AnsweredLine, left: set[int]) -> None:
        """Write down one answer of a batch."""
        key = id_hash(told.custom_id)
        if key not in left:
            return  # of another run of ours, and safe
        left.discard(key)
        self._progress.in_flight -= 1
        line = told.line(part.digests[key], part.route, part.batch)
        paths, usage = self._output.paths, told.usage
        path = paths.out if told.well else paths.errors
        await self._journal.put(path, line, partial(self._synced, told.well, part, usage))

    def _synced(self, well: bool, part: Part, usage: Usage) -> None:
        progress = self._progress
        if not well:
            progress.failed += 1
            name = "provider_batch"
            progress.categories[name] = progress.categories.get(name, 0) + 1
            return
        progress.answered += 1
        progress.input_tokens += usage.input_tokens or 0
        progress.output_tokens += usage.output_tokens or 0
        price = self._price_of(part.model, None, datetime.now(UTC).date())
        if price is not None:
            progress.spent += cost(price, usage) // 2


def _refused(error: EngineError) -> bool:
    """Whether nothing was made for certain."""
    if error.status is not None:
        return 400 <= error.status < 500 and error.status != 408
    attempts = error.attempts
    return bool(attempts) and attempts[-1].state is AttemptState.NOT_SENT


def _unanswered(batch: dict[str, Any], count: int) -> EngineError:
    status = batch.get("status") or batch.get("processing_status")
    errors = (batch.get("errors") or {}).get("data") or []
    why = "; ".join(str(one.get("message")) for one in errors[:3] if isinstance(one, dict))
    msg = (
        f"batch {batch.get('id')!r:.80} is {status!r:.20} and leaves {count} rows "
        f"without an answer{': ' + why[:300] if why else ''}; they are asked for by the next run"
    )
    return ServerError(msg, retryable=False)
