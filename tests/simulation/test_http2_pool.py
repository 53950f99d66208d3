"""How many HTTP/2 connections there are, and which request goes where."""

import ssl
from pathlib import Path

import attrs
import h2.events
import pytest
import trio
from trio.testing import MockClock

from streamnursery.simulator.pipe_direction import Link
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.http2.frames import ErrorCode
from streamnursery.values.errors import ConnectError, EngineError
from streamnursery.values.http import HttpVersion, Peer
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.origin import Origin
from tests.support.http2 import OK
from tests.support.http2_server import H2C, Http2End, rigged
from tests.support.tls import TlsServerEnd, authority, ca_file, server_context
from tests.support.transport import MemoryNetwork, Phases, ServerEnd, answer_hello, http_request


async def test_streams_are_spread_over_as_many_connections_as_they_need(
    autojump_clock: MockClock,
) -> None:
    async with rigged(max_streams=4) as rig:
        rig.start(10)
        await trio.sleep(1)
        assert sum(len(server.opened) for server in rig.servers) == 10
        assert len(rig.servers) == 3
        for server in rig.servers:
            for stream_id in server.opened:
                await server.answer(stream_id)
        await trio.sleep(1)
        assert rig.results == [b"hello"] * 10


async def test_p4_beyond_the_bound_requests_wait_in_turn_for_a_stream(
    autojump_clock: MockClock,
) -> None:
    settings = Http2Settings(max_connections=2)
    async with rigged(settings, max_streams=2) as rig:
        rig.start(9)
        await trio.sleep(1)
        assert [len(server.opened) for server in rig.servers] == [2, 2]
        while len(rig.results) < 9:
            for server in rig.servers:
                for stream_id in [s for s in server.opened if s in server.h2.streams]:
                    if server.h2.streams[stream_id].open:
                        await server.answer(stream_id)
            await trio.sleep(1)
        assert rig.results == [b"hello"] * 9
        assert [len(server.opened) for server in rig.servers] in ([5, 4], [4, 5])


async def test_p4_a_lowered_limit_makes_new_requests_go_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async with rigged() as rig:
        rig.start(4)
        await trio.sleep(1)
        (first,) = rig.servers
        first.h2.update_settings({3: 1})
        await first.flush()
        await trio.sleep(1)
        rig.start(1)
        await trio.sleep(1)
        assert [len(server.opened) for server in rig.servers] == [4, 1]
        for server in rig.servers:
            for stream_id in server.opened:
                await server.answer(stream_id)
        await trio.sleep(1)
        assert rig.results == [b"hello"] * 5


async def test_p4_a_limit_of_nothing_is_waited_out(autojump_clock: MockClock) -> None:
    async with rigged(Http2Settings(max_connections=1), max_streams=0) as rig:
        rig.start(2)
        await trio.sleep(1)
        (server,) = rig.servers
        await server.answer(server.opened[0])
        await trio.sleep(1)
        assert len(rig.results) == 1
        server.h2.update_settings({3: 5})
        await server.flush()
        await trio.sleep(1)
        await server.answer(server.opened[1])
        await trio.sleep(1)
        assert rig.results == [b"hello"] * 2


async def test_p4_answers_that_come_in_one_read_make_room_too(autojump_clock: MockClock) -> None:
    settings = Http2Settings(max_connections=1, max_streams=1)
    async with rigged(settings) as rig:
        rig.start(5)
        for count in range(1, 6):
            await trio.sleep(1)
            (server,) = rig.servers
            stream_id = server.opened[count - 1]
            server.h2.send_headers(stream_id, OK)
            server.h2.send_data(stream_id, b"hello", end_stream=True)
            await server.flush()
        await trio.sleep(1)
        assert rig.results == [b"hello"] * 5


async def test_a_request_that_waits_can_be_cancelled(autojump_clock: MockClock) -> None:
    async with rigged(Http2Settings(max_connections=1, max_streams=1)) as rig:
        rig.start(1)
        await trio.sleep(1)
        phases = Phases()
        with trio.move_on_after(1) as scope:
            await rig.open(phases=phases)
        assert scope.cancelled_caught and phases.names == ["CONNECTING"]
        rig.start(1)
        await trio.sleep(1)
        (server,) = rig.servers
        await server.answer(1)
        await trio.sleep(1)
        await server.answer(3)
        await trio.sleep(1)
        assert rig.results == [b"hello"] * 2


