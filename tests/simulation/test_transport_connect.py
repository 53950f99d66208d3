"""From a name to a connection, on a virtual clock: races, private addresses, proxies."""

import errno
from typing import Literal

import attrs
import pytest
import trio
from trio.testing import MockClock

from streamnursery.transport.client import HttpTransport
from streamnursery.transport.connect import HEAD_START, MAX_ADDRESSES, Connector, take_turns
from streamnursery.transport.network import Connection
from streamnursery.values.errors import (
    ConfigError,
    ConnectError,
    DescriptorsExhaustedError,
    EngineError,
)
from streamnursery.values.http import Peer
from streamnursery.values.origin import Origin
from tests.support.transport import MemoryNetwork, Phases, ServerEnd, answer_hello, http_request

PEER = Peer(Origin("http", "api.test", 80))


async def connect(network: MemoryNetwork, peer: Peer = PEER) -> None:
    connection = await Connector(network).connect(peer)
    connection.close()


async def failed(network: MemoryNetwork, peer: Peer = PEER) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await Connector(network).connect(peer)
    assert network.open_connections == 0
    return caught.value


@pytest.fixture
def network(nursery: trio.Nursery) -> MemoryNetwork:
    network = MemoryNetwork(nursery)
    network.names["api.test"] = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"]
    return network


def test_address_families_take_turns_beginning_with_the_preferred_one() -> None:
    def turns(*ips: str) -> list[str]:
        return [ip for ip, _ in take_turns([(ip, 1) for ip in ips])]

    assert turns("::1", "::2", "::3", "1.1.1.1") == ["::1", "1.1.1.1", "::2", "::3"]
    assert turns("1.1.1.1", "2.2.2.2", "::1") == ["1.1.1.1", "::1", "2.2.2.2"]
    assert turns("1.1.1.1") == ["1.1.1.1"]


# The race. ----------------------------------------------------------------------------------


