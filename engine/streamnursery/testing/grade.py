"""Grades a client: every fault of the menu on a loopback provider, and what the client made of it.

    report = await grade({"engine": client_command("engine")})
    print(report.as_markdown())

Rule 1: a client is graded once it has shown that it works: three plain answers. Otherwise it "did
        not start", and gets no marks for what it did not do.
Rule 2: the truth is the provider's log: what it meant to say, what it sent, how often it was asked.
Rule 3: each case has its own provider and process, so that no case can spoil another.
Rule 4: a client is judged by what its user sees: the outcome, the text, the error's class.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from streamnursery.simulator import Plan
from streamnursery.testing.grade_clients import (
    CLIENTS,
    client_command,
    is_installed,
    may_fail_calibration,
)
from streamnursery.testing.grade_menu import MENU, Case, Want
from streamnursery.testing.grade_report import CaseResult, Grades
from streamnursery.testing.grade_run import STARTING, Confrontation, confront
from streamnursery.testing.grade_verdict import Verdict, verdict_of

__all__ = [
    "CLIENTS",
    "CaseResult",
    "Grades",
    "Verdict",
    "client_command",
    "grade",
    "is_installed",
]

CALIBRATION: Final = 3
"""Plain answers that a client has to show."""
_PLAIN = Case("a plain answer", Plan(), Want.ANSWER, limit=30.0)


async def grade(
    commands: Mapping[str, Sequence[str]],
    *,
    menu: Sequence[Case] = MENU,
    parallel: int = 4,
    starting: float = STARTING,
    on_finding: Callable[[CaseResult], object] | None = None,
) -> Grades:
    """Every case against every command; clients by name.

    `starting` is how many seconds a client may take until it asks. `on_finding` is called with each
    `CaseResult` as it is made.
    """
    found: dict[tuple[str, str], CaseResult] = {}
    versions: dict[str, Mapping[str, str]] = {}
    not_started: dict[str, str] = {}
    places = trio.CapacityLimiter(parallel)

    async def calibrate(client: str, command: Sequence[str]) -> None:
        async with places:
            problem, said = await _calibrate(command, starting)
        versions[client] = said
        if problem and not may_fail_calibration(tuple(command)):
            not_started[client] = problem

    async def one(client: str, command: Sequence[str], case: Case) -> None:
        async with places:
            seen = await confront(command, case, starting=starting)
        found[client, case.name] = finding = _finding(client, case, seen)
        if on_finding is not None:
            on_finding(finding)

    async with trio.open_nursery() as nursery:
        for client, command in commands.items():
            nursery.start_soon(calibrate, client, command)
    graded = {client: commands[client] for client in commands if client not in not_started}
    async with trio.open_nursery() as nursery:
        for case in menu:
            for client, command in graded.items():
                nursery.start_soon(one, client, command, case)
    findings = tuple(found[client, case.name] for case in menu for client in graded)
    return Grades(findings, versions, not_started)


async def _calibrate(command: Sequence[str], starting: float) -> tuple[str, Mapping[str, str]]:
    """What is wrong with its plain answers, "" for nothing; and the versions that it says."""
    versions: Mapping[str, str] = {}
    for number in range(CALIBRATION):
        seen = await confront(command, _PLAIN, seed=number + 2, starting=starting)
        versions = seen.versions or versions
        verdict = verdict_of(seen.said, seen.log, seen.leaked)
        if verdict is not Verdict.CORRECT:
            answer = f"plain answer {number + 1} of {CALIBRATION}"
            return f"{answer}: {_why(verdict, seen, starting)}", versions
    return "", versions


def _why(verdict: Verdict, seen: Confrontation, starting: float) -> str:
    """In words for the user of the command."""
    said = seen.said or {}
    error = f" ({said['error']})" if said.get("error") else ""
    if verdict is Verdict.DID_NOT_ASK:
        after = "" if said else f" within {starting:g} s"
        return f"it sent no request{after}{error}"
    if verdict is Verdict.HANG:
        return f"it had not ended {_PLAIN.limit:g} s after its request"
    return f"{verdict.value}{error}"


def _finding(client: str, case: Case, seen: Confrontation) -> CaseResult:
    said = seen.said
    return CaseResult(
        client,
        case.name,
        case.want_of(client),
        verdict_of(said, seen.log, seen.leaked),
        len(seen.log),
        seen.seconds,
        str(said.get("error", "")) if said is not None else "",
        0 if case.want is Want.LEAVE else seen.leaked,
        case.group,
    )
