"""The simulated provider on real sockets: the same behaviour as in memory."""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    BlackHole,
    CallTool,
    CloseDelimited,
    CloseIdle,
    Comments,
    Crlf,
    Cut,
    CutUpload,
    Drip,
    Garbage,
    HangAfterDone,
    InStreamError,
    LoopbackServer,
    NoEndMark,
    NoFinish,
    NoUsage,
    Plan,
    Profile,
    Provider,
    RateLimit,
    Reasoning,
    Redirect,
    Refuse,
    RefuseConnect,
    Reset,
    Respond,
    Rule,
    SlowTls,
    Split,
    Stall,
    Status,
    UsageLie,
    When,
    serve_loopback,
)
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.script import Script
from streamnursery.transport.network import TrioNetwork
from tests.support.guard import GUARD
from tests.support.simulator import MODELS, Answer, chat, http, open_site, talk
from tests.support.tls import authority, server_context

SCRIPTS: tuple[Script, ...] = (
    (),
    (Respond(text="a b c"), Crlf(), Comments(2)),
    (Reasoning(3), NoUsage(), NoFinish()),
    (CallTool("f", '{"x": 1}', 2),),
    (Refuse(), NoEndMark()),
    (Cut(0),),
    (Cut(2),),
    (Cut(3, how="end"),),
    (Cut(2), CloseDelimited()),
    (Cut(150, unit="bytes"),),
    (Reset(0),),
    (Reset(2),),
    (Stall(2, 0.02, pings=0.005),),
    (Drip(60, 0.0001),),
    (Split((1, 7, 40)),),
    (HangAfterDone(0.01),),
    (CloseIdle(0),),
    (BadJson(1), BadUtf8(3)),
    (InStreamError(2, "overloaded"),),
    (UsageLie({"completion_tokens": -5}),),
    (Status(429, 2, error="insufficient_quota"),),
    (Status(413, early=True),),
    (CutUpload(3),),
    (Redirect("https://other.test/"),),
    (RateLimit(rpm=1, tpm=1),),
    (Garbage("html"),),
    (Garbage("no_content"),),
    (Garbage("gzip"),),
    (Garbage("not_http"),),
    (Garbage("many_headers"),),
)


@asynccontextmanager
async def serving(*script: Fault, **options: Any) -> AsyncIterator[tuple[LoopbackServer, Provider]]:
    """A server of its own, stopped in the end; it leaves no connection behind."""
    server_options = {key: options.pop(key) for key in ("tls", "idle") if key in options}
    options.setdefault("models", MODELS)
    options.setdefault("plan", Plan.always(*script))
    provider = Provider(dice=Random(1), **options)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery, **server_options)
        yield server, provider
        await server.stop()
        left = server.statistics()
        assert (left.current_connections, left.paced_answers) == (0, 0)
        assert all(record.ended_at is not None for record in provider.log)


async def ask(server: LoopbackServer, body: object = None, **options: Any) -> Answer:
    line = await TrioNetwork().connect((server.host, server.port))
    return await talk(line, http(body or chat(), **options))


def plain(answer: Answer) -> tuple[object, ...]:
    """All of an answer that does not depend on how the network cut it."""
    return answer.ending, answer.status, answer.headers, answer.body, answer.whole


async def test_every_script_reads_the_same_in_memory_and_on_loopback() -> None:
    body = chat(stream_options={"include_usage": True})
    for script in SCRIPTS:
        async with open_site(*script) as site:
            in_memory = await site.ask(body)
        async with serving(*script) as (server, provider):
            real = await ask(server, body)
        assert plain(real) == plain(in_memory), script
        assert provider.log[0].ending == site.provider.log[0].ending, script
        assert provider.log[0].sent_bytes == site.provider.log[0].sent_bytes, script


async def test_a_client_that_leaves_is_noticed_and_its_socket_closed() -> None:
    async with serving(Stall(1)) as (server, provider):
        line = await TrioNetwork().connect((server.host, server.port))
        await line.send_all(http(chat("gpt-4.1")))
        await line.wait_readable()
        line.close()
        await server.stop(grace=GUARD)
        assert provider.log[0].aborted


@pytest.mark.parametrize("fault", [BlackHole(), SlowTls()])
async def test_connections_can_be_held_up_before_the_first_byte(fault: Fault) -> None:
    first = Plan((Rule((fault,), When(requests=(1,))),))
    async with serving(plan=first) as (server, provider):
        line = await TrioNetwork().connect((server.host, server.port))
        await line.send_all(http(chat()))
        assert (await ask(server)).done  # who came later has a whole answer
        with pytest.raises(trio.WouldBlock):
            line.recv_nowait(1)
        line.close()
        await server.stop(grace=GUARD)
        assert len(provider.log) == 1


async def test_a_refused_connection_is_reset_at_once() -> None:
    async with serving(RefuseConnect()) as (server, _):
        with pytest.raises(ConnectionResetError):  # by connect or by the read after it
            line = await TrioNetwork().connect((server.host, server.port))
            try:
                await line.wait_readable()
                line.recv_nowait(9)
            finally:
                line.close()
        assert server.statistics().refused == 1


async def test_tls_is_spoken_when_the_server_has_a_certificate(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    async with serving(tls=server_context()) as (server, _):
        assert server.url == f"https://127.0.0.1:{server.port}/v1"
        stream = await trio.open_ssl_over_tcp_stream(
            server.host, server.port, ssl_context=context, https_compatible=True
        )
        async with stream:
            await stream.send_all(http(chat("fast?respond.tokens=2000")))
            answer = b""
            async for data in stream:
                answer += data
        assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_many_paced_answers_run_at_once() -> None:
    models = {"paced": Profile(0.05, 0.08, 200, (20, 20))}
    async with serving(models=models) as (server, provider):
        done: list[bool] = []

        async def client() -> None:
            answer = await ask(server, chat("paced"))
            done.append(answer.done and answer.said() == provider.expected_text(chat("paced")))

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(client)
        assert done == [True] * 200
        assert server.statistics().accepted == 200


async def test_a_server_takes_all_its_descriptors_with_it() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with serving(Stall(0)) as (server, provider):
        lines = [await TrioNetwork().connect((server.host, server.port)) for _ in range(9)]
        for number, line in enumerate(lines):
            idle = number >= 5
            ask_for = http(None, method="GET", target="/v1/models", close=False)
            await line.send_all(ask_for if idle else http(chat()))
            await line.wait_readable()
        assert server.statistics().current_connections == 9
        await server.stop()
        endings = [record.ending for record in provider.log]
        assert endings == ["stopped"] * 5 + ["complete"] * 4
        for line in lines:
            line.close()
        with pytest.raises(OSError, match="refused"):
            await TrioNetwork().connect((server.host, server.port))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_silent_client_is_let_go() -> None:
    async with serving(idle=0.02) as (server, _):
        line = await TrioNetwork().connect((server.host, server.port))
        assert (await talk(line, b"GET /")).ending == "fin"


async def test_a_port_in_use_is_an_error_and_leaks_nothing() -> None:
    async with serving() as (server, provider):
        before = len(os.listdir("/proc/self/fd"))
        async with trio.open_nursery() as nursery:
            with pytest.raises(OSError, match="in use"):
                await serve_loopback(provider, nursery=nursery, port=server.port)
        assert len(os.listdir("/proc/self/fd")) == before
        assert server.url == f"http://127.0.0.1:{server.port}/v1"
