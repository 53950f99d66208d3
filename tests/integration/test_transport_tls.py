"""TLS on real sockets: reuse, truncation, and T7: nothing is said to whom we do not trust."""

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import attrs
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streamnursery.transport.http import open_transport
from streamnursery.values.errors import ConnectionLostError, TlsError
from streamnursery.values.http import HttpRequest
from streamnursery.values.secret import Secret
from tests.support.servers import RawServer, fetch, serving, transporting
from tests.support.tls import authority, ca_file, server_context
from tests.support.transport import Collector, Phases, ServerEnd, answer_hello, http_request, shown

KEY = Secret("Bearer canary-4711")


@cache
def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509
        .CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "self.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def request_to(server: RawServer, tmp_path: Path) -> HttpRequest:
    peer = server.peer(ca_file=ca_file(tmp_path))
    peer = attrs.evolve(peer, origin=attrs.evolve(peer.origin, host="localhost"))
    return http_request(peer=peer, headers=(("authorization", KEY),))


def reveals_key(error: BaseException) -> bool:
    return KEY.reveal() in shown(error)


@pytest.mark.parametrize("bad", ["expired", "wrong host", "unknown authority", "self-signed"])
async def test_c5_t7_no_byte_of_a_request_is_said_to_a_server_we_do_not_trust(
    bad: str, tmp_path: Path
) -> None:
    contexts = {
        "expired": server_context(expired=True),
        "wrong host": server_context("elsewhere.test"),
        "unknown authority": server_context(ca=authority("foreign")),
        "self-signed": self_signed(tmp_path),
    }
    async with serving(answer_hello, contexts[bad]) as server, transporting() as transport:
        for _ in range(3):
            with pytest.raises(TlsError) as caught:
                await fetch(transport, request_to(server, tmp_path))
        assert "localhost" in str(caught.value) and not caught.value.retryable
        assert not reveals_key(caught.value)
        assert server.connections == 3
        assert server.bytes_received == 0
        statistics = transport.statistics()
        assert (statistics.idle, statistics.busy, statistics.opened) == (0, 0, 0)


async def test_fifty_requests_are_one_connection_and_one_handshake(tmp_path: Path) -> None:
    async with serving(answer_hello, server_context()) as server, transporting() as transport:
        for _ in range(50):
            assert await fetch(transport, request_to(server, tmp_path)) == (200, b"hello")
        assert server.connections == 1
        assert server.bytes_received > 0


async def test_an_address_on_the_certificate_will_do(tmp_path: Path) -> None:
    async with serving(answer_hello, server_context()) as server, transporting() as transport:
        request = http_request(peer=server.peer(ca_file=ca_file(tmp_path)))
        assert await fetch(transport, request) == (200, b"hello")


async def test_a_large_body_goes_both_ways(tmp_path: Path) -> None:
    async def echo(end: ServerEnd) -> None:
        while request := await end.read_request():
            body = request.partition(b"\r\n\r\n")[2]
            await end.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    body = bytes(range(256)) * 8000
    async with serving(echo, server_context()) as server, transporting() as transport:
        request = attrs.evolve(request_to(server, tmp_path), body=body)
        for _ in range(2):
            assert await fetch(transport, request) == (200, body)
        assert server.connections == 1


async def test_a_body_that_ends_without_close_notify_is_a_truncated_one(tmp_path: Path) -> None:
    """Whoever sits between can send FIN; only the server can say that it is done."""

    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(b"HTTP/1.1 200 OK\r\n\r\npay 1000")

    async with serving(serve, server_context()) as server, transporting() as transport:
        response = await transport.open(request_to(server, tmp_path), Phases())
        sink = Collector()
        response.attach(sink)
        await sink.ended.wait()
        assert sink.data == b"pay 1000"
        assert isinstance(sink.failure, ConnectionLostError)
        assert "closing record" in str(sink.failure)


async def test_httpx_speaks_tls_through_it(tmp_path: Path) -> None:
    async with serving(answer_hello, server_context()) as server:
        async with open_transport(ca_file=ca_file(tmp_path)) as transport:
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get(f"https://localhost:{server.port}/")).text == "hello"
        async with open_transport() as transport:
            async with httpx.AsyncClient(transport=transport) as client:
                with pytest.raises(httpx.ConnectError) as caught:
                    await client.get(f"https://localhost:{server.port}/")
                assert isinstance(caught.value.__cause__, TlsError)