async def test_whoever_opens_a_connection_and_gives_up_leaves_it_to_the_next(
    autojump_clock: MockClock,
) -> None:
    async with rigged(echo=True) as rig:
        rig.network.connect_after["127.0.0.1"] = 5.0

        async def impatient() -> None:
            with trio.move_on_after(1):
                await rig.fetch()

        rig.nursery.start_soon(impatient)
        await trio.sleep(0.1)
        rig.start(3)
        await trio.sleep(20)
        assert rig.results == [b"hello"] * 3 and rig.transport.statistics().opened == 1


async def test_a_failed_connect_is_everybodys_own(autojump_clock: MockClock) -> None:
    async with rigged() as rig:
        rig.network._handlers.clear()
        rig.start(5)
        await trio.sleep(1)
        assert [type(error) for error in rig.results] == [ConnectError] * 5


async def test_idle_connections_are_bounded_with_the_others(autojump_clock: MockClock) -> None:
    async with rigged(max_streams=1, echo=True) as rig:
        rig.transport._http2._max_idle = 3
        rig.start(8)
        await trio.sleep(1)
        assert rig.results == [b"hello"] * 8
        assert rig.transport.statistics().idle <= 3


# What is spoken. ----------------------------------------------------------------------------


class TlsRig:
    """A transport and a TLS server that knows some protocols."""

    def __init__(
        self, nursery: trio.Nursery, folder: Path, *alpn: str, code: int | None = None
    ) -> None:
        """`code`: every stream of HTTP/2 is reset with it."""
        self.network = MemoryNetwork(nursery, Link(latency=0.01))
        self.network.serve("127.0.0.1", self._serve, 443)
        self.transport = HttpTransport(nursery, self.network)
        self.peer = Peer(Origin("https", "127.0.0.1", 443), ca_file=ca_file(folder))
        self.spoken: list[str | None] = []
        self.seen: list[h2.events.Event] = []
        """What came over HTTP/2."""
        self._code = code
        self.context = server_context(alpn=alpn)

    async def _serve(self, end: ServerEnd) -> None:
        inner = TlsServerEnd(end.connection, self.context)
        await inner.handshake()
        spoken = inner.tls.selected_alpn_protocol()
        self.spoken.append(spoken)
        secured = ServerEnd(inner, end.reset)
        if spoken != "h2":
            await answer_hello(secured)
            return
        server = Http2End(secured)
        self.seen = server.seen
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            count = 0
            while True:
                await server.until_opened(count + 1)
                if server.gone:
                    nursery.cancel_scope.cancel()
                    return
                if self._code is not None:
                    server.h2.reset_stream(server.opened[count], self._code)
                    await server.flush()
                else:
                    await server.answer(server.opened[count])
                count += 1

    async def fetch(self, peer: Peer | None = None) -> str:
        response = await self.transport.open(http_request(peer=peer or self.peer), Phases())
        try:
            assert await response.receive_some() == b"hello"
            assert await response.receive_some() == b""
        finally:
            response.close()
        return response.head.http_version

    async def fetch_many(self, count: int, peer: Peer | None = None) -> list[str]:
        versions: list[str] = []

        async def one() -> None:
            versions.append(await self.fetch(peer))

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
        return versions


async def run_tls(folder: Path, *alpn: str, http: str = "auto") -> tuple[list[str], int]:
    """Versions of five answers at once, and connections made."""
    async with trio.open_nursery() as nursery:
        rig = TlsRig(nursery, folder, *alpn)
        versions = await rig.fetch_many(5, attrs.evolve(rig.peer, http=http))  # type: ignore[arg-type]
        opened = rig.transport.statistics().opened
        rig.transport.close()
        nursery.cancel_scope.cancel()
    return versions, opened


