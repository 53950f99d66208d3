"""From the words of the command line to a verb, and from its end to an exit code."""

import re
import sys
import warnings
from collections.abc import Sequence

from streamnursery.cli import (
    ask,
    batch,
    bench,
    completion,
    config,
    cost,
    demo,
    doctor,
    grade,
    models,
    route,
    sim,
    top,
)
from streamnursery.cli.console import (
    colourless,
    complain,
    data,
    forget_stdout,
    note,
    prepare_streams,
    printable,
    writing,
)
from streamnursery.cli.exits import EXIT_CODES, CliError, Exit
from streamnursery.cli.parser import PROGRAM, Parser, suggestion

_VERBS = (demo, ask, batch, sim, bench, grade, models, route, top, cost, config, doctor, completion)
_ELSEWHERE = ("help", "version")
"""What is a flag here and a verb elsewhere."""

_EXAMPLE = """\
streamnursery demo                                        100 streams, live, no key needed
streamnursery ask "Why is the sky blue?" -m sim/fast      one answer from the simulator
streamnursery "Why is the sky blue?" -m gpt-4.1-mini      with OPENAI_API_KEY set
"""


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Run thousands of LLM streams at once without losing one.",
        example=_EXAMPLE,
        epilog=f"{EXIT_CODES}\nnext: {PROGRAM} demo",
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    verbs = parser.add_subparsers(
        title="verbs", metavar="VERB", parser_class=Parser, prog=PROGRAM, required=False
    )
    for module in _VERBS:
        module.add(verbs)
    parser.set_defaults(whole_parser=parser)  # `completion` describes all of it
    return parser


def run(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code, whatever it ends with but Ctrl-C."""
    prepare_streams()
    given = list(sys.argv[1:] if words is None else words)
    with colourless("--no-color" in given):
        return _exit_code(given)


def _exit_code(words: list[str]) -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = _run(words)
        with writing():
            sys.stdout.flush()
    except CliError as error:
        complain(error)
        code = error.code
    except BrokenPipeError:
        forget_stdout()
        return Exit.READER_GONE
    return code


def _run(words: list[str]) -> int:
    parser = build_parser()
    if not words or words == ["--help"] or words == ["-h"]:
        parser.print_help()
        return Exit.OK
    if words == ["--version"]:
        from streamnursery import __version__

        data(f"{PROGRAM} {__version__}")
        return Exit.OK
    try:
        args, extra = parser.parse_known_args(_with_verb(words))
    except SystemExit:  # argparse has printed the help of a verb
        return Exit.OK
    if extra:
        args.verb.refuse(extra)
    code: int = args.run(args)
    return code


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning without the place in our code, which says nothing to the user of a command."""
    note(f"warning: {message}")


def _with_verb(words: list[str]) -> list[str]:
    """`words` with `ask` before them where they begin with no verb."""
    first = words[0]
    if first in _names():
        return words
    # One word without blanks is rather a slip of the keyboard than a prompt, and a slip must not
    # be sent to a model that costs money.
    if first and not first.startswith("-") and not re.search(r"\s", first):
        hint = suggestion(first, _names())
        if first.lower() in _ELSEWHERE:
            hint = f"did you mean --{first.lower()}?"
        prompt = first if len(words) == 1 or words[1].startswith("-") else '"..."'
        step = f"{PROGRAM} --help, or to ask a model just that: {PROGRAM} ask {prompt}"
        msg = f"no such verb: {printable(first)}"
        raise CliError(msg, hint, step)
    return ["ask", *words]


def _names() -> list[str]:
    return [module.__name__.rpartition(".")[2] for module in _VERBS]
