"""From the flags of `bench` to targets, levels of load and options; every mistake as a CliError."""

import argparse
import re
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from streamnursery.bench.plan import SIMULATOR, Options, Target
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay, Shape, levels
from streamnursery.bench.thresholds import Threshold, ThresholdError, parse
from streamnursery.bench.workload import (
    Given,
    Lengths,
    Synthetic,
    Workload,
    WorkloadError,
    read_requests,
)
from streamnursery.cli.exits import CliError
from streamnursery.cli.explain import config_mistakes
from streamnursery.cli.parser import PROGRAM
from streamnursery.config import config_from_mapping
from streamnursery.values.errors import ConfigError
from streamnursery.values.request import make_request

if TYPE_CHECKING:
    from streamnursery.values.settings import EngineConfig

_SPAN = re.compile(r"(?P<first>[0-9.]+)\.\.(?P<last>[0-9.]+)(?:x(?P<steps>[0-9]{1,2}))?")
_HELP = f"{PROGRAM} bench --help"
_STEPS = 5
_SECONDS = 30.0
COUNT_TO_100 = "Count from 1 to 100, one number per line."


def spread(text: str) -> tuple[float, ...]:
    """`8`, `1,2,4`, `1..64` (5 levels, each so many times the one before) or `1..64x7`.

    Raises:
        ValueError: it is none of them.
    """
    match = _SPAN.fullmatch(text)
    if match is not None:
        found = levels(float(match["first"]), float(match["last"]), int(match["steps"] or _STEPS))
    else:
        found = tuple(float(part) for part in text.split(","))
    if not found or any(not 0 < level < inf for level in found):
        raise ValueError(text)
    return found


def shapes(args: argparse.Namespace, dates: tuple[float, ...] | None) -> list[Shape]:
    """The levels of load, in order."""
    kinds: tuple[tuple[str, Callable[[float], Shape]], ...] = (
        ("concurrency", lambda n: Concurrency(max(1, round(n)))),
        ("rate", Constant),
        ("poisson", Poisson),
    )
    found: list[Shape] = []
    for name, kind in kinds:
        text = getattr(args, name)
        if text is not None:
            found += [_made(name, text, kind, level) for level in _levels(name, text)]
    if args.ramp is not None:
        match = _SPAN.fullmatch(args.ramp)
        if match is None or match["steps"]:
            raise _bad("--ramp", args.ramp, "two rates, for example 1..50")
        first, last = float(match["first"]), float(match["last"])
        seconds = _seconds(args)
        found.append(_made("ramp", args.ramp, lambda _: Ramp(first, last, seconds), last))
    if args.replay:
        if dates is None:
            why = 'every line of the file needs its date: {"at": 0.25, "prompt": ...}'
            raise CliError("--replay: there are no dates to replay", why, _HELP)
        found.append(_made("replay", "", lambda _: Replay(dates), 0.0))
    return list(dict.fromkeys(found)) or [Concurrency(1 if args.preset else 8)]


def _levels(name: str, text: str) -> tuple[float, ...]:
    try:
        return spread(text)
    except ValueError:
        msg = f"--{name}"
        raise _bad(msg, text, "numbers > 0: 8, or 1,2,4, or 1..64") from None


def _made(name: str, text: str, kind: Callable[[float], Shape], level: float) -> Shape:
    try:
        return kind(level)
    except ValueError as error:
        raise CliError(f"--{name} {text}".strip() + ": no such load", str(error), _HELP) from None


def _bad(flag: str, text: str, right: str) -> CliError:
    return CliError(f"{flag} {text:.40} cannot be read", f"write {right}", _HELP)


def _seconds(args: argparse.Namespace) -> float:
    if args.duration is not None:
        return float(args.duration)
    others = args.concurrency or args.rate or args.poisson or args.ramp
    ends_by_itself = args.requests is not None or args.preset or (args.replay and not others)
    return inf if ends_by_itself else _SECONDS