async def test_the_server_chooses_where_both_are_offered(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    assert await run_tls(tmp_path, "h2", "http/1.1") == (["HTTP/2"] * 5, 1)
    assert await run_tls(tmp_path, "http/1.1") == (["HTTP/1.1"] * 5, 5)


async def test_a_server_without_any_opinion_gets_http1(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    assert await run_tls(tmp_path, "spdy/3") == (["HTTP/1.1"] * 5, 5)


async def test_http1_is_not_offered_anything_else(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    assert await run_tls(tmp_path, "h2", "http/1.1", http="1.1") == (["HTTP/1.1"] * 5, 5)


async def test_http2_alone_is_an_error_where_nobody_speaks_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_tls(tmp_path, "spdy/3", http="2")
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EngineError)
    assert not error.retryable


async def test_a_server_that_wants_http1_after_all_gets_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        rig = TlsRig(nursery, tmp_path, "h2", "http/1.1", code=ErrorCode.HTTP_1_1_REQUIRED)
        assert await rig.fetch() == "HTTP/1.1"
        assert await rig.fetch_many(3) == ["HTTP/1.1"] * 3
        assert rig.spoken[0] == "h2" and set(rig.spoken[1:]) == {"http/1.1"}
        rig.transport.close()
        nursery.cancel_scope.cancel()


def only_tls_1_2(*alpn: str, ciphers: str) -> ssl.SSLContext:
    context = server_context(alpn=alpn, ca=authority(ciphers))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    return context


async def test_http2_over_a_barred_cipher_is_declined_and_http1_taken_instead(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        rig = TlsRig(nursery, tmp_path, "h2")
        peer = attrs.evolve(rig.peer, insecure=True)
        rig.context = only_tls_1_2("h2", "http/1.1", ciphers="ECDHE-ECDSA-AES128-SHA256")
        assert await rig.fetch(peer) == "HTTP/1.1"
        assert rig.spoken == ["h2", "http/1.1"]
        (last_words,) = [e for e in rig.seen if isinstance(e, h2.events.ConnectionTerminated)]
        assert last_words.error_code == ErrorCode.INADEQUATE_SECURITY
        assert await rig.fetch_many(3, peer) == ["HTTP/1.1"] * 3
        assert "h2" not in rig.spoken[1:]
        rig.transport.close()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("http", ["auto", "2"])
@pytest.mark.parametrize(
    "cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]
)
async def test_tls_1_2_with_a_cipher_of_today_carries_http2(
    autojump_clock: MockClock, tmp_path: Path, http: HttpVersion, cipher: str
) -> None:
    async with trio.open_nursery() as nursery:
        rig = TlsRig(nursery, tmp_path, "h2")
        rig.context = only_tls_1_2("h2", ciphers=cipher)
        assert await rig.fetch(attrs.evolve(rig.peer, insecure=True, http=http)) == "HTTP/2"
        rig.transport.close()
        nursery.cancel_scope.cancel()


async def test_a_server_that_chose_http1_is_not_asked_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        rig = TlsRig(nursery, tmp_path, "http/1.1")
        assert await rig.fetch() == "HTTP/1.1"
        # Another one answers at the same address: it would take HTTP/2.
        rig.context = server_context(alpn=("h2", "http/1.1"))
        assert await rig.fetch_many(3) == ["HTTP/1.1"] * 3
        rig.transport.close()
        nursery.cancel_scope.cancel()


async def test_plain_http_is_http1_unless_it_is_known_beforehand(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        network.serve("127.0.0.1", answer_hello)
        transport = HttpTransport(nursery, network)
        request = http_request(peer=attrs.evolve(H2C, http="auto"))
        response = await transport.open(request, Phases())
        assert response.head.http_version == "HTTP/1.1"
        response.close()
        transport.close()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("ours", "theirs"), [(128, 1), (1, None), (128, 2)])
async def test_settings_that_allow_no_more_than_was_assumed_are_news_too(
    autojump_clock: MockClock, ours: int, theirs: int | None
) -> None:
    async with rigged(Http2Settings(max_streams=ours), max_streams=theirs) as rig:
        rig.start(3)
        await trio.sleep(1)
        assert sum(len(server.opened) for server in rig.servers) == 3
        for server in rig.servers:
            for stream in server.opened:
                await server.answer(stream)
        await trio.sleep(1)
        assert len(rig.results) == 3
