"""Sessions over real sockets: the same provider, TLS, and a server that comes back."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

import trio

from streamnursery import Session, open_engine
from streamnursery.records import SendOutcome
from streamnursery.simulator import Provider, serve_loopback
from streamnursery.values.session import Heartbeat, Reconnect, SessionSettings
from tests.support.guard import GUARD, at_rest
from tests.support.tls import ca_file, server_context

SETTINGS = SessionSettings(
    heartbeat=Heartbeat(interval=0.3, timeout=GUARD), reconnect=Reconnect(attempts=50, base=0.05)
)


def provider() -> Provider:
    return Provider(dice=Random(1), speed=20.0)


async def talk(session: Session, turns: int) -> None:
    for turn in range(turns):
        async with session.stream(f"gpt-4.1?respond={turn + 5}", "Hi") as stream:
            assert len((await stream.completion()).text.split()) == turn + 5


async def test_many_sessions_talk_and_beat_at_once() -> None:
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            server = await serve_loopback(provider(), nursery=nursery)
            async with open_engine({"endpoints": {"s": {"url": server.url}}}) as eng:
                async with trio.open_nursery() as talkers:
                    for _ in range(10):
                        talkers.start_soon(one, eng.session("s", settings=SETTINGS))
                await at_rest(eng)
            await server.stop()


async def one(opening: AbstractAsyncContextManager[Session]) -> None:
    async with opening as session:
        await talk(session, 3)
        for _ in range(2):
            await session.beat()  # returns with the answer to it
        receipt = session.send_nowait({"type": "echo"})
        assert await receipt.wait() is SendOutcome.DELIVERED


async def test_a_session_outlives_its_server_over_tls(tmp_path: Path) -> None:
    trusted, context = ca_file(tmp_path), server_context()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            server = await serve_loopback(provider(), nursery=nursery, tls=context)
            url = server.url
            config = {"endpoints": {"s": {"url": url, "ca_file": trusted}}}
            async with open_engine(config) as eng, eng.session("s", settings=SETTINGS) as session:
                await talk(session, 1)
                await server.stop()
                receipt = session.send_nowait({"type": "echo"}, idempotent=True)
                server = await serve_loopback(
                    provider(), nursery=nursery, tls=context, port=server.port
                )
                assert await receipt.wait() is SendOutcome.DELIVERED
                await talk(session, 1)
                assert session.statistics().reconnects == 1
            await server.stop()
