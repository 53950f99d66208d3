"""Names, connections, TLS and the life of a simulated network."""

import socket
import ssl
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.simulator import (
    BlackHole,
    CloseIdle,
    Cut,
    Host,
    Link,
    Plan,
    Provider,
    RefuseConnect,
    ResolveFail,
    Rule,
    SimNetwork,
    SlowTls,
    When,
)
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.pipe import PipeConnection
from tests.support.simulator import chat, http, open_site, read_until, talk
from tests.support.tls import authority, server_context


def once(*faults: Fault) -> Plan:
    return Plan((Rule(faults, When(requests=(1,))),))


async def test_names_resolve_to_public_addresses_and_back(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        other = Host(site.provider, ("2001:db8::1", "10.0.0.1"))
        site.network.add("Other.test", other)
        site.network.add("10.9.9.9", site.provider)
        assert await site.network.resolve("sim.test", 443) == [("45.0.0.1", 443)]
        found = await site.network.resolve("other.TEST.", 80)
        assert found == [("2001:db8::1", 80), ("10.0.0.1", 80)]
        assert await site.network.resolve("10.9.9.9", 80) == [("10.9.9.9", 80)]
        assert await site.network.resolve("127.0.0.1", 80) == [("127.0.0.1", 80)]
        with pytest.raises(socket.gaierror):
            await site.network.resolve("nobody.test", 80)
        with pytest.raises(OSError, match="No route to host"):
            await site.network.connect(("127.0.0.1", 80))


async def test_a_look_up_can_fail_once(autojump_clock: MockClock) -> None:
    async with open_site(plan=once(ResolveFail())) as site:
        with pytest.raises(socket.gaierror):
            await site.network.resolve("sim.test", 80)
        assert (await site.ask(chat())).done


async def test_a_connection_can_be_refused(autojump_clock: MockClock) -> None:
    async with open_site(plan=once(RefuseConnect()), link=Link(latency=1)) as site:
        with pytest.raises(ConnectionRefusedError):
            await site.connect()
        assert trio.current_time() == 2
        assert (await site.ask(chat())).done


async def test_a_black_hole_never_answers(autojump_clock: MockClock) -> None:
    async with open_site(BlackHole()) as site:
        with trio.move_on_after(1000) as scope:
            await site.connect()
        assert scope.cancelled_caught
        assert site.network.open_connections == 0


async def test_one_address_of_a_host_can_be_dead(autojump_clock: MockClock) -> None:
    plan = Plan.always(RefuseConnect(address=0), BlackHole(address=1))
    async with open_site(plan=plan) as site:
        site.network.add("three.test", Host(site.provider, ("1.0.0.1", "1.0.0.2", "1.0.0.3")))
        first, second, third = await site.network.resolve("three.test", 80)
        with pytest.raises(ConnectionRefusedError):
            await site.network.connect(first)
        with trio.move_on_after(9) as scope:
            await site.network.connect(second)
        assert scope.cancelled_caught
        assert (await talk(await site.network.connect(third), http(chat()))).done


async def test_idle_connections_can_be_closed_after_an_answer(autojump_clock: MockClock) -> None:
    async with open_site(CloseIdle(after=2)) as site:
        line = await site.connect()
        await trio.sleep(50)  # before the first request it may be silent
        await line.send_all(http(chat(), close=False))
        await read_until(line, b"0\r\n\r\n")
        await line.wait_readable()
        assert line.recv_nowait(9) == b""
        assert trio.current_time() == 52
        line.close()


async def test_a_request_can_ask_for_an_end_after_its_answer(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        request = http(chat("sim/fast?close_idle=0"), close=False)
        answer = await talk(line, request)
        assert answer.done and answer.ending == "fin"
        assert "connection" not in answer.headers


async def test_a_silent_client_is_closed_when_the_network_says_so(
    autojump_clock: MockClock,
) -> None:
    async with open_site(idle=5) as site:
        for begun in (b"", http(chat())[:30], http(chat())[:-3]):
            start = trio.current_time()
            answer = await talk(await site.connect(), begun)
            assert (answer.raw, answer.ending) == (b"", "fin")
            assert trio.current_time() == start + 5


# TLS. -----------------------------------------------------------------------------------------


class TlsClient:
    """A client's side of TLS, for one request."""

    def __init__(self, line: PipeConnection) -> None:
        context = ssl.create_default_context()
        authority().configure_trust(context)
        self.line = line
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="sim.test")

    async def _exchange(self) -> None:
        """Send what is to be sent, and read once."""
        if self.outgoing.pending:
            await self.line.send_all(self.outgoing.read())
        await self.line.wait_readable()
        data = self.line.recv_nowait(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    async def talk(self, request: bytes) -> bytes:
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._exchange()
        self.tls.write(request)
        found = b""
        while True:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._exchange()
            else:
                found += data
                if not data:
                    return found


async def test_tls_works_in_memory_with_windows_of_any_size(autojump_clock: MockClock) -> None:
    link = Link(window=500)
    async with open_site(tls=server_context("sim.test"), link=link, back=link) as site:
        line = await site.connect()
        answer = await TlsClient(line).talk(http(chat("fast?respond.tokens=300")))
        assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        line.close()


async def test_a_handshake_can_stall_and_the_client_may_leave(autojump_clock: MockClock) -> None:
    tls = server_context("sim.test")
    async with open_site(plan=once(SlowTls()), tls=tls) as site:
        line = await site.connect()
        with trio.move_on_after(60) as scope:
            await TlsClient(line).talk(b"")
        assert scope.cancelled_caught
        line.close()
        await wait_all_tasks_blocked()
        assert site.network.statistics().current_connections == 0
    async with open_site(SlowTls(3), tls=tls) as site:
        start = trio.current_time()
        line = await site.connect()
        await TlsClient(line).talk(http(chat()))
        assert trio.current_time() == start + 3
        line.close()
    async with open_site(SlowTls(3)) as site:
        answer = await site.ask(chat())
        assert answer.done
        assert answer.reads[0][0] == trio.current_time()


async def test_a_client_without_tls_does_not_harm_a_server_with_it(
    autojump_clock: MockClock,
) -> None:
    async with open_site(tls=server_context("sim.test")) as site:
        line = await site.connect()
        await talk(line, http(chat()))
        await wait_all_tasks_blocked()
        assert site.network.statistics().current_connections == 0
        assert len(site.provider.log) == 0


# Life. ----------------------------------------------------------------------------------------


async def test_stopping_lets_answers_end_and_closes_idle_connections(
    autojump_clock: MockClock,
) -> None:
    async with open_site() as site:
        idle, busy = await site.connect(), await site.connect()
        await busy.send_all(http(chat("steady"), close=False))
        await trio.sleep(1.2)
        assert site.network.statistics().current_requests == 1
        await site.network.stop(grace=10)
        assert trio.current_time() == pytest.approx(1.4)
        answer = await talk(busy, b"")
        assert answer.done and answer.ending == "fin"
        assert idle.recv_nowait(9) == b""
        idle.close()
        refused = await site.connect()
        await refused.wait_readable()
        with pytest.raises(ConnectionResetError):
            refused.recv_nowait(9)
        refused.close()


async def test_stopping_does_not_wait_longer_than_its_grace(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        await line.send_all(http(chat("steady")))
        await trio.sleep(1.2)
        await site.network.stop(grace=0.1)
        assert trio.current_time() == pytest.approx(1.3)
        assert site.provider.log[0].ending == "stopped"
        line.close()


async def test_stopping_that_is_cancelled_ends_answers_at_once(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        await line.send_all(http(chat("steady")))
        await trio.sleep(1.2)
        with trio.move_on_after(0.1):
            await site.network.stop(grace=10)
        await wait_all_tasks_blocked()
        assert trio.current_time() == pytest.approx(1.3)
        assert site.network.statistics().current_connections == 0
        assert site.provider.log[0].ending == "stopped"
        line.close()


async def test_a_cancelled_nursery_takes_the_provider_with_it(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_site() as site:
            async with trio.open_nursery() as own:
                network = SimNetwork(own, {"sim.test": site.provider})
                lines = [await network.connect(("45.0.0.1", 80)) for _ in range(5)]
                for line in lines[:3]:
                    await line.send_all(http(chat("steady")))
                await trio.sleep(1.2)
                own.cancel_scope.cancel()
            assert network.statistics().current_connections == 0
            assert network.open_connections == 5
            for line in lines:
                line.close()
            assert network.open_connections == 0
            assert [record.ending for record in site.provider.log] == ["stopped"] * 3
        nursery.cancel_scope.cancel()


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), max_size=12), st.random_module())
def test_whatever_clients_do_nothing_is_left(
    clients: list[tuple[float, float]], randomness: object
) -> None:
    async def main() -> None:
        plan = Plan((
            Rule((Cut(2),), When(probability=0.3)),
            Rule((SlowTls(0.2), CloseIdle(0.1)), When(probability=0.3)),
        ))
        async with open_site(plan=plan, back=Link(window=700)) as site:

            async def client(start: float, patience: float) -> None:
                await trio.sleep(start)
                line = await site.connect()
                with trio.move_on_after(patience):
                    await talk(line, http(chat("steady"), close=start > 1))
                line.close()

            async with trio.open_nursery() as nursery:
                for start, patience in clients:
                    nursery.start_soon(client, start, patience)
            await trio.sleep(2)
            left = site.network.statistics()
            assert (left.current_connections, left.paced_answers) == (0, 0)
            assert site.network.open_connections == 0
            assert all(record.ended_at is not None for record in site.provider.log)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_equal_dice_give_equal_runs() -> None:
    def run() -> list[object]:
        async def main() -> list[object]:
            plan = Plan((Rule((Cut(2),), When(probability=0.5)),))
            async with open_site(plan=plan) as site:
                reads = [(await site.ask(chat(model))).reads for model in ("fast", "steady") * 9]
                return [reads, list(site.provider.log)]

        return trio.run(main, clock=MockClock(autojump_threshold=0))

    assert run() == run()


def test_a_provider_takes_its_time_from_its_first_service() -> None:
    provider = Provider(dice=Random(1))
    assert provider.elapsed(100.0) == 0
    assert provider.elapsed(107.5) == 7.5
