"""TLS over a connection: records joined, ends told apart, certificates checked."""

import ssl
import warnings
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.transport.tls import HTTP_1_1, HTTP_2, TlsConnection, TlsContexts, start_tls
from streamnursery.values.errors import ConfigError, ConnectError, TlsError
from streamnursery.values.http import Peer
from streamnursery.values.origin import Origin
from tests.support.tls import TlsServerEnd, authority, ca_file, server_context

ORIGIN = Origin("https", "localhost", 443)


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return Peer(ORIGIN, ca_file=ca_file(tmp_path))


async def connected(
    peer: Peer, context: ssl.SSLContext | None = None
) -> tuple[TlsConnection, TlsServerEnd]:
    client, server = pipe()
    end = TlsServerEnd(server, context or server_context())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end.handshake)
        tls = await start_tls(client, TlsContexts().get(peer), peer.origin.host)
    return tls, end


async def refused(
    peer: Peer, context: ssl.SSLContext, *alpn: str
) -> tuple[Exception, PipeConnection]:
    """The error of a handshake that must fail, and the connection below."""
    client, server = pipe()
    end = TlsServerEnd(server, context)

    async def handshake() -> None:
        try:
            await end.handshake()
        except (ssl.SSLError, OSError):
            pass
        finally:
            server.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handshake)
        with pytest.raises((TlsError, ConnectError)) as caught:
            ours = TlsContexts().get(peer, alpn or HTTP_1_1)
            await start_tls(client, ours, peer.origin.host)
    return caught.value, client


async def receive(tls: TlsConnection) -> bytes:
    while True:
        try:
            return tls.recv_nowait(65536)
        except trio.WouldBlock:
            await tls.wait_readable()


async def test_text_goes_both_ways_and_http_1_1_is_agreed_on(peer: Peer) -> None:
    tls, end = await connected(peer)
    assert tls.alpn == HTTP_1_1[0]
    await tls.send_all(b"ping")
    await end.wait_readable()
    assert end.recv_nowait(100) == b"ping"
    await end.send_all(b"pong")
    assert await receive(tls) == b"pong"
    assert tls.fileno() is None


async def test_one_read_joins_the_records_that_one_read_brought(peer: Peer) -> None:
    tls, end = await connected(peer)
    await end.below.send_all(end.records(b"one ", b"two ", b"three"))
    assert await receive(tls) == b"one two three"
    with pytest.raises(trio.WouldBlock):
        tls.recv_nowait(100)


async def test_what_does_not_fit_a_read_is_there_for_the_next(
    peer: Peer, autojump_clock: MockClock
) -> None:
    tls, end = await connected(peer)
    await end.below.send_all(end.records(b"a" * 10, b"b" * 10))
    await tls.wait_readable()
    assert tls.recv_nowait(15) == b"a" * 10 + b"b" * 5
    with trio.fail_after(1):
        await tls.wait_readable()
    assert tls.recv_nowait(15) == b"b" * 5


async def test_a_large_message_passes_whole(peer: Peer) -> None:
    tls, end = await connected(peer)
    got = bytearray()

    async def serve() -> None:
        while len(got) < 300_000:
            await end.wait_readable()
            while True:
                try:
                    got.extend(end.recv_nowait(65536))
                except trio.WouldBlock:
                    break

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await tls.send_all(memoryview(b"x" * 300_000))
    assert bytes(got) == b"x" * 300_000


async def test_close_notify_reads_as_fin_after_the_data_before_it(peer: Peer) -> None:
    tls, end = await connected(peer)
    await end.below.send_all(end.records(b"last", close=True))
    assert await receive(tls) == b"last"
    assert await receive(tls) == b""
    assert await receive(tls) == b""


async def test_fin_without_close_notify_reads_as_a_reset(peer: Peer) -> None:
    tls, end = await connected(peer)
    await end.below.send_all(end.records(b"cut"))
    end.below.close()
    assert await receive(tls) == b"cut"
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match="closing record"):
            await receive(tls)


async def test_a_corrupt_record_reads_as_a_reset_for_ever(peer: Peer) -> None:
    tls, end = await connected(peer)
    record = bytearray(end.records(b"good", b"bad"))
    record[-1] ^= 1
    await end.below.send_all(bytes(record))
    assert await receive(tls) == b"good"
    end.below.close()
    for _ in range(3):
        with pytest.raises(ConnectionResetError, match="corrupt"):
            await receive(tls)


async def test_a_closed_connection_says_so(peer: Peer) -> None:
    tls, _ = await connected(peer)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                while True:
                    await receive(tls)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        tls.close()
        tls.close()


# Certificates. ------------------------------------------------------------------------------


async def test_t7_an_expired_certificate_is_refused(peer: Peer) -> None:
    error, below = await refused(peer, server_context(expired=True))
    assert isinstance(error, TlsError) and not error.retryable
    assert "expired" in str(error) and "localhost" in str(error)
    assert below.closed


