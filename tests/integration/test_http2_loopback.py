"""HTTP/2 over TLS on real sockets: our engine, httpx on our transport, and httpx's own HTTP/2,
which shows that the simulator speaks it as others understand it."""

import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from streamnursery import Engine, open_engine, open_transport
from streamnursery.settings import Http2Settings
from streamnursery.simulator import (
    Goaway,
    LoopbackServer,
    Plan,
    Profile,
    Provider,
    ResetStream,
    Rule,
    Stall,
    When,
    serve_loopback,
)
from streamnursery.testing import assert_quiescent, no_files_left_open
from tests.support.guard import at_rest, until
from tests.support.tls import ca_file, server_context

FAST = Profile(output_tokens=(20, 20))
ASK = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}


@attrs.frozen
class Site:
    provider: Provider
    server: LoopbackServer
    ca_file: str

    @property
    def url(self) -> str:
        return f"{self.server.url}/chat/completions"

    def settings(self, **endpoint: object) -> dict[str, object]:
        main = {"url": self.server.url, "ca_file": self.ca_file, **endpoint}
        return {
            "endpoints": {"main": main},
            "models": {"m": {"routes": [{"endpoint": "main"}], "max_streams": 1000}},
        }


@asynccontextmanager
async def site(
    folder: Path, plan: Plan | None = None, profile: Profile = FAST, *alpn: str
) -> AsyncIterator[Site]:
    provider = Provider(dice=random.Random(1), models={"m": profile}, plan=plan)
    context = server_context(alpn=alpn or ("h2", "http/1.1"))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery, tls=context)
        yield Site(provider, server, ca_file(folder))
        await server.stop()


async def test_an_engine_takes_http2_where_it_is_offered(tmp_path: Path) -> None:
    with no_files_left_open():
        async with site(tmp_path) as s, open_engine(s.settings()) as engine:
            answers = []

            async def one() -> None:
                answers.append((await engine.complete("m", "hello")).text)

            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(one)
            assert len(set(answers)) == 1 and len(answers) == 200
            connections = engine.statistics().connections
            assert connections.opened <= 4 and connections.http2_streams == 0
            await at_rest(engine)


@pytest.mark.parametrize(
    ("http", "version"), [("auto", "HTTP/2"), ("2", "HTTP/2"), ("1.1", "HTTP/1.1")]
)
async def test_httpx_on_our_transport_says_which_version_it_spoke(
    tmp_path: Path, http: str, version: str
) -> None:
    async with site(tmp_path) as s:
        opened = open_transport(ca_file=s.ca_file, http=http)  # type: ignore[arg-type]
        async with opened as transport, httpx.AsyncClient(transport=transport) as client:
            async with client.stream("POST", s.url, json=ASK) as response:
                assert response.http_version == version
                assert "".join([text async for text in response.aiter_text()]).endswith(
                    "[DONE]\n\n"
                )
            plain = await client.get(f"{s.server.url}/models", headers={"X-A": "b"})
            assert plain.status_code == 200 and plain.json()["object"] == "list"
            assert transport.statistics().opened == 1


async def test_httpx_gets_its_own_errors(tmp_path: Path) -> None:
    plan = Plan.always(ResetStream("ENHANCE_YOUR_CALM"))
    async with site(tmp_path, plan) as s:
        async with open_transport(ca_file=s.ca_file) as transport:
            async with httpx.AsyncClient(transport=transport) as client:
                with pytest.raises(httpx.RemoteProtocolError, match="ENHANCE_YOUR_CALM"):
                    await client.post(s.url, json=ASK)
                s.provider.plan = Plan.always(ResetStream("INTERNAL_ERROR"))
                with pytest.raises(httpx.ReadError, match="INTERNAL_ERROR"):
                    await client.post(s.url, json=ASK)


async def test_a_small_window_moves_a_large_answer(tmp_path: Path) -> None:
    settings = Http2Settings(stream_window=65_536, max_streams=1)
    long = Profile(output_tokens=(3_000, 3_000))
    async with site(tmp_path, profile=long) as s:
        async with open_transport(ca_file=s.ca_file, http2=settings) as transport:
            async with httpx.AsyncClient(transport=transport) as client:
                for _ in range(2):
                    response = await client.post(s.url, json=ASK | {"max_tokens": 3_000})
                    assert len(response.content) > 400_000
                    assert response.text.endswith("data: [DONE]\n\n")


async def test_others_speak_http2_with_the_simulator(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        context = ssl.create_default_context(cafile=s.ca_file)
        async with httpx.AsyncClient(http2=True, verify=context) as client:
            seen: Counter[tuple[str, bool]] = Counter()

            async def one() -> None:
                async with client.stream("POST", s.url, json=ASK) as response:
                    text = "".join([text async for text in response.aiter_text()])
                seen[response.http_version, text.endswith("data: [DONE]\n\n")] += 1

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(one)
            assert seen == {("HTTP/2", True): 20}
            missing = await client.get(f"{s.server.url}/nothing")
            assert missing.status_code == 404


async def test_b14_b15_nothing_is_lost_by_goaways_on_real_sockets(tmp_path: Path) -> None:
    plan = Plan((Rule((Goaway(),), When(every=3)), Rule((Goaway(last_id=0),), When(every=7))))
    async with site(tmp_path, plan) as s, open_engine(s.settings()) as engine:
        finished = []

        async def one() -> None:
            finished.append(await engine.complete("m", "hello"))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
        assert len(finished) == 100
        assert engine.statistics().total.succeeded == 100
        for completion in finished:  # who meets a third GOAWAY has used the two resends up
            attempts = completion.attempts
            assert sum(a.requests for a in attempts) <= len(attempts) + 2
        await at_rest(engine)


async def test_x3_a_crowd_over_http2_is_cancelled_in_all_phases(tmp_path: Path, tier: str) -> None:
    times, count = {"test": (1, 100), "proof": (1, 1_000)}.get(tier, (100, 1_000))
    dice = random.Random(3)
    plan = Plan((
        Rule((Stall(0),), When(every=3)),
        Rule((Stall(7),), When(every=4)),
    ))
    with no_files_left_open():
        async with site(tmp_path, plan) as s:
            config = s.settings() | {"engine": {"max_streams": 1000}}
            async with open_engine(config) as engine:
                for _ in range(times):
                    await _cancelled_crowd(engine, count, dice)
                    assert_quiescent(engine)
                    s.provider.plan = Plan()
                    assert (await engine.complete("m", "next")).text
                    s.provider.plan = plan
                # Each stream was reset, or had ended.
                await until(lambda: not s.server.statistics().current_requests)
            assert {record.ending for record in s.provider.log} == {"client gone", "complete"}


async def _cancelled_crowd(engine: Engine, count: int, dice: random.Random) -> None:
    """They begin one after another, and all end when the last of them has just begun."""
    begun = 0

    async def one(after: int) -> None:
        nonlocal begun
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        begun += 1
        await engine.complete("m", "hello")

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one, dice.randrange(100))
        await until(lambda: begun == count)
        nursery.cancel_scope.cancel()
