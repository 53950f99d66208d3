"""Mutual TLS: the certificate of an endpoint is shown, and connections belong to one identity."""

import ssl
from pathlib import Path

import attrs
import httpx
import pytest
from cryptography.hazmat.primitives import serialization

import streamnursery as sn
from streamnursery.config import config_from_mapping
from streamnursery.transport.http import open_transport
from streamnursery.values.errors import ConfigError, EngineError
from streamnursery.values.http import HttpRequest
from tests.support.servers import RawServer, fetch, serving, transporting
from tests.support.tls import authority, ca_file
from tests.support.transport import answer_hello, http_request


def demanding() -> ssl.SSLContext:
    """A server's context that takes clients of our authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority("clients'").configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def identity(folder: Path, name: str) -> tuple[str, str]:
    """The PEM files of a client: certificate and key."""
    leaf = authority("clients'").issue_cert(f"{name}.example")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    leaf.cert_chain_pems[0].write_to_path(str(cert))
    leaf.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    return str(cert), str(key)


def encrypt(file: Path) -> None:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"password")
    form = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, how))


def asked(server: RawServer, folder: Path, cert: str = "", key: str = "") -> HttpRequest:
    peer = attrs.evolve(server.peer(ca_file=ca_file(folder)), client_cert=cert, client_key=key)
    return http_request(peer=peer)


async def test_a_server_that_asks_for_a_certificate_gets_the_endpoints(tmp_path: Path) -> None:
    cert, key = identity(tmp_path, "one")
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        assert await fetch(transport, asked(server, tmp_path, cert, key)) == (200, b"hello")


async def test_certificate_and_key_may_stand_in_one_file(tmp_path: Path) -> None:
    leaf = authority("clients'").issue_cert("both.example")
    both = tmp_path / "both.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(both))
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        assert await fetch(transport, asked(server, tmp_path, str(both))) == (200, b"hello")


async def test_without_one_the_error_says_what_to_set(tmp_path: Path) -> None:
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        with pytest.raises(EngineError, match="set the endpoint's client_cert"):
            await fetch(transport, asked(server, tmp_path))
        assert server.requests == []


async def test_a_connection_is_used_again_by_the_same_identity_alone(tmp_path: Path) -> None:
    one, two = identity(tmp_path, "one"), identity(tmp_path, "two")
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        for pair in (one, two, one, two):
            assert await fetch(transport, asked(server, tmp_path, *pair)) == (200, b"hello")
        assert server.connections == 2


async def test_a_key_of_another_certificate_is_a_config_error(tmp_path: Path) -> None:
    (cert, _), (_, key) = identity(tmp_path, "one"), identity(tmp_path, "two")
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        with pytest.raises(ConfigError, match="the key belongs to another certificate"):
            await fetch(transport, asked(server, tmp_path, cert, key))
        assert server.connections == 0


async def test_an_encrypted_key_is_a_config_error_and_no_question(tmp_path: Path) -> None:
    cert, key = identity(tmp_path, "one")
    encrypt(Path(key))
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        with pytest.raises(ConfigError, match="not encrypted"):
            await fetch(transport, asked(server, tmp_path, cert, key))


async def test_a_file_that_is_no_certificate_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    async with serving(answer_hello, demanding()) as server, transporting() as transport:
        with pytest.raises(ConfigError, match="give PEM files"):
            await fetch(transport, asked(server, tmp_path, str(tmp_path / "junk.pem")))


async def test_httpx_shows_it_too(tmp_path: Path) -> None:
    cert, key = identity(tmp_path, "one")
    async with (
        serving(answer_hello, demanding()) as server,
        open_transport(ca_file=ca_file(tmp_path), client_cert=cert, client_key=key) as transport,
        httpx.AsyncClient(transport=transport) as client,
    ):
        assert (await client.get(f"https://localhost:{server.port}/")).text == "hello"


def test_an_endpoint_names_its_files_beside_the_configuration(tmp_path: Path) -> None:
    identity(tmp_path, "one")
    endpoint = {"url": "https://a.example/v1", "client_cert": "one.pem", "client_key": "one.key"}
    found = config_from_mapping({"endpoints": {"main": endpoint}}, cwd=tmp_path, environ={})
    peer = found.endpoints["main"].peer
    assert (peer.client_cert, peer.client_key) == (
        str(tmp_path / "one.pem"),
        str(tmp_path / "one.key"),
    )


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"client_key": "one.key"}, "is the key of no certificate"),
        ({"client_cert": "gone.pem"}, "the file cannot be read"),
        ({"url": "http://a.example", "client_cert": "one.pem"}, "is shown over TLS alone"),
    ],
)
def test_half_a_certificate_is_a_mistake(fields: dict[str, str], what: str, tmp_path: Path) -> None:
    identity(tmp_path, "one")
    endpoint = {"url": "https://a.example/v1", **fields}
    with pytest.raises(sn.ConfigError, match=what):
        config_from_mapping({"endpoints": {"main": endpoint}}, cwd=tmp_path, environ={})