def options(args: argparse.Namespace) -> Options:
    """What holds for every phase of load."""
    seconds = _seconds(args)
    if seconds <= args.warmup:
        why = f"the load lasts {seconds:g} s, the warm-up {args.warmup:g} s of them"
        raise CliError("the warm-up leaves nothing to measure", why, _HELP)
    if args.adaptive and not args.slo:
        why = "the highest load that keeps what?"
        raise CliError("--adaptive needs an SLO", why, '--slo "ttft.p99<1s,errors<1%"')
    if args.metrics_port is not None and args.workers > 1:
        why = "each process has an engine, and one port serves one engine"
        raise CliError("--metrics-port takes one process", why, "leave --workers out")
    return Options(
        seconds=seconds,
        count=args.requests if args.requests is not None else 20 if args.preset else None,
        warmup=args.warmup,
        grace=args.grace,
        timeout=args.timeout,
        cancel_rate=args.cancel_rate,
        slow_rate=args.slow_rate,
        repetitions=args.repetitions,
        workers=args.workers,
        seed=args.seed,
        slo=thresholds("--slo", args.slo),
    )


def thresholds(flag: str, text: str | None) -> tuple[Threshold, ...]:
    """The thresholds of an expression; none without one."""
    if text is None:
        return ()
    try:
        return parse(text)
    except ThresholdError as error:
        msg = f"{flag} cannot be read"
        raise CliError(msg, str(error), _HELP) from None


def weights(args: argparse.Namespace) -> dict[str, float]:
    """Models by weight, from `-m NAME` and `-m NAME=WEIGHT`."""
    found: dict[str, float] = {}
    for text in args.model or []:
        name, equals, weight = text.rpartition("=")
        try:
            name, share = (name, float(weight)) if equals else (text, 1.0)
        except ValueError:
            name, share = text, 1.0  # an equals sign of the model's own: sim/fast?cut=3
        if not 0 < share < inf or not name.strip():
            raise _bad("-m", text, "a model, or MODEL=WEIGHT with a weight > 0")
        found[name] = share
    return found


def workload(
    args: argparse.Namespace, models: dict[str, float]
) -> tuple[Workload, tuple[float, ...] | None]:
    """What is asked, and the dates that a file has for it."""
    path = args.requests_file or args.replay
    try:
        if path:
            return read_requests(_text_of(path), list(models))
        if args.preset:
            return _count_to_100(models), None
        return (
            Synthetic(
                models,
                Lengths.parse(args.input_tokens),
                None if args.output_tokens == "any" else Lengths.parse(args.output_tokens),
            ),
            None,
        )
    except WorkloadError as error:
        where = f" in {path}" if path else ""
        msg = f"the requests{where} cannot be used"
        raise CliError(msg, str(error), _HELP) from None


def _count_to_100(models: dict[str, float]) -> Workload:
    return Given(
        tuple(make_request(model, COUNT_TO_100, max_tokens=500, temperature=0) for model in models)
    )


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
        msg = f"{path} cannot be read"
        raise CliError(msg, why, _HELP) from None


def targets(
    args: argparse.Namespace, config: "EngineConfig", asked: Workload, simulator: str | None
) -> list[Target]:
    """Who is measured: the URLs that are given, else what the configuration says."""
    found = []
    for text in args.url or ():
        name, equals, url = text.partition("=")
        if not equals or "/" in name:
            name, url = text.split("//")[-1].split("/")[0], text
        found.append((name, _at_url(url, args.key_env)))
    if simulator is not None:
        found.append((SIMULATOR, _at_url(simulator, None)))
    elif not found:
        found.append(("configured", config))
    return [
        Target.of(name, made, asked, max_streams=args.max_streams, attempts=1 + args.retries)
        for name, made in found
    ]


def _at_url(url: str, key_env: str | None) -> "EngineConfig":
    endpoint: dict[str, object] = {"url": url}
    endpoint |= {"key": {"env": key_env}} if key_env else {"auth": "none"}
    try:
        return config_from_mapping({"endpoints": {"openai": endpoint}})
    except ConfigError as error:
        if any(": endpoints.openai.url: " in problem for problem in error.problems):
            why = error.problems[0].rpartition(": ")[2]
            msg = f"--url {url:.60} is no address"
            raise CliError(msg, why, "--url http://127.0.0.1:8000/v1") from None
        raise config_mistakes(error) from None
