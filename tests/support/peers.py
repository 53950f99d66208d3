"""Servers and clients that nobody here wrote, each in a process of its own."""

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from streamnursery import Engine, EngineError, Secret, open_engine
from tests.support.cli import ROOT, empty_world

INSTALLED = ROOT / "build" / "contract"
"""Where `tests/contract/setup` puts them."""
READY_WITHIN = 600
"""Polls of 0.2 s until a starting server answers."""
KEY = "sk-contract"


def needs(path: str, program: str = "") -> pytest.MarkDecorator:
    """Skips a test whose peer is not at `path`, or which has no `program` to run it."""
    what = path if not (INSTALLED / path).exists() else program
    missing = what == path or (bool(program) and shutil.which(program) is None)
    reason = f"{what} is not installed; `make contract` installs the peers that it can"
    return pytest.mark.skipif(missing, reason=reason)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@asynccontextmanager
async def asking(
    url: str,
    *models: str,
    key: str = KEY,
    attempts: int = 1,
    idle: float = 60.0,
    learn_rates: bool = True,
) -> AsyncIterator[Engine]:
    """An engine for `models` at the server at `url`."""
    settings = {
        "endpoints": {"peer": {"url": url, "key": Secret(key), "learn_rates": learn_rates}},
        "models": {
            model: {
                "routes": [{"endpoint": "peer"}],
                "max_streams": 50,
                "patience": {"idle": idle},
                "retries": {"attempts": attempts, "base": 0.05},
            }
            for model in models
        },
    }
    with trio.fail_after(200):
        async with open_engine(settings) as eng:
            yield eng


async def failure(eng: Engine, model: str, prompt: str) -> EngineError:
    """What a request fails with, after a single attempt."""
    with pytest.raises(EngineError) as caught:
        await eng.complete(model, prompt)
    return caught.value


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
