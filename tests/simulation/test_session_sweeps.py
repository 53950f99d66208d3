"""A session cancelled before any task step, or failed at any use of the network, leaves nothing."""

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from streamnursery import Engine, EngineError
from streamnursery.records import SendOutcome
from streamnursery.simulator import Host, Plan, Rule, Socket, When
from streamnursery.testing import World, cancel_at_every_step, fail_at_every_io, wait_quiescent
from streamnursery.values.origin import BaseUrl
from streamnursery.values.session import Reconnect, SessionSettings
from streamnursery.values.settings import Endpoint, EngineConfig
from tests.support.tls import ca_file, server_context

POINTS = {"test": 25, "proof": 200, "soak": None}
SETTINGS = SessionSettings(reconnect=Reconnect(jitter=0.0))
ONE_BREAK = Plan((Rule((Socket("drop", at=1),), When(requests=(2,))),))


async def everything(eng: Engine) -> None:
    """Connect, send, stream, lose the connection, connect again, send, say goodbye."""
    async with eng.session("sim", settings=SETTINGS) as session:
        receipts = [session.send_nowait({"type": "echo", "id": n}) for n in range(2)]
        try:
            async with session.stream("gpt-4.1?respond=3", "Hi") as stream:
                async for _ in stream:
                    pass
        except EngineError:
            await session.send({"type": "echo"})
        for receipt in receipts:
            assert await receipt.wait() is not None


async def cancelled(world: World, scope: trio.CancelScope) -> None:
    async with world.open_engine() as eng:
        with scope:
            await everything(eng)
        await wait_quiescent(eng)
        assert eng.statistics().sessions == 0


async def failed(world: World) -> None:
    async with world.open_engine() as eng:
        with suppress(EngineError):
            await everything(eng)
        await wait_quiescent(eng)


def test_a_cancel_at_any_step_leaves_nothing(tier: str) -> None:
    cancel_at_every_step(cancelled, plan=ONE_BREAK, most=POINTS[tier])


def test_a_failure_at_any_use_of_the_network_is_survived_or_told(tier: str) -> None:
    fail_at_every_io(failed, plan=ONE_BREAK, most=POINTS[tier])


def test_a_session_runs_over_tls_with_a_private_authority(tmp_path: Path) -> None:
    context = server_context("secure.test")

    async def main(world: World, trusted: str) -> None:
        network = world._sim_network
        assert network is not None
        network.add("secure.test", Host(world.provider, tls=context))
        url = BaseUrl.parse("https://secure.test/v1")
        settings = EngineConfig(endpoints={"sim": Endpoint("sim", url, ca_file=trusted)})
        async with world.open_engine(settings) as eng:
            async with eng.session("sim", settings=SETTINGS) as session:
                if not trusted:
                    with pytest.raises(EngineError, match="not trusted"):
                        await session.wait_open()
                    return
                receipt = session.send_nowait({"type": "echo", "id": 7})
                assert await receipt.wait() is SendOutcome.DELIVERED
                async with session.stream("fast?respond=4", "Hi") as stream:
                    assert len((await stream.completion()).text.split()) == 4

    World(1).run(main, ca_file(tmp_path))
    World(1).run(main, "")
