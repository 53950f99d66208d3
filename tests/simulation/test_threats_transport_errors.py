"""T2: an error, printed with every local variable of every frame, shows no key and no prompt."""

from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from streamnursery.transport.client import HttpTransport
from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.origin import Origin
from streamnursery.values.secret import Secret
from tests.support.transport import (
    CHUNKED_HEAD,
    OK_HELLO,
    Handler,
    MemoryNetwork,
    Phases,
    ServerEnd,
    http_request,
    shown,
)

CANARY = "canary-4711"
PEER = Peer(Origin("http", "api.test", 80))
PROXIED = attrs.evolve(PEER, proxy=f"http://user:{CANARY}@proxy.test:3128")


def request_of(peer: Peer, size: int = 1) -> HttpRequest:
    """Keys where keys go; the prompt of `size` times the canary."""
    return http_request(
        peer=peer,
        target=f"/v1?key={CANARY}",
        headers=(("authorization", Secret(f"Bearer {CANARY}")), ("x-api-key", Secret(CANARY))),
        body=CANARY.encode() * size,
    )


def says(data: bytes, *, reset: bool = False) -> Handler:
    async def serve(end: ServerEnd) -> None:
        await end.read_head()
        await end.send(data)
        if reset:
            end.reset()

    return serve


async def failure_of(network: MemoryNetwork, request: HttpRequest, times: int = 1) -> EngineError:
    async with trio.open_nursery() as nursery:
        transport = HttpTransport(nursery, network)
        try:
            for _ in range(times):
                response = await transport.open(request, Phases())
                while await response.receive_some():
                    pass
        except EngineError as error:
            return error
        finally:
            transport.close()
            nursery.cancel_scope.cancel()
    raise AssertionError("the request must fail")


ANSWERS: dict[str, Handler] = {
    "no answer": says(b""),
    "reset": says(b"", reset=True),
    "half a head": says(b"HTTP/1.1 200 OK\r\n"),
    "half a body": says(OK_HELLO[:-1]),
    "reset body": says(CHUNKED_HEAD, reset=True),
    "nonsense": says(b"SSH-2.0\r\n"),
    "bad chunk": says(CHUNKED_HEAD + b"zz\r\n"),
    "redirect": says(f"HTTP/1.1 307 X\r\nlocation: http://e/?{CANARY}\r\n\r\n".encode()),
    "gzip": says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"),
    "1xx": says(b"HTTP/1.1 103 X\r\n\r\n" * 9),
    "upgrade": says(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "407": says(b"HTTP/1.1 407 X\r\ncontent-length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("size", [1, 50_000], ids=["small", "large"])
@pytest.mark.parametrize("answer", [name for name in ANSWERS if name != "407"])
async def test_t2_a_failed_exchange_shows_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, answer: str, size: int
) -> None:
    network = MemoryNetwork(nursery)
    network.names["api.test"] = ["192.0.2.1"]
    network.serve("192.0.2.1", ANSWERS[answer])
    error = await failure_of(network, request_of(PEER, size))
    assert CANARY not in shown(error)


Setup = Callable[[MemoryNetwork], None]


def nothing(_: MemoryNetwork) -> None: ...


def resolved(network: MemoryNetwork) -> None:
    network.names |= {"api.test": ["192.0.2.1", "::1"], "proxy.test": ["192.0.2.9"]}


def proxy_says(answer: str) -> Setup:
    def setup(network: MemoryNetwork) -> None:
        resolved(network)
        network.serve("192.0.2.9", ANSWERS[answer], 3128)

    return setup


@pytest.mark.parametrize(
    ("setup", "peer"),
    [
        (nothing, PEER),
        (resolved, PEER),
        (resolved, attrs.evolve(PEER, deny_private=True)),
        (nothing, PROXIED),
        (resolved, PROXIED),
        (proxy_says("407"), PROXIED),
        (proxy_says("no answer"), PROXIED),
        (proxy_says("reset"), PROXIED),
        (proxy_says("nonsense"), PROXIED),
        (nothing, attrs.evolve(PEER, proxy=f"socks5://user:{CANARY}@proxy.test")),
        (nothing, attrs.evolve(PEER, proxy=f"http://user:{CANARY}@proxy.test:x")),
        (nothing, attrs.evolve(PEER, proxy=f"http://user:{CANARY}@")),
        (nothing, attrs.evolve(PEER, origin=Origin("http", "a b", 80))),
    ],
)
async def test_t2_a_failed_connection_shows_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, setup: Setup, peer: Peer
) -> None:
    network = MemoryNetwork(nursery)
    setup(network)
    error = await failure_of(network, request_of(peer))
    assert CANARY not in shown(error)


@pytest.mark.parametrize("name", ["host", "x y", "x-bad"])
async def test_t2_a_refused_request_shows_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, name: str
) -> None:
    request = request_of(PEER)
    bad = ((name, Secret(f"{CANARY}\r\n")), *request.headers)
    error = await failure_of(MemoryNetwork(nursery), attrs.evolve(request, headers=bad))
    assert CANARY not in shown(error)


async def test_t2_a_dead_reused_connection_shows_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def twice(end: ServerEnd) -> None:
        await end.read_request()
        if len(network.servers) == 1:
            await end.send(OK_HELLO)
            await end.read_request()

    network = MemoryNetwork(nursery)
    network.names["api.test"] = ["192.0.2.1"]
    network.serve("192.0.2.1", twice)
    error = await failure_of(network, request_of(PEER), times=2)
    assert CANARY not in shown(error)


async def test_t2_a_request_and_a_transport_show_nothing(nursery: trio.Nursery) -> None:
    transport = HttpTransport(nursery)
    for thing in (request_of(PROXIED), PROXIED, transport):
        assert CANARY not in repr(thing) + str(thing) + f"{thing}"
    transport.close()
