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
    parser: Parser = args.whole_parser
    data(_fish(parser) if args.shell == "fish" else _by_shtab(parser, args.shell))
    note(f"where it belongs: {PROGRAM} completion --help")
    return 0


def _by_shtab(parser: Parser, shell: str) -> str:
    try:
        import shtab
    except ImportError:
        why = "completions for bash and zsh are made with shtab, which is not installed"
        step = f'pip install "{PROGRAM}[cli]"'
        msg = f"no completion for {shell}"
        raise CliError(msg, why, step) from None
    for _, below in _all_parsers(parser):
        for action in below._actions:
            if action.metavar in _FILES:
                # shtab asks for this attribute, which argparse's actions do not declare.
                vars(action)["complete"] = shtab.FILE
    text: str = shtab.complete(parser, shell)
    return text


def _all_parsers(parser: Parser, verb: str = "") -> Iterator[tuple[str, Parser]]:
    """Every parser with the words that lead to it."""
    yield verb, parser
    for name, below in _below(parser).items():
        yield from _all_parsers(below, f"{verb} {name}".strip())


def _below(parser: Parser) -> dict[str, Parser]:
    found: dict[str, Parser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def _fish(parser: Parser) -> str:
    lines = [f"complete -c {PROGRAM} -f"]
    for words, below in _all_parsers(parser):
        for name, inner in _below(below).items():
            about = (inner.description or "").partition("\n")[0].rstrip(".")
            lines.append(_rule(_position(words, below), f"-a {name} -d {_quoted(about)}"))
        lines += [_rule(_position(words, None), what) for what in _flags(below)]
    return "\n".join(lines)


def _rule(condition: str, what: str) -> str:
    return f"complete -c {PROGRAM} -n {_quoted(condition)} {what}"


def _position(words: str, parser: Parser | None) -> str:
    """When a completion applies: behind these words and, with `parser`, before one of its own."""
    if not words:
        return "__fish_use_subcommand"
    conditions = [f"__fish_seen_subcommand_from {word}" for word in words.split()]
    if parser is not None:
        conditions.append(f"not __fish_seen_subcommand_from {' '.join(_below(parser))}")
    return "; and ".join(conditions)


def _flags(parser: Parser) -> Iterator[str]:
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        if not action.option_strings:
            if action.choices and not isinstance(action, argparse._SubParsersAction):
                yield f"-a {_quoted(' '.join(map(str, action.choices)))}"
            continue
        names = [
            f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            for flag in action.option_strings
        ]
        if action.nargs != 0:
            names.append("-r -F" if action.metavar in _FILES else "-x")
        yield f"{' '.join(names)} -d {_quoted(action.help or '')}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
