"""What a benchmark leaves: a table, JSON, lines per request, and an exit code."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streamnursery.bench.page import page
from streamnursery.bench.remarks import sentences, sequential
from streamnursery.bench.report import SCHEMA, as_json, head, rows
from streamnursery.bench.run_summary import ALL
from streamnursery.bench.samples import OK, Sample
from streamnursery.bench.session import Result
from streamnursery.bench.thresholds import Threshold, shown
from streamnursery.cli.console import data, note
from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM
from streamnursery.cli.tables import fitted


class Lines:
    """A file with a line for each request; nothing without a path."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __enter__(self) -> "Lines":
        try:
            self._file = open(self._path, "w", encoding="utf-8") if self._path else None
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, target: str, load: str, repetition: int, sample: Sample) -> None:
        """One request."""
        assert self._file is not None
        place = {"target": target, "load": load, "repetition": repetition}
        self._file.write(json.dumps({**place, **sample.line()}) + "\n")


def finish(
    args: argparse.Namespace,
    result: Result | None,
    checks: tuple[Threshold, ...],
    *,
    interrupted: int,
) -> int:
    """Print everything; the exit code says whether the checks hold."""
    if result is None:
        note("it ended before any request had: nothing was measured")
        return interrupted or Exit.SOME_FAILED
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    report = as_json(result, started=started, command=" ".join([PROGRAM, *sys.argv[1:]]))
    verdicts = [
        (level, threshold, value, kept)
        for level in result.levels
        for threshold, value, kept in level.keeps(checks)
    ]
    report["checks"] = [
        {
            "target": level.target,
            "load": str(level.shape),
            "threshold": threshold.text,
            "measured": value,
            "said": None if value is None else threshold.said(value),
            "kept": kept,
        }
        for level, threshold, value, kept in verdicts
    ]
    report["asked"] = _asked(args)
    if args.json:
        data(json.dumps(report))
    else:
        data(fitted([head(report), *rows(report)], keys=3))
        said = [*(sequential(report) if args.preset else ()), *sentences(report)]
        data("\n".join(said) or "nothing to add")
    if args.save:
        _write(args.save, json.dumps(report))
    if args.html:
        _write(args.html, page(report))
    if verdicts and all(kept for *_, kept in verdicts) and not args.json:
        data(f"check met: {args.check}")
    for level, threshold, value, kept in verdicts:
        if not kept:
            found = "was not measured" if value is None else f"is {threshold.said(value)}"
            place = f"{level.target} at {level.shape}"
            note(f"check not met: {threshold.text}: {place}, where it {found}")
    if interrupted:
        return interrupted
    nothing = not any(
        load_run.tallies[ALL].outcomes[OK] for lv in result.levels for load_run in lv.runs
    )
    unmet = any(not kept for *_, kept in verdicts)
    return Exit.SOME_FAILED if unmet or nothing else Exit.OK


def _asked(args: argparse.Namespace) -> dict[str, str]:
    """What was asked of whom, for the face of a report."""
    found = {"models": ", ".join(args.model or ()), "servers": ", ".join(args.url or ())}
    if args.requests_file or args.replay:
        found["requests"] = f"from {args.requests_file or args.replay}"
    elif not args.preset:
        found["requests"] = (
            f"prompts of {args.input_tokens} tokens, answers of at most {args.output_tokens}"
        )
    if args.extra:
        found["extra"] = json.dumps(args.extra)
    return found


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None


def check_writable(paths: Iterable[str | None]) -> None:
    """Before anything is measured: what was found would be lost.

    Raises:
        CliError: a file cannot be written.
    """
    for path in filter(None, paths):
        file = Path(path)
        folder, why = file.absolute().parent, None
        if file.is_dir():
            why = "it is a folder"
        elif not folder.is_dir():
            why = f"there is no folder {folder}"
        elif not os.access(file if file.exists() else folder, os.W_OK):
            why = "permission denied"
        if why is not None:
            msg = f"{path} cannot be written"
            raise CliError(msg, why)


def _unwritable(path: str | None, error: OSError) -> CliError:
    return CliError(f"{path} cannot be written", error.strerror or str(error))


def compare(before: str, after: str, *, as_json: bool) -> int:
    """Two saved results, side by side, by target and load."""
    old, new = _levels(_read(before)), _levels(_read(after))
    both = [place for place in old if place in new]
    if not both:
        sides = [(before, old), (after, new)]
        why = "\n".join(f"{path} has {_places(levels)}" for path, levels in sides)
        raise CliError("no target and load stands in both results", why, f"{PROGRAM} bench --help")
    found = [change for place in both for change in _changes(place, old[place], new[place])]
    if as_json:
        data(json.dumps({"schema": SCHEMA + "/compare", "changes": found}))
    else:
        titles = ["target", "load", "metric", "before", "after", "change"]
        lines = [
            [c["target"], c["load"], c["metric"], _cell(c, "before"), _cell(c, "after"), _sign(c)]
            for c in found
        ]
        data(fitted([titles, *lines], keys=3))
    return Exit.OK


def _places(levels: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{target} at {load}" for target, load in levels)


def _read(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read"
        raise CliError(msg, error.strerror or str(error)) from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        step = f"{PROGRAM} bench ... --save {path}"
        msg = f"{path} is no result of this version"
        raise CliError(msg, f"it lacks {SCHEMA}", step)
    return found


def _levels(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (target["name"], level["load"]): level[ALL]
        for target in report["targets"]
        for level in target["levels"]
    }


def _changes(
    place: tuple[str, str], old: dict[str, Any], new: dict[str, Any]
) -> list[dict[str, Any]]:
    found = []
    for name in ("ttft", "itl_read", "tpot", "e2e"):
        for stat in ("p50", "p99"):
            pair = old["times"][name][stat], new["times"][name][stat]
            found.append((f"{name}.{stat}", *pair, True))
    found.extend(
        (name, old["numbers"][name]["value"], new["numbers"][name]["value"], False)
        for name in ("rps", "tokens_per_second", "goodput", "errors")
    )
    cost = [numbers["numbers"]["cost"]["value"] for numbers in (old, new)]
    if cost != [None, None]:
        found.append(("cost", *cost, False))
    return [
        {
            "target": place[0],
            "load": place[1],
            "metric": metric,
            "before": a,
            "after": b,
            "is_time": is_time,
            "change": round(b / a - 1, 4) if a and b is not None else None,
        }
        for metric, a, b, is_time in found
    ]


def _cell(change: dict[str, Any], side: str) -> str:
    value = change[side]
    if value is None:
        return "-"
    if change["is_time"]:
        return shown(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _sign(change: dict[str, Any]) -> str:
    return "-" if change["change"] is None else f"{change['change']:+.1%}"
