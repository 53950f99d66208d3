"""`streamnursery bench`: load a provider or a gateway, and measure it honestly."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from streamnursery.cli.bench_flags import add_load, add_target, add_verdict
from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb

if TYPE_CHECKING:
    from streamnursery.bench.plan import Options, Target
    from streamnursery.bench.session import Result
    from streamnursery.bench.shapes import Shape
    from streamnursery.values.settings import EngineConfig

_EXAMPLE = """\
streamnursery bench -m sim/fast --concurrency 1..64 --duration 5
streamnursery bench -m gpt-4.1-mini --poisson 2 --requests 100 --slo "ttft.p99<1s"
streamnursery bench --url a=http://host:8000/v1 --url b=http://host:8001/v1 -m llama \\
    --rate 1,2,4,8 --check "errors<1%,itl.p95<80ms" --html report.html
streamnursery bench --compare before.json after.json
"""


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
    add_target(parser.add_argument_group("who is asked, and what"))
    add_load(parser.add_argument_group("load"))
    add_verdict(parser.add_argument_group("verdict and output"))
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sim-url", help=argparse.SUPPRESS)
    add_config(parser)


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
        asked_models = {_served(args, loaded.config): 1.0}
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


def _served(args: argparse.Namespace, config: "EngineConfig") -> str:
    """The model of the first target, where that serves one.

    Raises:
        CliError: it serves several, or there is no target.
    """
    from streamnursery.cli import bench_plan
    from streamnursery.cli.which_model import only_model

    command = f"{PROGRAM} bench"
    if args.url:
        _, address = bench_plan.named(args.url[0])
        command += f" --url {args.url[0]}"
        return only_model(bench_plan.at_url(address, args.key_env), "openai", command)
    if config.default_endpoint is not None:
        return only_model(config, config.default_endpoint, command)
    why = "no --url is given, and no endpoint is configured"
    raise CliError("no model was named", why, f"{command} -m sim/fast")


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
