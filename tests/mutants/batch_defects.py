"""Planted defects of the room `batch`."""

from tests.mutants.defects import Mutant

_RUN, _PASSED, _PROVIDER, _ANTHROPIC = (
    "simulation/test_batch.py",
    "simulation/test_batch_passed_on.py",
    "simulation/test_batch_provider.py",
    "simulation/test_batch_anthropic.py",
)


def _mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, f"batch/{file}", old, new, tests)


BATCH_MUTANTS = (
    _mutant(
        "lines of a batch are written and not synced",
        "journal.py",
        "            self._files.sync(path)\n",
        "",
        _RUN,
    ),
    _mutant(
        "the folder of a batch's files is not synced",
        "output.py",
        "        files.sync_folder(paths.out)\n",
        "",
        _RUN,
    ),
    _mutant(
        "a row of a batch is done before its line is synced",
        "runner.py",
        "        await self._journal.put(self._output.paths.out, line, synced)\n\n"
        "    async def _failed",
        "        synced()\n"
        "        await self._journal.put(self._output.paths.out, line, lambda: None)\n\n"
        "    async def _failed",
        _RUN,
    ),
    _mutant(
        "a batch is resumed by the number of its lines",
        "runner.py",
        "                elif key in found.answered or not self._again(key):",
        "                elif progress.before < len(found.answered):",
        _RUN,
    ),
    _mutant(
        "a torn line of a batch stays where it is",
        "output.py",
        "            files.truncate(path, good)\n",
        "",
        _RUN,
    ),
    _mutant(
        "two processes work on one output",
        "output.py",
        "        if not files.lock(paths.out):",
        "        if not files.lock(paths.out) and False:",
        _RUN,
    ),
    _mutant(
        "a key that is refused makes every row of a batch fail",
        "runner.py",
        "_ENDS = (AuthError, ",
        "_ENDS = (",
        _RUN,
        _PASSED,
    ),
    _mutant(
        "a call of a task is journalled under any request",
        "tasks.py",
        "            if line.streamnursery.digest != digest:",
        "            if False:",
        _RUN,
    ),
    _mutant(
        "rows that are passed on have no bound in flight",
        "runner.py",
        "            await self._room.acquire()\n            if self._stop",
        "            if not row.url:\n                await self._room.acquire()\n"
        "            if self._stop",
        _PASSED,
    ),
    _mutant(
        "a relayed answer that says no is an answer",
        "passed_on.py",
        "        if answer.error is not None:",
        "        if False:",
        _PASSED,
    ),
    _mutant(
        "a provider's batch is asked for before that is noted",
        "provider_run.py",
        '            await self._parts.step(part, "asked", await api.newest())\n',
        "",
        _PROVIDER,
    ),
    _mutant(
        "a provider's batch whose answer was lost is made again",
        "provider_run.py",
        "            if part.asked:\n",
        "            if False:\n",
        _PROVIDER,
    ),
    _mutant(
        "creating a provider's batch is retried unseen",
        "provider_api.py",
        '"application/json", _ONCE)',
        '"application/json")',
        _PROVIDER,
    ),
    _mutant(
        "a provider's batch is over before its answers are on the disk",
        "provider_run.py",
        "        await self._journal.flush()\n",
        "",
        _PROVIDER,
    ),
    _mutant(
        "rows that a provider works on are asked for once more",
        "provider_run.py",
        "            if key in busy:",
        "            if False:",
        _PROVIDER,
    ),
    _mutant(
        "rows that a provider works on are asked for by a run without it",
        "run.py",
        "    if waiting:\n",
        "    if False:\n",
        _PROVIDER,
    ),
    _mutant(
        "the steps of a provider's batch are not synced",
        "parts.py",
        "        files.append(path, line)\n        files.sync(path)\n",
        "        files.append(path, line)\n",
        _PROVIDER,
    ),
    _mutant(
        "another client's batch is taken for ours",
        "anthropic_api.py",
        "        if not lines or not str(object_of(lines[0]).get",
        "        if not lines or not str(part.id + '-' or object_of(lines[0]).get",
        _ANTHROPIC,
    ),
    _mutant(
        "a batch of Anthropic's that still works is not looked at when its answer was lost",
        "anthropic_api.py",
        "                return name\n            try:",
        "                continue\n            try:",
        _ANTHROPIC,
    ),
    _mutant(
        "rows of Anthropic's batches are told by another row's number",
        "anthropic_api.py",
        "    row = part.names[int(number)]",
        "    row = part.names[-1 - int(number)]",
        _ANTHROPIC,
    ),
    Mutant(
        "one 429 without a date closes its route to everybody",
        "core/recovery/circuit_gate.py",
        "self._refused >= _STORM",
        "self._refused >= 1",
        ("simulation/test_random_refusals.py",),
    ),
    Mutant(
        "a storm of 429s without a date closes nothing",
        "core/recovery/circuit_gate.py",
        "        if asked is not None or self._refused >= _STORM:",
        "        if asked is not None:",
        ("simulation/test_random_refusals.py",),
    ),
    Mutant(
        "every refusal takes a tenth of the streams",
        "core/limits/adaptive.py",
        "        if self._answers >= _FOR_ONE:",
        "        if self._answers > _FOR_ONE * 10_000:",
        ("unit/core/test_adaptive.py", "simulation/test_random_refusals.py"),
    ),
)
