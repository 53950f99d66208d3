"""httpx's own timeouts over this transport, exact on a virtual clock."""

import httpx
import httpx2
import pytest
import trio
from trio.testing import MockClock

from streamnursery.transport.http import open_transport
from tests.support.transport import CHUNKED_HEAD, Handler, MemoryNetwork, ServerEnd, chunk

IP = "192.0.2.1"


def stalls_after(said: bytes) -> Handler:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        if said:
            await end.send(said)
        await trio.sleep_forever()

    return serve


@pytest.fixture
def network(nursery: trio.Nursery) -> MemoryNetwork:
    network = MemoryNetwork(nursery)
    network.names["api.test"] = [IP]
    return network


@pytest.mark.parametrize("said", [b"", CHUNKED_HEAD + chunk(b"some")], ids=["nothing", "a part"])
async def test_httpx_timeouts_count(
    said: bytes, network: MemoryNetwork, autojump_clock: MockClock
) -> None:
    network.serve(IP, stalls_after(said))
    async with open_transport(network=network) as transport:
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("http://api.test/", timeout=20)
            assert trio.current_time() == 20
            assert transport.statistics().busy == 0


async def test_a_connect_timeout_is_one(network: MemoryNetwork, autojump_clock: MockClock) -> None:
    network.black_holes = {IP}
    async with open_transport(network=network) as transport:
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get("http://api.test/", timeout=20)
            assert trio.current_time() == 20


async def test_a_client_of_httpx2_catches_its_own_errors(
    network: MemoryNetwork, autojump_clock: MockClock
) -> None:
    network.serve(IP, stalls_after(b""))
    async with open_transport(network=network) as transport:
        async with httpx2.AsyncClient(transport=transport) as client:  # type: ignore[arg-type]
            with pytest.raises(httpx2.ReadTimeout):
                await client.get("http://api.test/", timeout=20)
            with pytest.raises(httpx2.ConnectError):
                await client.get("http://unknown.test/", timeout=20)
