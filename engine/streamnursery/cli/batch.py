"""`streamnursery batch`: a file of prompts becomes a file of answers."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import CliError, Exit, exit_code
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb

if TYPE_CHECKING:
    from streamnursery.batch import BatchProgress
    from streamnursery.cli.batch_run import Work
    from streamnursery.config import LoadedConfig
    from streamnursery.values.errors import EngineError

_EXAMPLE = """\
streamnursery batch prompts.jsonl -o answers.jsonl -m sim/fast
streamnursery batch batch.jsonl -o answers.jsonl --budget 5usd    OpenAI's and Anthropic's lines
streamnursery batch prompts.txt -o answers.jsonl -m gpt-4.1-mini --dry-run
streamnursery batch prompts.jsonl -o answers.jsonl --via provider   half the price, within a day
streamnursery batch prompts.jsonl -o part2.jsonl --shard 2/7
streamnursery batch merge part1.jsonl part2.jsonl -o answers.jsonl
"""
_TENANT = "batch"


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "batch",
        run,
        example=_EXAMPLE,
        summary="answer every line of a file; the same command again goes on where it ended",
        then=f"{PROGRAM} batch prompts.jsonl -o answers.jsonl --dry-run",
    )
    parser.add_argument(
        "input",
        nargs="+",
        metavar="FILE",
        help='lines of JSON or text, also .gz, .zst, .parquet; "-" reads stdin; "merge PARTS" puts '
        "the outputs of several machines together",
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="file for the answers")
    parser.add_argument("-m", "--model", help="model of lines that name none")
    parser.add_argument(
        "--budget", metavar="USD", help="limit of what this run may spend (exit code 3)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print lines, tokens and cost, and send nothing"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="K",
        help="number of answers for each line (default: 1)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="stop after so many more lines")
    parser.add_argument(
        "--sample", type=float, metavar="PART", help="share of the lines to ask, such as 0.01"
    )
    parser.add_argument("--shard", metavar="I/N", help="ask one of N parts, for N machines")
    parser.add_argument("--retry-errors", action="store_true", help="ask failed lines again")
    parser.add_argument("--dedupe", action="store_true", help="ask equal requests once")
    parser.add_argument(
        "--order", choices=("input",), help="order of the output; by default as answers come"
    )
    parser.add_argument(
        "--via",
        choices=("provider",),
        help="the batch API of OpenAI or Anthropic: half of the price, within a day",
    )
    parser.add_argument("--parallel", type=int, metavar="N", help="number of lines in flight")
    parser.add_argument("--json", action="store_true", help="print the summary as one object")
    parser.add_argument("--html", metavar="FILE", help="write what became of it as one page")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the lines, or merge the outputs of several runs."""
    if not args.out and not args.dry_run:
        raise CliError(
            "no output is named", "", f"{PROGRAM} batch {args.input[0]} -o answers.jsonl"
        )
    if args.input[0] == "merge" and not Path("merge").exists():
        return _merge(args)
    if args.via and (args.budget or args.dedupe):
        what = "a provider's own batches know no --budget and no --dedupe"
        raise CliError(what, "--dry-run tells what they may cost", _command(args))
    if len(args.input) > 1:
        what = f"one input at a time, not {len(args.input)}"
        raise CliError(what, "", f"cat {' '.join(map(shlex.quote, args.input))} > all.jsonl")
    return _dry_run(args) if args.dry_run else _run(args)


def _loaded(args: argparse.Namespace) -> "LoadedConfig":
    """The configuration; `--budget` is the budget of a tenant made for the run, so that a ledger
    keeps it over several runs of the command and other programs do not spend it."""
    from streamnursery.cli.explain import config_mistakes
    from streamnursery.config import load_config
    from streamnursery.values.errors import ConfigError

    flags: dict[str, Any] = {}
    if args.budget:
        amount = args.budget.lower().removesuffix("usd").strip().removeprefix("$")
        limits = {"daily": amount, "monthly": amount}
        flags = {"budgets": {"tenants": {_TENANT: limits}}}
    try:
        return load_config(args.config, flags=flags)
    except ConfigError as error:
        raise config_mistakes(error) from None


def _run(args: argparse.Namespace) -> int:
    from streamnursery.cli.batch_run import Work
    from streamnursery.cli.signals import run_trio

    loaded = _loaded(args)
    work = Work(args, loaded.config, _TENANT if args.budget else None)
    try:
        code = run_trio(work.run, on_first=work.stop)
    finally:
        work.close()
        _page(args, work)
    if work.error is not None:
        raise _explained(work.error, args)
    progress = work.progress
    if progress is None:
        return code
    _tell(args, progress, work.spent)
    if progress.error is not None:
        raise _explained(progress.error, args)
    if progress.stopped:
        note(f"goes on with: {_command(args)}")
        return code or Exit.INTERRUPTED
    return code or (Exit.SOME_FAILED if progress.failed else Exit.OK)


