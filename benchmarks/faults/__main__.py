"""What clients make of an answer that goes wrong: the same faults for each, in real time.

    make contract                        # installs the clients
    python -m benchmarks.faults [--save]

Each case is one request of one client, as the client's own documentation shows it and with its own
defaults, in a process of its own, against the simulated provider on the loopback. Told apart is
what a program can know from its client: it was whole, or it was an error; a client that still waits
after `LONGEST` seconds is stopped. `--save` writes the table into benchmarks/results/.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio

from engine.simulator import (
    BadJson,
    Cut,
    Fault,
    Garbage,
    HangAfterDone,
    InStreamError,
    Plan,
    Provider,
    RequestRecord,
    Reset,
    Respond,
    Rule,
    Stall,
    Status,
    When,
    serve_loopback,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ROOT / "build" / "contract"
LONGEST = 12.0
MODEL = "fast"
TEXT = Respond(text="one two three four five six seven eight nine ten")


@attrs.frozen
class Case:
    """What goes wrong; `first` alone means that a second request would be answered whole."""

    what: str
    fault: Fault
    first: bool = False
    timeout: str = ""
    """Seconds that the client is told to wait for the provider."""

    def plan(self) -> Plan:
        when = When(requests=(1,)) if self.first else When()
        return Plan((Rule((TEXT,)), Rule((self.fault,), when)))


@attrs.frozen
class Client:
    name: str
    command: tuple[str, ...]
    installed: Path
    version: str


CASES = (
    Case("the first answer is a 503", Status(503), first=True),
    Case("the first answer is a 429, with Retry-After: 1", Status(429, 1), first=True),
    Case("the first answer is reset before its first token", Reset(0), first=True),
    Case("the body ends in good order after 3 tokens, without `[DONE]`", Cut(3, how="end")),
    Case("the connection is closed after 3 tokens", Cut(3)),
    Case("the connection is reset after 3 tokens", Reset(3)),
    Case("half a JSON object in place of a chunk", BadJson(3)),
    Case("an error object in place of a chunk", InStreamError(3)),
    Case("a web page, with status 200", Garbage("html")),
    Case("nothing but comments after 3 tokens; time-out 2 s", Stall(3, None, 1.0), timeout="2"),
    Case("nothing at all after 3 tokens; time-out 2 s", Stall(3, None), timeout="2"),
    Case("`[DONE]`, and then the connection stays open", HangAfterDone(None)),
)


def clients() -> list[Client]:
    """Those that are installed."""
    here, node = HERE / "clients", PEERS / "npm/node_modules/openai"
    python, litellm = Path(sys.executable), PEERS / "litellm/bin/python"
    found = [
        Client(
            "engine",
            (str(python), str(here / "engine_stream.py")),
            python,
            _version("streamnursery"),
        ),
        Client(
            "openai (Python)",
            (str(python), str(here / "openai_python.py")),
            python,
            _version("openai"),
        ),
        Client("openai (Node)", ("node", str(here / "openai_node.cjs")), node, _node_version(node)),
        Client(
            "litellm",
            (str(litellm), str(here / "litellm_python.py")),
            litellm,
            _litellm_version(litellm),
        ),
    ]
    return [client for client in found if client.installed.exists() and client.version]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _node_version(folder: Path) -> str:
    manifest = folder / "package.json"
    return str(json.loads(manifest.read_text())["version"]) if manifest.exists() else ""


def _litellm_version(python: Path) -> str:
    if not python.exists():
        return ""
    ask = "from importlib.metadata import version; print(version('litellm'))"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True).stdout.strip()


async def outcome(client: Client, case: Case) -> str:
    """What `client` says of `case`, and how often it asked."""
    provider = Provider(dice=Random(1), plan=case.plan())
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        said: dict[str, Any] | None = None
        with trio.move_on_after(LONGEST + 8):  # the start of litellm alone takes seconds
            words = [*client.command, server.url, MODEL, case.timeout]
            environ = {**os.environ, "OPENAI_NODE": str(client.installed)}
            ran = await trio.run_process(
                words, env=environ, capture_stdout=True, capture_stderr=True, check=False
            )
            said = json.loads(ran.stdout.splitlines()[-1])
        asked = [record for record in provider.log if record.model]
        nursery.cancel_scope.cancel()
    return _told(said, asked)


def _told(said: dict[str, Any] | None, asked: list[RequestRecord]) -> str:
    more = f", {len(asked)} requests" if len(asked) > 1 else ""
    if said is None:
        return f"waits still after {LONGEST:g} s{more}"
    late = f" after {said['seconds']:.0f} s" if said["seconds"] >= 0.95 else ""
    if said["end"] != "whole":
        return f"{said['end']}{late}{more}"
    if said["text"] == asked[-1].intended():
        return f"whole{late}{more}"
    kept, meant = len(said["text"].split()), len(asked[-1].intended().split())
    return f"**taken for whole**, {kept} of {meant} tokens{late}{more}"


async def table(peers: list[Client]) -> str:
    lines = [
        "| what happens | " + " | ".join(f"{peer.name} {peer.version}" for peer in peers) + " |",
        "|---" * (len(peers) + 1) + "|",
    ]
    for case in CASES:
        cells = [await outcome(peer, case) for peer in peers]
        lines.append(f"| {case.what} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    made = trio.run(table, clients())
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        path = ROOT / "benchmarks" / "results" / f"{today}-faults.md"
        python = sys.version.split()[0]
        head = f"# Faults, {today}\n\nBy `python -m benchmarks.faults`; Python {python}.\n\n"
        path.write_text(f"{head}{made}\n")
        print(path)


if __name__ == "__main__":
    main()