async def test_an_address_that_answers_is_the_only_one_dialled(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.serve("2001:db8::1", answer_hello)
    await connect(network)
    assert network.dialled == [("2001:db8::1", 0)]


async def test_c6_a_dead_first_address_costs_a_head_start(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.black_holes = {"2001:db8::1", "2001:db8::2"}
    network.serve("192.0.2.1", answer_hello)
    await connect(network)
    assert network.dialled == [("2001:db8::1", 0), ("192.0.2.1", HEAD_START)]
    assert trio.current_time() == HEAD_START


async def test_a_refused_address_costs_nothing(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.serve("192.0.2.2", answer_hello)
    await connect(network)
    assert [ip for ip, _ in network.dialled] == network_order()
    assert trio.current_time() == 0


def network_order() -> list[str]:
    return ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]


async def test_a_slow_first_address_wins_if_it_is_still_first(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    for ip in network_order():
        network.serve(ip, answer_hello)
        network.connect_after[ip] = 0.4
    connection = await Connector(network).connect(PEER)
    assert trio.current_time() == pytest.approx(0.4)
    assert [ip for ip, _ in network.dialled] == ["2001:db8::1", "192.0.2.1"]
    assert network.open_connections == 1
    connection.close()


async def test_losers_that_connect_in_the_same_instant_are_closed(
    autojump_clock: MockClock, nursery: trio.Nursery, network: MemoryNetwork
) -> None:
    for ip in network_order():
        network.serve(ip, answer_hello)
    network.gate = trio.Event()

    async def open_the_gate() -> None:
        await trio.sleep(2)
        assert network.gate is not None
        network.gate.set()

    nursery.start_soon(open_the_gate)
    connection = await Connector(network).connect(PEER)
    assert trio.current_time() == 2 and len(network.clients) == 4
    assert network.open_connections == 1
    connection.close()


async def test_c2_when_all_refuse_the_error_names_host_addresses_and_reason(
    autojump_clock: MockClock,
    network: MemoryNetwork,
) -> None:
    error = await failed(network)
    assert isinstance(error, ConnectError) and error.retryable
    for part in ("api.test", "192.0.2.2 port 80", "Connection refused", "is the server up"):
        assert part in str(error)


async def test_without_file_descriptors_the_advice_is_about_them(
    autojump_clock: MockClock, network: MemoryNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(_: object) -> Connection:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(network, "connect", connect)
    error = await failed(network)
    assert isinstance(error, DescriptorsExhaustedError) and error.retryable
    assert "Too many open files; raise the limit of open files" in str(error)


async def test_c3_a_black_hole_ends_with_the_callers_scope(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.black_holes = set(network_order())
    with trio.move_on_after(30) as scope:
        await connect(network)
    assert scope.cancelled_caught
    assert trio.current_time() == 30
    assert len(network.dialled) == 4


async def test_a_cancelled_race_raises_one_bare_cancelled(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.black_holes = set(network_order())
    with trio.move_on_after(1), pytest.raises(trio.Cancelled):
        await connect(network)


async def test_a_name_with_very_many_addresses_is_tried_up_to_a_bound(
    autojump_clock: MockClock,
    network: MemoryNetwork,
) -> None:
    network.names["api.test"] = [f"192.0.2.{i}" for i in range(100)]
    await failed(network)
    assert len(network.dialled) == MAX_ADDRESSES


# Names. -------------------------------------------------------------------------------------


async def test_c1_a_name_that_does_not_resolve_is_named(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    error = await failed(network, Peer(Origin("http", "nowhere.test", 80)))
    assert isinstance(error, ConnectError) and error.retryable
    assert "nowhere.test does not resolve" in str(error)


async def test_a_name_without_addresses_is_named(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.names["api.test"] = []
    assert "no addresses" in str(await failed(network))


async def test_a_slow_resolver_is_left_at_once_when_cancelled(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    network.resolve_after = 100
    with trio.move_on_after(2) as scope:
        await connect(network)
    assert scope.cancelled_caught and trio.current_time() == 2


# T5: private addresses. ---------------------------------------------------------------------


@pytest.mark.parametrize("ip", ["10.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
async def test_t5_one_private_address_among_public_ones_is_enough_to_refuse(
    autojump_clock: MockClock, network: MemoryNetwork, ip: str
) -> None:
    network.names["api.test"] = ["8.8.8.8", ip]
    network.serve("8.8.8.8", answer_hello)
    error = await failed(network, attrs.evolve(PEER, deny_private=True))
    assert isinstance(error, ConnectError) and not error.retryable
    assert ip in str(error) and "deny_private" in str(error)
    assert network.dialled == []


async def test_t5_a_private_address_written_out_is_refused_too(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    peer = Peer(Origin("http", "127.0.0.1", 80), deny_private=True)
    assert "deny_private" in str(await failed(network, peer))


async def test_t5_the_address_that_was_checked_is_the_one_connected_to(
    autojump_clock: MockClock,
    network: MemoryNetwork,
) -> None:
    network.names["api.test"] = ["8.8.8.8"]
    network.serve("8.8.8.8", answer_hello)
    network.serve("10.0.0.1", answer_hello)

    network.names_later["api.test"] = ["10.0.0.1"]
    await connect(network, attrs.evolve(PEER, deny_private=True))
    assert [ip for ip, _ in network.dialled] == ["8.8.8.8"]
    assert network.resolved == ["api.test"]


# Proxies. -----------------------------------------------------------------------------------


class TunnelProxy:
    """Answers CONNECT with `answer`; then speaks as the target."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    async def __call__(self, end: ServerEnd) -> None:
        head = await end.read_head()
        assert head is not None
        self.heads.append(head)
        await end.send(self.answer)
        if b" 200 " in self.answer:
            await answer_hello(end)
        else:
            await end.read_head()


PROXIED = attrs.evolve(PEER, proxy="http://user:canary@proxy.test:3128")


@pytest.fixture
def proxy(network: MemoryNetwork) -> TunnelProxy:
    proxy = TunnelProxy()
    network.names["proxy.test"] = ["192.0.2.9"]
    network.serve("192.0.2.9", proxy, 3128)
    return proxy


async def test_a_proxy_is_asked_for_a_tunnel_and_sees_no_request(
    autojump_clock: MockClock, network: MemoryNetwork, proxy: TunnelProxy, nursery: trio.Nursery
) -> None:
    transport = HttpTransport(nursery, network)
    request = http_request(peer=PROXIED, headers=(("authorization", "Bearer canary-key"),))
    response = await transport.open(request, Phases())
    assert await response.receive_some() == b"hello"
    assert proxy.heads == [
        b"CONNECT api.test:80 HTTP/1.1\r\nhost: api.test:80\r\n"
        b"proxy-authorization: Basic dXNlcjpjYW5hcnk=\r\n\r\n"
    ]
    assert b"proxy-authorization" not in network.servers[0].requests[0]
    assert network.resolved == ["proxy.test"]
    transport.close()


@pytest.mark.parametrize(
    ("answer", "part", "retryable"),
    [
        (b"HTTP/1.1 407 Auth\r\ncontent-length: 0\r\n\r\n", "user and password", False),
        (b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", "403", False),
        (b"HTTP/1.1 502 Bad\r\ncontent-length: 5\r\n\r\nhello", "502", True),
        (b"SSH-2.0\r\n", "speaks HTTP", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "informational", True),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000, "header block", True),
    ],
)
async def test_a_proxy_that_refuses_is_a_typed_error_without_the_password(
    autojump_clock: MockClock,
    network: MemoryNetwork,
    proxy: TunnelProxy,
    answer: bytes,
    part: str,
    retryable: bool,
) -> None:
    proxy.answer = answer
    error = await failed(network, PROXIED)
    assert isinstance(error, ConnectError) and error.retryable is retryable
    assert "proxy.test:3128" in str(error) and part in str(error)
    assert "canary" not in str(error)


async def test_a_proxy_that_hangs_up_is_a_typed_error(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    async def hang_up(end: ServerEnd) -> None:
        await end.read_head()

    network.names["proxy.test"] = ["192.0.2.9"]
    network.serve("192.0.2.9", hang_up, 3128)
    assert "proxy.test:3128" in str(await failed(network, PROXIED))


async def test_a_stalled_proxy_is_left_at_once_when_cancelled(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    async def stall(end: ServerEnd) -> None:
        await trio.sleep_forever()

    network.names["proxy.test"] = ["192.0.2.9"]
    network.serve("192.0.2.9", stall, 3128)
    with trio.move_on_after(3) as scope:
        await connect(network, PROXIED)
    assert scope.cancelled_caught and trio.current_time() == 3
    assert network.open_connections == 0


async def test_t5_through_a_proxy_the_checked_address_is_the_target(
    autojump_clock: MockClock, network: MemoryNetwork, proxy: TunnelProxy
) -> None:
    network.names["api.test"] = ["8.8.8.8"]
    await connect(network, attrs.evolve(PROXIED, deny_private=True))
    assert proxy.heads[0].startswith(b"CONNECT 8.8.8.8:80 ")
    network.names["api.test"] = ["10.0.0.1"]
    error = await failed(network, attrs.evolve(PROXIED, deny_private=True))
    assert "deny_private" in str(error)
    assert len(proxy.heads) == 1


async def test_socks_is_refused_before_anything_is_dialled(
    autojump_clock: MockClock, network: MemoryNetwork
) -> None:
    error = await failed(network, attrs.evolve(PEER, proxy="socks5://user:canary@proxy.test"))
    assert isinstance(error, ConfigError)
    assert network.resolved == [] and network.dialled == []


@pytest.mark.parametrize(("version", "scheme"), [("2", "http"), ("h2c", "https")])
async def test_a_version_that_does_not_go_with_the_url_is_refused(
    autojump_clock: MockClock,
    network: MemoryNetwork,
    version: Literal["2", "h2c"],
    scheme: Literal["http", "https"],
) -> None:
    peer = Peer(Origin(scheme, "api.test", 80), http=version)
    error = await failed(network, peer)
    assert isinstance(error, ConfigError) and version in str(error)
    assert network.resolved == []
