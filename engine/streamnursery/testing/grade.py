"""Grades a client: every fault of the menu on a loopback provider, and what the client made of it.

    report = await grade({"engine": client_command("engine")})
    print(report.as_markdown())

Rule 1: the truth is the provider's log: what it meant to say, what it sent, how often it was asked.
Rule 2: each case has a provider and a process of its own, so that no case can spoil another.
Rule 3: a client is judged by what its user sees: the outcome, the text, the error's class.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import trio

from streamnursery.simulator import LoopbackServer, Profile, Provider, serve_loopback
from streamnursery.testing.grade_menu import MENU, Case, Want

CLIENTS = (
    "engine",
    "openai",
    "openai-node",
    "litellm",
    "httpx",
    "engine-anthropic",
    "anthropic",
    "engine-google",
    "google",
    "relayed-openai",
    "relayed-anthropic",
)
"""Those that `client_command` knows."""
_LANGUAGES = {
    "engine-anthropic": ("anthropic-messages", "/v1"),
    "engine-google": ("gemini", "/v1beta"),
}
"""This engine in other languages: their dialects, and the paths of their URLs."""
_RELAYED = {"relayed-openai": "openai", "relayed-anthropic": "anthropic"}
"""SDKs that are given a client of `streamnursery.sdk`."""
_PACKAGES = {"google": "google.genai", **_RELAYED}
"""Of clients that are called otherwise."""
_MODEL = "graded"
_PROMPT = "Tell me about streams."
_PACE = Profile(0.05, 0.05, 200, (24, 24))
_SETTLE = 1.0
"""Seconds in which a provider must have noticed that nobody listens."""
_STARTING = 30.0
"""Seconds for a client to be imported; some take many."""
_KEPT = ("PATH", "HOME", "LANG", "NODE_PATH")
"""What a client gets of our own environment."""
_MAX_OUTPUT = 1024 * 1024


class Verdict(Enum):
    """What a client made of one case."""

    CORRECT = "correct"
    TYPED_ERROR = "typed error"
    RAW_ERROR = "raw error"
    """An error of another library, or of the language, that its user has to know about."""
    TRUNCATED = "SILENT TRUNCATION"
    """A part of the answer, reported as complete."""
    DUPLICATED = "DUPLICATED TEXT"
    WRONG = "WRONG TEXT"
    MARKED = "marked with U+FFFD"
    """What could not be decoded stands in the text as the replacement character."""
    HANG = "HANG"
    CRASH = "crash"
    STOPPED = "stopped"
    """The client left, and the provider noticed."""
    LEFT_RUNNING = "LEFT RUNNING"
    """The client left, and the provider went on generating."""

    @property
    def silent(self) -> bool:
        """Whether its user cannot know that something is wrong."""
        return self in (Verdict.TRUNCATED, Verdict.DUPLICATED, Verdict.WRONG, Verdict.LEFT_RUNNING)


_GOOD = {
    Want.ANSWER: (Verdict.CORRECT,),
    Want.ERROR: (Verdict.TYPED_ERROR, Verdict.CORRECT, Verdict.MARKED),
    Want.LEAVE: (Verdict.STOPPED,),
}


@attrs.frozen
class CaseResult:
    """One client in one case."""

    client: str
    case: str
    want: Want
    verdict: Verdict
    requests: int
    """That reached the provider."""
    seconds: float
    error: str = ""
    """Class of the error that its user got."""
    leaked: int = 0
    """Answers still under way at the provider a second after the client was done with its own."""

    @property
    def good(self) -> bool:
        return self.verdict in _GOOD[self.want] and not self.leaked

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        own = attrs.asdict(self)
        return {**own, "want": self.want.value, "verdict": self.verdict.value, "good": self.good}


@attrs.frozen
class Grades:
    """All findings."""

    findings: tuple[CaseResult, ...]
    versions: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """By client: of the programs it is made of, as it says itself; not of one that never ended."""

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(found.client for found in self.findings))

    def score(self, client: str) -> tuple[int, int]:
        """Cases it did well in, and all."""
        own = [found for found in self.findings if found.client == client]
        return sum(found.good for found in own), len(own)

    def rows(self) -> list[list[str]]:
        """A table: head, a row for each case, the scores."""
        by_place = {(found.case, found.client): found for found in self.findings}
        cases = dict.fromkeys(found.case for found in self.findings)
        table = [["case", *self.clients]]
        table.extend(
            [case, *(_cell(by_place.get((case, c))) for c in self.clients)] for case in cases
        )
        scores = [self.score(client) for client in self.clients]
        return [*table, ["done well", *(f"{good} of {every}" for good, every in scores)]]

    def as_markdown(self) -> str:
        """The table for a document."""
        head, *rest = self.rows()
        lines = [head, ["---"] * len(head), *rest]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """A stable object."""
        return {
            "schema": "streamnursery.grade/1",
            "versions": {client: dict(self.versions.get(client, {})) for client in self.clients},
            "scores": {client: list(self.score(client)) for client in self.clients},
            "findings": [found.as_json() for found in self.findings],
        }


def _cell(found: CaseResult | None) -> str:
    if found is None:
        return "-"
    asked = f", {found.requests} requests" if found.requests > 1 else ""
    leaked = f", {found.leaked} LEAKED" if found.leaked else ""
    return found.verdict.value + asked + leaked


def client_command(client: str, python: str = sys.executable) -> tuple[str, ...]:
    """The command that runs one of `CLIENTS`: under an interpreter that has it, or with `node`,
    which finds packages by NODE_PATH."""
    folder = Path(__file__).parent / "clients"
    if client == "openai-node":
        return ("node", str(folder / "openai_node.cjs"))
    if client in _LANGUAGES:
        return (python, str(folder / "engine_client.py"), *_LANGUAGES[client])
    if client in _RELAYED:
        return (python, str(folder / f"{_RELAYED[client]}_client.py"), "relayed")
    return (python, str(folder / f"{client}_client.py"))


def is_installed(client: str, program: str = sys.executable) -> bool:
    """Whether `program`, an interpreter or node, finds the package of one of `CLIENTS`."""
    if client == "openai-node":
        question = ("-e", "require.resolve('openai')")
    elif client.startswith("engine"):
        question = (
            "-c",
            "from streamnursery import open_engine",
        )  # ours is found anywhere, what it needs is not
    else:
        package = _PACKAGES.get(client, client)
        find = f"import {package}"
        question = ("-c", find)
    asked = subprocess.run(
        (program, *question), env=_surroundings(), capture_output=True, check=False
    )
    return asked.returncode == 0


async def grade(
    commands: Mapping[str, Sequence[str]],
    *,
    menu: Sequence[Case] = MENU,
    parallel: int = 4,
    on_finding: Callable[[CaseResult], object] | None = None,
) -> Grades:
    """Every case against every command; clients by name.

    `on_finding` is called with each `CaseResult` as it is made.
    """
    found: dict[tuple[str, str], CaseResult] = {}
    versions: dict[str, Mapping[str, str]] = {}
    places = trio.CapacityLimiter(parallel)

    async def one(client: str, command: Sequence[str], case: Case) -> None:
        async with places:
            finding, said = await _confront(client, command, case)
        found[client, case.name] = finding
        if said:
            versions.setdefault(client, said)
        if on_finding is not None:
            on_finding(finding)

    async with trio.open_nursery() as nursery:
        for case in menu:
            for client, command in commands.items():
                nursery.start_soon(one, client, command, case)
    findings = tuple(found[client, case.name] for case in menu for client in commands)
    return Grades(findings, versions)


async def _confront(
    client: str, command: Sequence[str], case: Case
) -> tuple[CaseResult, Mapping[str, str]]:
    """What it made of the case, and the versions that it said it has."""
    provider = Provider(dice=random.Random(1), models={_MODEL: _PACE}, plan=case.plan)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        started = trio.current_time()
        said, seconds, leaked = await _run(command, case, server)
        finding = CaseResult(
            client,
            case.name,
            case.want_of(client),
            _verdict(said, provider, leaked),
            len(provider.log),
            round(seconds if seconds is not None else trio.current_time() - started, 3),
            str(said.get("error", "")) if said is not None else "",
            0 if case.want is Want.LEAVE else leaked,
        )
        await server.stop()
        nursery.cancel_scope.cancel()
    return finding, _versions(said)


def _versions(said: Mapping[str, Any] | None) -> Mapping[str, str]:
    given = said.get("versions") if said is not None else None
    if not isinstance(given, dict):
        return {}
    return {str(name): str(version) for name, version in given.items()}


async def _run(
    command: Sequence[str], case: Case, server: LoopbackServer
) -> tuple[dict[str, Any] | None, float | None, int]:
    """What the client said, None for a hang; when; how many answers were then left under way."""
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(case, server),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    started = trio.current_time()
    output = bytearray()
    said: dict[str, Any] | None = None
    try:
        with trio.move_on_after(case.limit + _STARTING) as limit:
            while said is None and len(output) < _MAX_OUTPUT:
                more = await process.stdout.receive_some(65536)
                if not more:
                    break
                output += more
                said = _protocol(bytes(output))
        seconds = trio.current_time() - started
        if limit.cancelled_caught:
            return None, seconds, 0
        leaked = await _left_under_way(server)
        return said or await _plain(bytes(output), process), seconds, leaked
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def _left_under_way(server: LoopbackServer) -> int:
    with trio.move_on_after(_SETTLE):
        while server.statistics().current_requests:  # noqa: ASYNC110 - a server tells nobody
            await trio.sleep(0.02)
    return server.statistics().current_requests


def _protocol(output: bytes) -> dict[str, Any] | None:
    """The line of the protocol of `streamnursery.testing.clients`, if it is there yet."""
    for line in output.split(b"\n")[:-1]:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("outcome") in ("complete", "error", "left"):
            return said
    return None


async def _plain(output: bytes, process: trio.Process) -> dict[str, Any]:
    """What a program said that does not speak the protocol: its text, or that it failed."""
    with trio.move_on_after(5):
        code = await process.wait()
        if code == 0:
            text = output.decode(errors="replace")
            return {"outcome": "complete", "text": text.removesuffix("\n")}
        return {"outcome": "error", "error": f"exit code {code}", "typed": code > 0}
    return {"outcome": "crash"}


def _environment(case: Case, server: LoopbackServer) -> dict[str, str]:
    return {
        **_surroundings(),
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "graded",
        "ANTHROPIC_BASE_URL": server.url.removesuffix("/v1"),
        "ANTHROPIC_API_KEY": "graded",
        "GOOGLE_GEMINI_BASE_URL": server.url.removesuffix("/v1"),
        "GEMINI_API_KEY": "graded",
        "GRADE_MODEL": _MODEL,
        "GRADE_PROMPT": _PROMPT,
        "GRADE_LEAVE_AFTER": "" if case.leave_after is None else str(case.leave_after),
    }


def _surroundings() -> dict[str, str]:
    """Of a client's environment what is not about its case."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}


def _verdict(said: Mapping[str, Any] | None, provider: Provider, leaked: int) -> Verdict:
    if said is None:
        return Verdict.HANG
    match said["outcome"]:
        case "left":
            return Verdict.LEFT_RUNNING if leaked else Verdict.STOPPED
        case "error":
            return Verdict.TYPED_ERROR if said.get("typed") else Verdict.RAW_ERROR
        case "complete":
            return _judge_text(str(said.get("text", "")), provider)
        case _:
            return Verdict.CRASH


def _judge_text(text: str, provider: Provider) -> Verdict:
    meant = next((r.intended() for r in provider.log if r.reply is not None), "")
    if text == meant and meant:
        return Verdict.CORRECT
    if meant.startswith(text):
        return Verdict.TRUNCATED
    if meant and text.endswith(meant) and meant.startswith(text.removesuffix(meant)):
        return Verdict.DUPLICATED
    return Verdict.MARKED if "\ufffd" in text and "\ufffd" not in meant else Verdict.WRONG
