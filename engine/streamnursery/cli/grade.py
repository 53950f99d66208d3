"""`streamnursery grade`: what a client does when the provider misbehaves."""

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING

from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_verb, whole

if TYPE_CHECKING:
    from streamnursery.testing.grade import CaseResult, Grades

_EXAMPLE = """\
streamnursery grade                                       this engine
streamnursery grade --client openai --client httpx --markdown
streamnursery grade --client 'command python my_client.py'
"""
_PROTOCOL = """\
your own client:
  OPENAI_BASE_URL, OPENAI_API_KEY, GRADE_MODEL and GRADE_PROMPT are in its environment. It prints
  the text of the answer and exits with 0, or fails with another code; or it prints a line of JSON:
  {"outcome": "complete", "text": "..."} or {"outcome": "error", "error": "Name", "typed": true},
  stops reading after GRADE_LEAVE_AFTER pieces where that is set ({"outcome": "left"}), and runs on
  until its stdin ends. It is graded after three plain answers; without them it "did not start",
  and the exit code is 2. The time of a case runs from the client's first request.
"""
_KNOWN = (
    *("floor", "ceiling", "engine", "openai", "openai-node", "litellm", "pydantic-ai"),
    *("langchain", "vercel-ai", "httpx", "httpx-sse", "eventsource-parser", "curl"),
    *("engine-anthropic", "anthropic", "engine-google", "google"),
    *("relayed-openai", "relayed-anthropic"),
)


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "grade",
        run,
        example=_EXAMPLE,
        summary="confront a client with every fault, and see what its user would",
        then=f"{PROGRAM} grade --client engine --client openai",
    )
    parser.epilog = f"{_PROTOCOL}\n{parser.epilog}"
    add = parser.add_argument
    add(
        "--client",
        action="append",
        metavar="NAME",
        help=f"{', '.join(_KNOWN)}, or 'command ...'; may be repeated",
    )
    add("--python", metavar="PATH", help="the interpreter that has the clients; this one")
    add("--only", metavar="TEXT", help="cases with this in their names")
    add("--parallel", type=whole(1, 64), default=4, metavar="N", help="cases at a time: 4")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one object")
    form.add_argument("--markdown", action="store_true", help="print a table for a document")
    add("-q", "--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    """Confront every client with every case."""
    from streamnursery.cli.console import note
    from streamnursery.cli.signals import run_trio
    from streamnursery.testing.grade import Grades, grade
    from streamnursery.testing.grade_menu import MENU

    commands = _commands(args)
    menu = [case for case in MENU if (args.only or "") in case.name]
    if not menu:
        step = f"{PROGRAM} grade runs them all"
        raise CliError("no case has that in its name", f"--only {args.only}", step)
    findings: list[CaseResult] = []

    def on_finding(found: "CaseResult") -> None:
        findings.append(found)
        if not args.quiet:
            place = f"[{len(findings)}/{len(menu) * len(commands)}] {found.client}: {found.case}"
            note(f"{place}: {found.verdict.value} ({found.seconds:.1f} s)")

    grades: list[Grades] = []

    async def work() -> int:
        found = await grade(commands, menu=menu, parallel=args.parallel, on_finding=on_finding)
        grades.append(found)
        return 0

    interrupted = run_trio(work)
    if interrupted and not findings:
        return interrupted
    if interrupted:
        note(f"it was interrupted: {len(findings)} of {len(menu) * len(commands)} cases were tried")
    found = grades[0] if grades else Grades(tuple(findings))
    code = _tell(found, args)
    return interrupted or code


def _tell(found: "Grades", args: argparse.Namespace) -> int:
    """Print what was found, and the exit code that says it."""
    from streamnursery.cli.console import data, note
    from streamnursery.cli.tables import fitted

    for client, why in found.not_started.items():
        note(f"{client} did not start: {why}")
    if args.json:
        data(json.dumps(found.as_json()))
    elif found.findings:
        data(found.as_markdown() if args.markdown else fitted(found.rows()))
    if found.not_started:
        return Exit.USAGE
    return Exit.OK if all(finding.good for finding in found.findings) else Exit.SOME_FAILED


def _commands(args: argparse.Namespace) -> dict[str, list[str]]:
    """What runs each client, by its name; all of them can be run."""
    found: dict[str, list[str]] = {}
    for text in args.client or ["engine"]:
        name, command = _command(text, args.python)
        if name in found:
            why = "their findings would be one client's"
            step = "give your programs different names"
            msg = f"two clients are called {name}"
            raise CliError(msg, why, step)
        found[name] = command
        _check_program(name, command[0])
    return found


def _check_program(client: str, program: str) -> None:
    """It can be run, and has the package that a known client is in."""
    import shutil

    from streamnursery.testing.grade import is_installed

    if shutil.which(program) is None and client not in _KNOWN:
        return  # it will not start, and says so
    known = client in _KNOWN
    if shutil.which(program) is None:
        msg = f"{program} cannot be run"
        step = f"{PROGRAM} grade --python PATH" if known else "--client 'command python client.py'"
        raise CliError(msg, "there is no such program", step)
    if known and not is_installed(client, program):
        msg = f"the client {client} is not installed"
        step = "NODE_PATH=..." if program == "node" else f"{PROGRAM} grade --python PATH"
        raise CliError(msg, f"{program} does not find its package", step)


def _command(text: str, python: str | None) -> tuple[str, list[str]]:
    """The client's name and what runs it."""
    if text in _KNOWN:
        from streamnursery.testing.grade import client_command

        return text, list(client_command(text, python or sys.executable))
    words = shlex.split(text)
    if words[:1] == ["command"] and len(words) > 1:
        return words[-1].rpartition("/")[2], words[1:]
    why = f"there is {', '.join(_KNOWN)}, or 'command ...' with what runs your own"
    msg = f"--client {text:.40}: no such client"
    raise CliError(msg, why, f"{PROGRAM} grade --help")
