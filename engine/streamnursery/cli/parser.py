"""argparse, with an example first in every help and a suggestion for every slip."""

import argparse
import math
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, TypeAlias

from streamnursery.cli.console import data, printable
from streamnursery.cli.exits import CliError

PROGRAM = "streamnursery"
RENAMED = {"--at-once": "--parallel"}
"""Flags of earlier versions, with the names that they have now."""
Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
Run: TypeAlias = Callable[[argparse.Namespace], int]

_CHOICE = re.compile(r"argument (.+?): invalid choice: (.+?) \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Raises `CliError` where argparse would exit; no abbreviated flags."""

    def __init__(self, *, example: str = "", **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self.example = example

    def format_help(self) -> str:
        shown = "\n".join(f"  {line}" for line in self.example.splitlines())
        return f"{shown}\n\n{super().format_help()}" if shown else super().format_help()

    def print_help(self, file: object = None) -> None:
        # argparse's own swallows the error of a full disk.
        del file
        data(self.format_help())

    def error(self, message: str) -> NoReturn:
        refused = _CHOICE.match(message)
        if refused is not None:
            flag, given = refused[1], refused[2].strip("'")
            known = re.findall(r"[\w.-]+", refused[3])
            hint = suggestion(given, known)
            what = f"{flag}: {printable(given):.40} is none of its values"
            raise CliError(what, hint or f"it takes {', '.join(known)}", self._help())
        raise CliError(message.removeprefix("argument "), "", self._help())

    def _help(self) -> str:
        return f"{self.prog} --help"

    def flags(self) -> list[str]:
        """Every long flag."""
        return [flag for flag in self._option_string_actions if flag.startswith("--")]

    def refuse(self, extra: Sequence[str]) -> NoReturn:
        """Say what is wrong with arguments that nothing takes. Words may be a prompt and what
        follows `=` a key: neither is repeated."""
        flags = [word.partition("=")[0] for word in extra if word.startswith("-")]
        if not flags:
            what = f"{len(extra)} more word{'s' * (len(extra) > 1)} than {self.prog} takes"
            raise CliError(what, "", f"put a text of several words into quotes, or {self._help()}")
        now = RENAMED.get(flags[0])
        hint = f"it was renamed: write {now}" if now in self.flags() else ""
        hint = hint or suggestion(flags[0], self.flags())
        msg = f"unknown flag {flags[0]}"
        raise CliError(msg, hint, self._help())


def suggestion(given: str, known: Iterable[str]) -> str:
    """ "did you mean ...?", or nothing when nothing is near."""
    close = get_close_matches(given.lower(), list(known), 1, 0.6)
    return f"did you mean {close[0]}?" if close else ""


def add_verb(
    verbs: Verbs, name: str, run: Run, *, example: str, summary: str, then: str = ""
) -> Parser:
    """A verb whose help begins with `example` and ends with the command to try after it."""
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        example=example,
        epilog=f"next: {then}" if then else None,
    )
    parser.set_defaults(run=run, verb=parser)
    parser.add_argument("--no-color", action="store_true", help="as NO_COLOR=1 in the environment")
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file (env STREAMNURSERY_CONFIG)"
    )


def whole(low: int, high: int = 10**9) -> Callable[[str], int]:
    """An argument type: a whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if low <= number <= high:
            return number
        ends = f"from {low} to {high}" if high < 10**9 else f">= {low}"
        msg = f"must be a whole number {ends}"
        raise argparse.ArgumentTypeError(msg)

    return read


def tokens(text: str) -> int:
    """An argument type: tokens as 1000, 500k or 1M."""
    found = re.fullmatch(r"([0-9]{1,9})([kKmMgG]?)", text)
    number = (
        int(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[found[2].lower()]
        if found
        else 0
    )
    if not number:
        raise argparse.ArgumentTypeError("must be tokens such as 1000, 500k or 1M")
    return number


def number(
    what: str, low: float, high: float = math.inf, *, zero: bool = False
) -> Callable[[str], float]:
    """An argument type: a finite number above `low`, or 0 with `zero`, and at most `high`;
    `what` names it."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if (low < value <= high and value < math.inf) or (zero and value == 0):
            return value
        msg = f"must be {what}"
        raise argparse.ArgumentTypeError(msg)

    return read


seconds = number("seconds > 0", 0)
