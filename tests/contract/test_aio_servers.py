"""The FastAPI program of docs/asyncio.md on servers that nobody here wrote."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from streamnursery.simulator import Plan, Profile, Provider, Stall, serve_loopback
from tests.support.cli import ROOT, empty_world
from tests.support.guard import GUARD, guarded, until

pytest.importorskip("fastapi", reason="installed by `make contract`")

pytestmark = pytest.mark.contract

CLIENTS = 200
SERVERS = {
    "uvicorn": ("-m", "uvicorn", "--fd", "{fd}", "--timeout-graceful-shutdown", "1"),
    "uvicorn on uvloop": ("-m", "uvicorn", "--fd", "{fd}", "--loop", "uvloop"),
    "hypercorn": ("-m", "hypercorn", "--bind", "fd://{fd}"),
}
ASK = b"GET /ask?question=Hi&model=m HTTP/1.1\r\nHost: app.test\r\n\r\n"


def program() -> str:
    """The block of the page that is no program by itself."""
    (found,) = re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "asyncio.md").read_text(), re.DOTALL)
    return str(found)


@contextmanager
def served(
    folder: Path, server: str, upstream: str
) -> Iterator["tuple[int, subprocess.Popen[str]]"]:
    """The program in a process of its own; its port."""
    (folder / "program.py").write_text(program())
    with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as listener:
        fd = listener.fileno()
        words = [word.format(fd=fd) for word in SERVERS[server]]
        process = subprocess.Popen(
            [sys.executable, *words, "program:app"],
            cwd=folder,
            env={**empty_world(folder), "OPENAI_BASE_URL": upstream, "OPENAI_API_KEY": "sk-test"},
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(fd,),
        )
        with guarded(process):
            try:
                yield listener.getsockname()[1], process
            finally:
                process.kill()


def provider(*faults: Stall) -> Provider:
    models = {"m": Profile(output_tokens=(10, 10))}
    return Provider(dice=Random(1), models=models, plan=Plan.always(*faults) if faults else Plan())


async def asked(port: int) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(ASK)
    return stream


async def read_until(stream: trio.SocketStream, word: bytes) -> bytes:
    data = b""
    with trio.fail_after(GUARD):
        while word not in data:
            more = await stream.receive_some()
            assert more, data
            data += more
    return data


@pytest.mark.parametrize("server", SERVERS)
async def test_an_answer_is_served_to_its_end(tmp_path: Path, server: str) -> None:
    upstream = provider()
    async with trio.open_nursery() as nursery:
        loopback = await serve_loopback(upstream, nursery=nursery)
        with served(tmp_path, server, loopback.url) as (port, _):
            stream = await asked(port)
            data = await read_until(stream, b'"finished"')
            assert b"text/event-stream" in data
            assert data.count(b'"text_delta"') == 10
            await stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("server", SERVERS)
async def test_clients_that_hang_up_end_their_streams_upstream(tmp_path: Path, server: str) -> None:
    """While the provider is silent: no write of the server's can fail."""
    upstream = provider(Stall(2))
    async with trio.open_nursery() as nursery:
        loopback = await serve_loopback(upstream, nursery=nursery)
        with served(tmp_path, server, loopback.url) as (port, _):

            async def client() -> None:
                stream = await asked(port)
                await read_until(stream, b"text_delta")
                await stream.aclose()

            async with trio.open_nursery() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(client)
            assert len(upstream.log) == CLIENTS
            await until(lambda: all(record.aborted for record in upstream.log))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
async def test_a_server_that_is_told_to_end_ends_with_streams_open(
    tmp_path: Path, server: str
) -> None:
    upstream = provider(Stall(2))
    async with trio.open_nursery() as nursery:
        loopback = await serve_loopback(upstream, nursery=nursery)
        with served(tmp_path, server, loopback.url) as (port, process):
            streams = [await asked(port) for _ in range(5)]
            for stream in streams:
                await read_until(stream, b"text_delta")
            os.kill(process.pid, signal.SIGTERM)
            await until(lambda: process.poll() is not None)
            await until(lambda: all(record.aborted for record in upstream.log))
            for stream in streams:
                await stream.aclose()
        nursery.cancel_scope.cancel()


def test_the_documented_test_of_a_program_passes(tmp_path: Path) -> None:
    pytest.importorskip("httpx2")
    (tmp_path / "program.py").write_text(program())
    page = (ROOT / "docs" / "testing.md").read_text()
    examples = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    (example,) = [text for text in examples if "from program import app" in text]
    (tmp_path / "test_program.py").write_text(example)
    (tmp_path / "conftest.py").write_text(
        'pytest_plugins = ["streamnursery.testing.pytest_plugin"]\n'
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env=empty_world(tmp_path),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
