"""The engine over HTTP/2: through nginx and haproxy, and to hypercorn."""

import random
import shutil
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from streamnursery import ConnectionLostError, Engine, open_engine, open_transport
from streamnursery.simulator import Profile, Provider, serve_loopback
from streamnursery.testing import assert_quiescent, no_files_left_open, wait_quiescent
from tests.support.peers import INSTALLED, free_port, needs, serving
from tests.support.tls import authority, ca_file

pytestmark = [pytest.mark.contract]
HYPERCORN = "hypercorn/bin/hypercorn"
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="no haproxy here")

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  client_max_body_size 64m; client_body_buffer_size 8m;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.pem;
    keepalive_requests {requests}; http2_max_concurrent_streams {streams};
    location / {{ proxy_pass http://up; }}
    location /cut/ {{ proxy_read_timeout 100ms; proxy_pass http://up/; }}
  }}
}}
"""
HAPROXY = """
global
  tune.h2.max-concurrent-streams 20
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{port} ssl crt {folder}/leaf.pem alpn h2,http/1.1
  bind 127.0.0.1:{plain} proto h2
  default_backend b
backend b
  server s1 127.0.0.1:{upstream}
"""
APP = """
import json, asyncio
async def app(scope, receive, send):
    if scope["type"] != "http":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind.endswith("shutdown"):
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    head = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for word in ["w"] * 8:
        await send({"type": "http.response.body", "body": chunk(word, None), "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": chunk("", "stop") + b"data: [DONE]\\n\\n"})