async def test_t7_another_hosts_certificate_is_refused(peer: Peer) -> None:
    error, below = await refused(peer, server_context("elsewhere.test"))
    assert isinstance(error, TlsError) and "ostname mismatch" in str(error)
    assert below.closed


async def test_t7_an_unknown_authority_is_refused(peer: Peer) -> None:
    error, below = await refused(peer, server_context(ca=authority("foreign")))
    assert isinstance(error, TlsError) and "ca_file" in str(error)
    assert below.closed


async def test_insecure_takes_any_certificate() -> None:
    peer = Peer(ORIGIN, insecure=True)
    tls, _ = await connected(peer, server_context("elsewhere.test", expired=True))
    assert tls.alpn == "http/1.1"


async def test_a_trailing_dot_is_no_part_of_the_name_on_the_certificate(tmp_path: Path) -> None:
    peer = Peer(Origin("https", "localhost.", 443), ca_file=ca_file(tmp_path))
    tls, _ = await connected(peer)
    tls.close()


async def test_tls_1_1_is_too_old(peer: Peer) -> None:
    context = server_context("localhost", ca=authority("old"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    error, _ = await refused(peer, context)
    assert isinstance(error, TlsError) and "1.2" in str(error)


async def test_a_barred_cipher_is_not_offered_where_only_http2_would_do(peer: Peer) -> None:
    context = server_context("localhost", alpn=("h2",), ca=authority("barred"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
    error, _ = await refused(peer, context, "h2")
    assert isinstance(error, TlsError) and "AEAD" in str(error)


# Handshakes that do not end. ----------------------------------------------------------------


async def test_a_server_that_does_not_speak_tls_is_a_typed_error(peer: Peer) -> None:
    client, server = pipe()
    await server.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(TlsError, match="scheme and port"):
        await start_tls(client, TlsContexts().get(peer), "localhost")
    assert client.closed


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_ends_in_the_handshake_may_be_tried_again(
    peer: Peer, reset: bool
) -> None:
    client, server = pipe()
    if reset:
        server.reset()
    else:
        server.close()
    with pytest.raises(ConnectError, match="handshake") as caught:
        await start_tls(client, TlsContexts().get(peer), "localhost")
    assert caught.value.retryable
    assert client.closed


async def test_c4_a_stalled_handshake_is_left_at_once_when_cancelled(
    peer: Peer, autojump_clock: MockClock
) -> None:
    client, server = pipe()
    with trio.move_on_after(5) as scope:
        await start_tls(client, TlsContexts().get(peer), "localhost")
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert client.closed
    assert server.recv_nowait(1)  # the ClientHello had gone out


async def test_a_name_no_certificate_can_have_is_a_typed_error(peer: Peer) -> None:
    client, _ = pipe()
    with pytest.raises(TlsError, match="name of a TLS server"):
        await start_tls(client, TlsContexts().get(peer), "a" * 64 + ".test")
    assert client.closed


# Contexts. ----------------------------------------------------------------------------------


def test_one_context_serves_all_who_check_alike(tmp_path: Path) -> None:
    contexts = TlsContexts()
    file = ca_file(tmp_path)
    one, two = Peer(ORIGIN, ca_file=file), Peer(Origin("https", "b.test", 1), ca_file=file)
    assert contexts.get(one) is contexts.get(two)
    assert contexts.get(one) is not contexts.get(Peer(ORIGIN))
    assert contexts.get(one) is not contexts.get(one, ("h2",))


def test_http2_alone_is_offered_over_aead_and_ephemeral_keys_only() -> None:
    offered = TlsContexts().get(Peer(ORIGIN), HTTP_2).get_ciphers()
    assert all(suite["aead"] for suite in offered)
    assert {suite["kea"] for suite in offered} == {"kx-any", "kx-ecdhe", "kx-dhe"}
    assert {suite["auth"] for suite in offered} <= {"auth-any", "auth-rsa", "auth-ecdsa"}


def test_a_context_checks_names_and_wants_tls_1_2() -> None:
    context = TlsContexts().get(Peer(ORIGIN))
    assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_is_none_is_a_configuration_error(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"broken\.pem"):
        TlsContexts().get(Peer(ORIGIN, ca_file=str(path)))


@pytest.mark.parametrize("trust_env", [False, True])
async def test_t8_certificates_of_the_environment_count_only_when_trusted(
    trust_env: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file(tmp_path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    subjects = [
        cert["subject"]
        for cert in TlsContexts(trust_env=trust_env).get(Peer(ORIGIN)).get_ca_certs()
    ]
    assert ("the test authority" in str(subjects)) is trust_env


def test_an_unset_environment_leaves_the_systems_authorities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    trusting, plain = TlsContexts(trust_env=True), TlsContexts()
    assert trusting.get(Peer(ORIGIN)).cert_store_stats() == (
        plain.get(Peer(ORIGIN)).cert_store_stats()
    )
