"""Threats to a request on its way, on real sockets: T1, T3, T8, T9, T10, T11, T23."""

import gzip
import logging
import os
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from streamnursery.transport.network import SocketConnection, TrioNetwork
from streamnursery.values.errors import (
    RedirectRefusedError,
    RequestError,
    TooLargeError,
    UnexpectedContentError,
)
from streamnursery.values.http import Header
from streamnursery.values.secret import Secret
from tests.support.guard import GUARD
from tests.support.servers import fetch, serving, transporting
from tests.support.tls import ca_file, server_context
from tests.support.transport import CHUNKED_HEAD, Handler, ServerEnd, answer_hello

CANARY = "canary-4711"
KEY_HEADERS: tuple[Header, ...] = (
    ("authorization", Secret(f"Bearer {CANARY}")),
    ("x-api-key", Secret(CANARY)),
    ("api-key", Secret(CANARY)),
    ("x-goog-api-key", Secret(CANARY)),
    ("cookie", Secret(f"session={CANARY}")),
)


def says(data: bytes) -> Handler:
    async def serve(end: ServerEnd) -> None:
        while await end.read_request():
            await end.send(data)

    return serve


async def test_t1_no_logger_and_no_stream_shows_a_key(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    cookie = (
        b"HTTP/1.1 200 OK\r\nset-cookie: s=" + CANARY.encode() + b"\r\ncontent-length: 0\r\n\r\n"
    )
    for context in (None, server_context()):
        async with serving(says(cookie), context) as server, transporting() as transport:
            peer = server.peer(ca_file=ca_file(tmp_path) if context else "")
            request = server.request(headers=KEY_HEADERS, body=CANARY.encode() * 10_000)
            request = type(request)(
                peer, "POST", f"/v1?key={CANARY}", request.headers, request.body
            )
            assert await fetch(transport, request) == (200, b"")
            assert any(CANARY.encode() in sent for sent in server.requests)
    assert CANARY not in caplog.text
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err


async def test_t3_keys_do_not_follow_a_redirect() -> None:
    async with serving(answer_hello) as target, transporting() as transport:
        location = f"http://127.0.0.1:{target.port}/v1?key={CANARY}"
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        async with serving(says(moved.encode())) as server:
            with pytest.raises(RedirectRefusedError) as caught:
                await fetch(transport, server.request(headers=KEY_HEADERS))
        assert f"127.0.0.1:{target.port}/v1;" in str(caught.value)
        assert CANARY not in str(caught.value)
        assert target.connections == 0


@pytest.mark.parametrize("trust_env", [False, True])
async def test_t8_the_environment_counts_only_when_it_is_trusted(
    trust_env: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def tunnel(end: ServerEnd) -> None:
        await end.read_head()
        await end.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await answer_hello(end)

    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {CANARY}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    async with serving(tunnel) as proxy, serving(answer_hello) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        async with transporting(trust_env=trust_env) as transport:
            assert await fetch(transport, server.request()) == (200, b"hello")
        assert (proxy.connections, server.connections) == ((1, 0) if trust_env else (0, 1))
        assert not any(b"authorization" in r.lower() for r in server.requests + proxy.requests)


names = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["host", "Content-Length", "transfer-encoding", "connection", ":path", "te"]),
    st.from_regex(r"x-[a-z]{1,8}", fullmatch=True),
)
values = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="ab\r\n\x00 :", max_size=20),
    st.from_regex(r"[!-~]{1,20}", fullmatch=True),
)


@settings(max_examples=200)
@given(name=names, value=values)
def test_t9_a_header_is_sent_as_one_header_or_refused(name: str, value: str) -> None:
    async def main() -> None:
        async with serving(answer_hello) as server, transporting() as transport:
            try:
                answer = await fetch(transport, server.request(headers=((name, value),)))
            except RequestError:
                assert server.connections == 0
                return
            assert answer == (200, b"hello")
            (request,) = server.requests
            head, _, body = request.partition(b"\r\n\r\n")
            assert body == b"{}"
            assert head.split(b"\r\n")[3] == f"{name}: {value}".encode("latin-1")
            assert len(head.split(b"\r\n")) == 5

    trio.run(main)


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Server and client together may not hold more than `limit` bytes above the start."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < limit


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nx: ", CHUNKED_HEAD + b"1;x="])
async def test_t10_an_endless_line_takes_no_memory(begin: bytes) -> None:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(begin)
        piece = b"a" * 65536
        for _ in range(1600):
            await end.send(piece)

    async with serving(serve) as server, transporting() as transport:
        with memory_below(2 * 1024 * 1024), pytest.raises(TooLargeError):
            await fetch(transport, server.request())


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "x-gzip, deflate"])
@pytest.mark.parametrize("status", [200, 500])
async def test_b12_t11_a_compression_bomb_is_not_lit(coding: str, status: int) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-encoding: {coding}\r\ncontent-length: {len(bomb)}\r\n\r\n"
    )
    async with serving(says(head.encode() + bomb)) as server, transporting() as transport:
        with memory_below(8 * 1024 * 1024):
            if status == 200:
                with pytest.raises(UnexpectedContentError):
                    await fetch(transport, server.request())
            else:
                assert await fetch(transport, server.request()) == (status, b"")
        assert all(b"accept-encoding: identity\r\n" in request for request in server.requests)


async def test_t23_sockets_are_closed_on_exec() -> None:
    async with serving(answer_hello) as server:
        connection = await TrioNetwork().connect(("127.0.0.1", server.port))
        assert isinstance(connection, SocketConnection)
        number = connection.fileno()
        assert number is not None
        assert not os.get_inheritable(number)
        connection.close()
        assert connection.fileno() is None


FORK = """
    import os, trio
    from streamnursery.transport.client import HttpTransport
    from streamnursery.values.errors import EngineClosedError
    from tests.support.transport import Phases, http_request

    async def main():
        async with trio.open_nursery() as nursery:
            transport = HttpTransport(nursery)
            child = os.fork()
            if child == 0:
                try:
                    transport.open(http_request(), Phases()).send(None)
                except EngineClosedError as error:
                    os._exit(0 if "fork" in str(error) else 2)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    trio.run(main)
"""


def test_t23_after_fork_the_transport_refuses_to_run() -> None:
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", textwrap.dedent(FORK)]
    subprocess.run(words, cwd=root, check=True, timeout=GUARD)
