"""`streamnursery route`: which model a task would go to, and why."""

import argparse
from typing import TYPE_CHECKING

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import CliError, exit_code
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb, number, seconds, whole

if TYPE_CHECKING:
    from streamnursery.core.routing.router import Decision
    from streamnursery.values.settings import EngineConfig
    from streamnursery.values.task import TaskProfile

_EXAMPLE = """\
streamnursery route --complexity 8
streamnursery route --complexity 3 --budget low
streamnursery route --max-latency 0.2 --json
"""
_STRATEGIES = ("cheapest", "fastest", "balanced", "strongest")


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "route",
        run,
        example=_EXAMPLE,
        summary="show which model a task would go to, and why",
        then=f"{PROGRAM} models --cost 1M",
    )
    add = parser.add_argument
    add(
        "--complexity",
        type=number("a number from 0 to 10", -1e-9, 10, zero=True),
        default=5.0,
        metavar="N",
        help="difficulty of the task, 0 to 10 (default: 5)",
    )
    add("--max-latency", type=seconds, metavar="SECONDS", help="wanted time to the first token")
    add(
        "--budget",
        choices=("low", "normal", "high"),
        default="normal",
        help="limit of the cost (default: normal)",
    )
    add("--strategy", choices=_STRATEGIES, help="how to choose, instead of the rules")
    add(
        "--input-tokens",
        type=whole(1, 10**7),
        default=1000,
        metavar="N",
        help="tokens of the prompt (default: 1000)",
    )
    add(
        "--max-tokens",
        type=whole(1, 10**7),
        default=500,
        metavar="N",
        help="tokens of the answer (default: 500)",
    )
    add("--tools", action="store_true", help="the task needs tools")
    add("--json", action="store_true", help="print one object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Choose; nothing is asked over the network."""
    import trio

    from streamnursery.cli.explain import load
    from streamnursery.values.errors import EngineError

    config = load(args).config
    if not config.models:
        config = _known()
        note("no model is configured; these are the ones that are known by name")
    try:
        decision = trio.run(_decide, config, _task(args))
    except EngineError as error:
        raise CliError("no model was chosen", str(error), code=exit_code(error)) from None
    data(_json(decision) if args.json else str(decision))
    return 0


async def _decide(config: "EngineConfig", task: "TaskProfile") -> "Decision":
    from streamnursery import open_engine

    async with open_engine(config) as engine:
        return engine.choose(task)


def _task(args: argparse.Namespace) -> "TaskProfile":
    from streamnursery.values.task import TaskProfile

    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    return TaskProfile(
        "word" * args.input_tokens,  # four characters are a token
        complexity=max(0.0, args.complexity),
        max_latency=args.max_latency,
        budget=args.budget,
        strategy=args.strategy,
        max_tokens=args.max_tokens,
        tools=[tool] if args.tools else None,
    )


def _known() -> "EngineConfig":
    """The models that have figures without any configuration, served by the simulator."""
    from streamnursery.values.models import KNOWN
    from streamnursery.values.prices import BUILT_IN
    from streamnursery.values.settings import EngineConfig, ModelSettings, Route

    return EngineConfig(
        models={
            name: ModelSettings(name, routes=(Route("sim", name),), price=BUILT_IN[name])
            for name in KNOWN
        }
    )


def _json(decision: "Decision") -> str:
    import json

    return json.dumps({
        "model": decision.model,
        "rule": decision.rule,
        "reasons": list(decision.reasons),
        "order": list(decision.order),
        "left_out": dict(decision.left_out),
    })
