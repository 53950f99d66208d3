"""`streamnursery completion`: what a shell needs to complete the command line."""

import argparse
from collections.abc import Iterator

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import CliError
from streamnursery.cli.parser import PROGRAM, Parser, Verbs, add_verb

_EXAMPLE = """\
streamnursery completion bash > ~/.local/share/bash-completion/completions/streamnursery
streamnursery completion zsh > ~/.zfunc/_streamnursery          with fpath+=~/.zfunc
streamnursery completion fish > ~/.config/fish/completions/streamnursery.fish
"""
_FILES = ("FILE",)
"""Names of arguments that are files."""


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "completion",
        run,
        example=_EXAMPLE,
        summary="print a completion script for a shell",
        then=f"{PROGRAM} --help",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(args: argparse.Namespace) -> int:
    """Print it."""
    data(_script(args.whole_parser, args.shell))
    note(f"where it belongs: {PROGRAM} completion --help")
    return 0


def _script(parser: Parser, shell: str) -> str:
    what, step = f"no completion for {shell}", 'pip install "shtab>=1.10"'
    try:
        import shtab
    except ImportError:
        why = "completions are made with shtab, which is not installed"
        raise CliError(what, why, step) from None
    for below in _all_parsers(parser):
        for action in below._actions:
            if action.metavar in _FILES:
                # shtab asks for this attribute, which argparse's actions do not declare.
                vars(action)["complete"] = shtab.FILE
    try:
        text: str = shtab.complete(parser, shell)
    except NotImplementedError:  # fish came with 1.9, and files in it with 1.10
        why = f"shtab {shtab.__version__} is too old to write one"
        raise CliError(what, why, step) from None
    return text


def _all_parsers(parser: Parser) -> Iterator[Parser]:
    """The parser and those of all verbs below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _all_parsers(below)
