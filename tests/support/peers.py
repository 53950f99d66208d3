"""Servers and clients that nobody here wrote, each in a process of its own."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import ROOT, empty_world

INSTALLED = ROOT / "build" / "contract"
"""Where `tests/contract/setup` puts them."""
READY_WITHIN = 600
"""Polls of 0.2 s until a starting server answers."""


def installed(path: str) -> Path:
    """The peer at `path`; without it the test is skipped."""
    found = INSTALLED / path
    if not found.exists():
        pytest.skip(f"{path} is not installed; tests/contract/setup does it")
    return found


def lab(script: str) -> Path:
    """A script that installs and starts a server; without it the test is skipped."""
    folder = os.environ.get("STREAMNURSERY_LAB", "")
    found = Path(folder) / script
    if not folder or not found.is_file():
        pytest.skip(f"STREAMNURSERY_LAB names no folder with {script}")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(
    port: int, folder: Path, *words: str | Path, environ: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a server until the block ends; its address, with `/v1`."""
    log = folder / f"server.{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env={**empty_world(folder), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        try:
            _wait_for(process, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    for _ in range(READY_WITHIN):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            return
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
