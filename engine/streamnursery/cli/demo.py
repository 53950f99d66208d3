"""`streamnursery demo`: many streams over four models, live, without a key."""

import argparse

from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_verb, number, whole

_EXAMPLE = """\
streamnursery demo                                        100 streams, 10 at a time
streamnursery demo --streams 300 --limit gpt-4.1=2 --max-streams 40
streamnursery demo --big                                  2,000 streams, 1,000 at a time
streamnursery demo --chaos                                a provider that misbehaves
"""


_OTHER_FILES = 64


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "demo",
        run,
        example=_EXAMPLE,
        summary="run many streams against a simulated provider, over real HTTP on this machine",
        then=f'{PROGRAM} ask "Why is the sky blue?" -m sim/fast',
    )
    add = parser.add_argument
    add(
        "--streams",
        type=whole(1, 100_000),
        metavar="N",
        help="number of streams (default: 100; with --big 2,000)",
    )
    add(
        "--max-streams",
        type=whole(1, 100_000),
        metavar="N",
        help="streams at once (default: 10; with --big 1,000)",
    )
    add(
        "--limit",
        action="append",
        default=[],
        type=_limit,
        metavar="MODEL=N",
        help="at once of one model, by default 5, 3, 8 and 10 of them; may be repeated",
    )
    add(
        "--speed",
        type=number("a number > 0", 0),
        metavar="X",
        help="speed of the simulated models (default: 2; with --chaos 3, with --big 1)",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="random seed (default: 0)")
    add("--big", action="store_true", help="2,000 streams, 1,000 at a time")
    add("--chaos", action="store_true", help="429, 503, broken and silent answers, an outage")
    add("--json", action="store_true", help="print one object with the figures")
    add("--config", metavar="FILE", help="settings over the demo's own; SIGHUP reads them again")


def _limit(text: str) -> tuple[str, int]:
    model, equals, count = text.partition("=")
    if not equals or not model:
        msg = "must be MODEL=N, for example gpt-4.1=2"
        raise argparse.ArgumentTypeError(msg)
    return model, whole(1, 100_000)(count)


def run(args: argparse.Namespace) -> int:
    """Run it, show it, and compare every answer with what the provider meant to say."""
    from streamnursery.cli.demo_plan import DemoPlan
    from streamnursery.cli.processes import sim_process

    plan = DemoPlan.of(args)
    _allow_files(plan.max_streams)
    flags = ("--speed", f"{plan.speed:g}", "--seed", str(plan.seed))
    with sim_process(*flags, script=plan.faults, profile=plan.profiles) as simulator:
        # The simulator starts while we import.
        from streamnursery.cli.demo_load import Load
        from streamnursery.cli.demo_report import report
        from streamnursery.cli.demo_screen import screen_for
        from streamnursery.cli.explain import config_mistakes
        from streamnursery.cli.signals import run_trio
        from streamnursery.values.errors import ConfigError

        load = Load(plan, simulator.url())

        async def work() -> int:
            try:
                await load.run(screen_for(load, as_json=args.json))
            except ConfigError as error:
                raise config_mistakes(error) from None
            return 0

        interrupted = run_trio(work)
    report(load, as_json=args.json, interrupted=bool(interrupted), then=_next_command(args))
    return interrupted or (Exit.SOME_FAILED if load.errors or load.different else Exit.OK)


def _allow_files(streams: int) -> None:
    """Let this process, and the simulator that inherits it, open a socket for each stream.

    Raises:
        CliError: the machine does not allow so many.
    """
    try:
        import resource
    except ImportError:  # no POSIX, no such limit
        return
    wanted = streams + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        why = f"this process may open {hard} files, and every stream takes one"
        step = f"{PROGRAM} demo --max-streams {max(1, hard - _OTHER_FILES)}"
        msg = f"{streams} streams at once are too many here"
        raise CliError(msg, why, step) from None


def _next_command(args: argparse.Namespace) -> str:
    if args.chaos:
        return f'{PROGRAM} ask "Why is the sky blue?" -m sim/fast'
    if args.big:
        return f"{PROGRAM} demo --chaos"
    return f"{PROGRAM} demo --big"
