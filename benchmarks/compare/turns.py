"""Runs the clients of a row in turns, against the server that the row needs."""

import shutil
import sys
from contextlib import AbstractContextManager
from typing import Any

import attrs

from benchmarks.compare.http2 import front
from benchmarks.compare.kinds import Row
from benchmarks.compare.measure import ClientFailedError, Server, server
from benchmarks.compare.roster import Client


def place(row: Row) -> AbstractContextManager[Server]:
    """The server that a row's requests go to."""
    return front() if row.http == "2" else server(secure=row.secure)


def possible(row: Row) -> bool:
    """Whether this machine has what the row needs; if not, says what is missing."""
    if row.http == "2" and shutil.which("nginx") is None:
        print(f"{row.name} is left out: nginx is not installed", file=sys.stderr)
        return False
    return True


def in_turns(
    row: Row, clients: list[Client], target: Server, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Every client once, then every client again: what slows the machine down slows all."""
    turns: dict[str, list[dict[str, Any]]] = {client.name: [] for client in clients}
    for number in range(rounds):
        for client in clients:
            print(f"{row.name}, turn {number + 1}: {client.name}", file=sys.stderr)
            turns[client.name].append(turn(row, client, target))
    return turns


def turn(row: Row, client: Client, target: Server) -> dict[str, Any]:
    try:
        figures, samples = row.measure(client, target)
    except ClientFailedError as failure:
        print(f"  {failure}", file=sys.stderr)
        return {"failed": str(failure)}
    return {"figures": attrs.asdict(figures)} | {
        name: attrs.asdict(sample) for name, sample in samples.items()
    }