def chunk(word, reason):
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\\n\\n"
"""


@attrs.frozen
class Front:
    engine: Engine
    url: str
    ca_file: str


def _certificate(folder: Path) -> str:
    """A leaf for localhost beside its key; returns the file of its authority."""
    leaf = authority().issue_cert("localhost", "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))
    return ca_file(folder)


@asynccontextmanager
async def front(
    folder: Path, kind: str, *, requests: int = 1000, streams: int = 128, path: str = ""
) -> AsyncIterator[Front]:
    """An engine that reaches the simulator through a front over TLS."""
    ca = _certificate(folder)
    fast = Profile(ttft_mean=0.01, ttft_p95=0.03, tokens_per_second=1000, output_tokens=(20, 20))
    provider = Provider(dice=random.Random(1), models={"m": fast})
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        port = free_port()
        values = {"folder": folder, "port": port, "upstream": server.port, "plain": free_port()}
        values |= {"requests": requests, "streams": streams}
        with _running(kind, folder, port, values):
            url = f"https://127.0.0.1:{port}{path}/v1"
            async with open_engine(settings(url, ca)) as engine:
                yield Front(engine, url, ca)
                await wait_quiescent(engine, 2)
        await server.stop()


def settings(url: str, ca: str, http: str = "auto") -> dict[str, Any]:
    return {
        "engine": {"max_streams": 1000},
        "endpoints": {"front": {"url": url, "ca_file": ca, "http": http}},
        "models": {"m": {"routes": [{"endpoint": "front"}], "max_streams": 1000}},
    }


@contextmanager
def _running(kind: str, folder: Path, port: int, values: Mapping[str, object]):  # type: ignore[no-untyped-def]
    if kind == "nginx":
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(**values))
        words: tuple[str | Path, ...] = ("nginx", "-c", str(config), "-p", str(folder))
    else:
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(**values))
        words = ("haproxy", "-f", str(config), "-db")
    with serving(port, folder, shutil.which(str(words[0])) or "", *words[1:]) as url:
        yield url


async def ask_many(engine: Engine, count: int) -> Counter[str]:
    tally: Counter[str] = Counter()

    async def one() -> None:
        try:
            completion = await engine.complete("m", "hello")
        except Exception as error:  # noqa: BLE001 - counted
            tally[type(error).__name__] += 1
        else:
            tally[completion.choices[0].finish_reason or "none"] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return tally


@needs_nginx
async def test_nginx_with_three_requests_a_connection_loses_none_of_five_hundred(
    tmp_path: Path,
) -> None:
    with no_files_left_open():
        async with front(tmp_path, "nginx", requests=3) as f:
            assert await ask_many(f.engine, 500) == {"stop": 500}
            statistics = f.engine.statistics()
            assert statistics.total.retries == 0
            assert statistics.connections.opened >= 500 / 3


@needs_nginx
async def test_nginx_with_two_streams_a_connection_is_asked_for_no_more(tmp_path: Path) -> None:
    async with front(tmp_path, "nginx", streams=2) as f:
        assert await ask_many(f.engine, 200) == {"stop": 200}
        assert f.engine.statistics().connections.opened == 16


@needs_nginx
async def test_nginx_that_cuts_a_stream_off_costs_the_others_nothing(tmp_path: Path) -> None:
    async with front(tmp_path, "nginx", path="/cut") as f:
        cut = settings(f.url, f.ca_file)
        cut["models"]["m?stall=5,9"] = {"routes": [{"endpoint": "front"}]}
        async with open_engine(cut) as engine:
            with pytest.raises(ConnectionLostError, match="reset the stream") as caught:
                await engine.complete("m?stall=5,9", "hello")
            assert caught.value.partial is not None and caught.value.partial.text
            # 100 ms may be too short for others too, on a busy machine.
            assert (await ask_many(engine, 50))["stop"] > 0
            assert engine.statistics().connections.opened == 1


@needs_nginx
async def test_nginx_takes_a_large_body_and_cancels_of_all_kinds(tmp_path: Path) -> None:
    async with front(tmp_path, "nginx") as f:
        assert (await f.engine.complete("m", "x " * 500_000)).text
        for number in range(60):
            with trio.move_on_after(0.002 * number):
                await f.engine.complete("m", "x" * (number % 3) * 200_000)
        assert_quiescent(f.engine)
        assert (await f.engine.complete("m", "next")).text


@needs_nginx
async def test_httpx_on_our_transport_speaks_http2_with_nginx(tmp_path: Path) -> None:
    async with front(tmp_path, "nginx") as f:
        async with open_transport(ca_file=f.ca_file, http="2") as transport:
            async with httpx.AsyncClient(transport=transport) as client:
                response = await client.get(f"{f.url}/models")
                assert (response.status_code, response.http_version) == (200, "HTTP/2")


@needs_haproxy
async def test_haproxy_over_tls(tmp_path: Path) -> None:
    async with front(tmp_path, "haproxy") as f:
        assert await ask_many(f.engine, 100) == {"stop": 100}
        assert 1 < f.engine.statistics().connections.opened <= 6


@needs_haproxy
async def test_haproxy_without_tls(tmp_path: Path) -> None:
    async with front(tmp_path, "haproxy"):
        text = (tmp_path / "haproxy.cfg").read_text()
        plain = text.split("proto h2")[0].rsplit(":", 1)[1].strip()
        url = f"http://127.0.0.1:{plain}/v1"
        async with open_engine(settings(url, "", "h2c")) as engine:
            assert await ask_many(engine, 100) == {"stop": 100}


@needs(HYPERCORN)
async def test_hypercorn_over_tls(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    ca = _certificate(tmp_path)
    port = free_port()
    pem = str(tmp_path / "leaf.pem")
    words = ("app:app", "--bind", f"127.0.0.1:{port}", "--certfile", pem, "--keyfile", pem)
    with serving(port, tmp_path, INSTALLED / HYPERCORN, *words):
        async with open_engine(settings(f"https://127.0.0.1:{port}/v1", ca)) as engine:
            assert await ask_many(engine, 200) == {"stop": 200}
            assert engine.statistics().connections.opened <= 3


def test_the_certificate_is_one_that_others_accept(tmp_path: Path) -> None:
    assert ssl.create_default_context(cafile=_certificate(tmp_path)).get_ca_certs()