def _page(args: argparse.Namespace, work: "Work") -> None:
    """Write `--html`, however the run has ended."""
    from streamnursery.cli.batch_page import batch_page

    if not args.html or work.progress is None:
        return
    page = batch_page(
        f"Batch {args.out}",
        work.progress,
        work.history.looks,
        spent=work.spent,
        seconds=work.seconds,
        command=_command(args),
    )
    try:
        Path(args.html).write_text(page, encoding="utf-8")
    except OSError as error:
        note(f"{args.html} could not be written: {error.strerror or error}")


def _explained(error: "EngineError", args: argparse.Namespace) -> CliError:
    from streamnursery.values.errors import BatchFileError, BatchInputError

    if isinstance(error, BatchInputError):
        what, _, why = str(error).partition("\n")
        return CliError(what.rstrip(":"), why)
    step = f"mend that; what is done is safe: {_command(args)}"
    if isinstance(error, BatchFileError):
        refused = error.__cause__ is None  # nothing is wrong with the disk
        return CliError(
            str(error), "", "" if refused else step, code=Exit.USAGE if refused else Exit.FILE
        )
    return CliError(str(error), "", step, code=exit_code(error))


def _command(args: argparse.Namespace) -> str:
    """What goes on with this run."""
    words = [PROGRAM, "batch", *args.input, "-o", args.out]
    for flag in (
        "model",
        "budget",
        "samples",
        "limit",
        "sample",
        "shard",
        "order",
        "parallel",
        "via",
        "html",
        "config",
    ):
        value = getattr(args, flag)
        if value is not None and not (flag == "samples" and value == 1):
            words += [f"--{flag}", str(value)]
    words += [
        f"--{flag.replace('_', '-')}" for flag in ("retry_errors", "dedupe") if getattr(args, flag)
    ]
    return shlex.join(words)


def _tell(args: argparse.Namespace, progress: "BatchProgress", spent: int) -> None:
    from streamnursery.batch.output import Paths
    from streamnursery.values.money import Money, dollars

    paths = Paths(args.out)
    if args.json:
        data(
            json.dumps({
                "rows": progress.rows,
                "done_before": progress.before,
                "answered": progress.answered,
                "failed": progress.failed,
                "input_tokens": progress.input_tokens,
                "output_tokens": progress.output_tokens,
                "spent_usd": dollars(spent),
                "complete": progress.complete,
                "answers": paths.out,
                "errors": paths.errors,
            })
        )
        return
    if progress.torn:
        note(f"{progress.torn} bytes that a crash had torn were moved to {paths.out}.torn")
    before = f", {progress.before} were done before" if progress.before else ""
    tokens = f"{progress.input_tokens} tokens in, {progress.output_tokens} out, {Money(spent)}"
    data(f"{progress.answered} answers in {paths.out}{before}; {tokens}")
    if progress.failed:
        data(f"{progress.failed} failures in {paths.errors}")
        note(f"next: {_command(args)} --retry-errors")


def _merge(args: argparse.Namespace) -> int:
    import trio

    from streamnursery.batch import RealFiles, merge
    from streamnursery.values.errors import BatchFileError, EngineError

    async def main() -> int:
        files = RealFiles()
        try:
            done = await merge(args.input[1:], args.out, files)
        finally:
            files.close()
        doubled = (
            f"; {done.doubled} lines that were there twice were left out" if done.doubled else ""
        )
        data(f"{done.answers} answers and {done.failures} failures in {args.out}{doubled}")
        if done.missing:
            note(f"missing shards: {', '.join(done.missing)}")
            return Exit.SOME_FAILED
        return Exit.OK

    try:
        return trio.run(main)
    except BatchFileError as error:
        raise CliError(str(error)) from None
    except EngineError as error:
        raise CliError(
            str(error), "", f"{PROGRAM} batch merge part1.jsonl part2.jsonl -o all.jsonl"
        ) from None


def _dry_run(args: argparse.Namespace) -> int:
    import trio

    from streamnursery.cli.batch_cost import estimate_text
    from streamnursery.values.errors import EngineError

    try:
        text, priced = trio.run(estimate_text, args, _loaded(args).config)
    except EngineError as error:
        raise _explained(error, args) from None
    data(text)
    return Exit.OK if priced else Exit.SOME_FAILED
