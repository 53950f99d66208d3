"""`streamnursery bench`: load a provider or a gateway, and measure it honestly."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb, number, seconds, whole

if TYPE_CHECKING:
    from streamnursery.bench.plan import Options, Target
    from streamnursery.bench.session import Result
    from streamnursery.bench.shapes import Shape

_EXAMPLE = """\
streamnursery bench -m sim/fast --concurrency 1..64 --duration 5
streamnursery bench -m gpt-4.1-mini --poisson 2 --requests 100 --slo "ttft.p99<1s"
streamnursery bench --url a=http://host:8000/v1 --url b=http://host:8001/v1 -m llama \\
    --rate 1,2,4,8 --check "errors<1%,itl.p95<80ms" --html report.html
streamnursery bench --compare before.json after.json
"""
_share = number("a share from 0 to 1", 0, 1, zero=True)


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "bench",
        run,
        example=_EXAMPLE,
        summary="measure a provider or a gateway under load",
        then=f"{PROGRAM} bench -m sim/gpt-4.1 --concurrency 1..32 --html report.html",
    )
    _add_target(parser.add_argument_group("who is asked, and what"))
    _add_load(parser.add_argument_group("load"))
    _add_verdict(parser.add_argument_group("verdict and output"))
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sim-url", help=argparse.SUPPRESS)
    add_config(parser)


def _add_target(group: Any) -> None:
    add = group.add_argument
    add("-m", "--model", action="append", metavar="NAME[=WEIGHT]", help="may be repeated")
    add("--url", action="append", metavar="[NAME=]URL", help="OpenAI-compatible; may be repeated")
    add("--key-env", metavar="VARIABLE", help="environment variable with the key for --url")
    add("--requests-file", metavar="FILE", help="JSONL: prompts or chat bodies")
    add("--input-tokens", default="64", metavar="N", help="64; or 200+-50, or 100..400")
    add("--output-tokens", default="128", metavar="N", help="128; or as above, or any")
    add("--preset", choices=["count-to-100"], help="20 runs, one after the other, of 500 tokens")


def _add_load(group: Any) -> None:
    add = group.add_argument
    add("--concurrency", metavar="N", help="closed loop: 8; or 1,2,4, or 1..64, or 1..64x7")
    add("--rate", metavar="R", help="open loop: a request every 1/R s; levels as above")
    add("--poisson", metavar="R", help="open loop: independent arrivals; levels as above")
    add("--ramp", metavar="A..B", help="open loop: from A/s to B/s over the duration")
    add("--replay", metavar="FILE", help='JSONL with "at": seconds from the start in each line')
    add("--adaptive", action="store_true", help="find the highest load that keeps the SLO")
    add("--duration", type=seconds, metavar="S", help="30, unless --requests ends it")
    add("--requests", type=whole(1), metavar="N", help="requests to count at each level")
    add("--warmup", type=number("seconds >= 0", 0, zero=True), default=0.0, metavar="S", help="0")
    add("--grace", type=seconds, default=60.0, metavar="S", help="60: for the last answers")
    add("--timeout", type=seconds, metavar="S", help="of each request")
    add("--repetitions", type=whole(1, 100), default=1, metavar="N", help="1")
    add(
        "--workers", type=whole(1, 64), default=1, metavar="N", help="processes that share the load"
    )
    add("--max-streams", type=whole(1, 100_000), metavar="N", help="our own limit; none by default")
    add("--retries", type=whole(0, 20), default=0, metavar="N", help="0")
    add("--cancel-rate", type=_share, default=0.0, metavar="X", help="0: share left half-way")
    add("--slow-rate", type=_share, default=0.0, metavar="X", help="0: share of slow consumers")
    add("--seed", type=whole(0), default=0, metavar="N", help="0")


def _add_verdict(group: Any) -> None:
    add = group.add_argument
    add("--slo", metavar="EXPR", help='for goodput, for example "ttft.p99<1s,itl.p95<80ms"')
    add("--check", metavar="EXPR", help="exit code 1 where it does not hold")
    add("--json", action="store_true", help="print one object with every figure")
    add("--save", metavar="FILE", help="write that object into a file")
    add("--jsonl", metavar="FILE", help="write a line for each request")
    add("--html", metavar="FILE", help="write a report that needs nothing else")
    add("--compare", nargs=2, metavar="FILE", help="two saved results, side by side")
    add(
        "--metrics-port",
        type=whole(0, 65535),
        metavar="N",
        help="answer Prometheus on this machine at /metrics",
    )
    add("--no-calibration", action="store_true", help="do not measure the client itself")
    add("-q", "--quiet", action="store_true", help="errors alone on stderr")


def run(args: argparse.Namespace) -> int:
    """Measure, or compare what was measured."""
    if args.compare:
        from streamnursery.cli.bench_output import compare

        return compare(*args.compare, as_json=args.json)
    from streamnursery.cli import bench_plan
    from streamnursery.cli.explain import load

    loaded = load(args)
    asked_models = bench_plan.weights(args)
    if not asked_models and not (args.requests_file or args.replay):
        why = "a benchmark needs to know whom to ask"
        raise CliError("no model was named", why, f"{PROGRAM} bench -m sim/fast")
    simulated = {name for name in asked_models if name.startswith("sim/")}
    if simulated and (args.url or simulated != set(asked_models)):
        why = "simulated models are a target of their own"
        raise CliError("sim/ models and others cannot be mixed", why, f"{PROGRAM} bench --help")
    models = {name.removeprefix("sim/"): weight for name, weight in asked_models.items()}
    if not simulated and not args.url:
        from streamnursery.cli.which_model import chosen_models

        chosen_models(list(models) or None, loaded)
    from streamnursery.cli.bench_output import check_writable

    asked, dates = bench_plan.workload(args, models)
    options, shapes = bench_plan.options(args), bench_plan.shapes(args, dates)
    checks = bench_plan.thresholds("--check", args.check)
    check_writable([args.save, args.jsonl, args.html])

    from streamnursery.cli.processes import sim_process

    def measure(simulator: str | None) -> int:
        targets = bench_plan.targets(args, loaded.config, asked, simulator)
        if args.worker is not None:
            return _work(args, targets, options)
        return _measure(args, targets, shapes, options, checks, simulator)

    if not simulated or args.sim_url:
        return measure(args.sim_url)
    with sim_process("--seed", str(args.seed)) as simulator:
        return measure(simulator.url())


def _work(args: argparse.Namespace, targets: "list[Target]", options: "Options") -> int:
    import trio

    from streamnursery.bench.runners import serve_orders

    trio.run(serve_orders, targets, options, args.worker, bool(args.jsonl))
    return Exit.OK


def _measure(
    args: argparse.Namespace,
    targets: "list[Target]",
    shapes: "list[Shape]",
    options: "Options",
    checks: Any,
    simulator: str | None,
) -> int:
    from streamnursery.bench.load_run import RunMonitor
    from streamnursery.cli.bench_output import Lines, finish
    from streamnursery.cli.bench_run import Work
    from streamnursery.cli.signals import run_trio

    watch = RunMonitor()
    words = list(sys.argv[2:])
    if simulator is not None:
        words += ["--sim-url", simulator]
    with Lines(args.jsonl) as lines:
        watch.metrics_port = args.metrics_port
        watch.samples = lines.write if args.jsonl else None
        work = Work(args, targets, shapes, options, words, watch)
        interrupted = run_trio(work.run)
    result: Result | None = work.result
    return finish(args, result, checks, interrupted=interrupted)
