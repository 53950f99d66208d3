"""HTTP proxies, always as a tunnel (RFC 9110 9.3.6).

Rule 1: every target is reached through CONNECT, `http://` ones too: then the proxy sees where a
        request goes, and never its headers or body, wherever TLS is spoken.
Rule 2: the proxy's password goes to the proxy alone, and stands in no message.
Rule 3: the environment names a proxy only if `trust_env` says so.
"""

import base64
import re
from urllib.parse import unquote, urlsplit

import attrs
import trio

from streamnursery.transport.http1_message import ResponseReader
from streamnursery.transport.network import READ_SIZE, Buffer, Connection, without_frames
from streamnursery.transport.no_proxy import bypasses
from streamnursery.values.errors import ConfigError, ConnectError
from streamnursery.values.http import Peer
from streamnursery.values.secret import Secret

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


@attrs.frozen
class Proxy:
    """A CONNECT proxy and what to show it."""

    host: str
    port: int
    authorization: Secret | None = None
    """The value of Proxy-Authorization."""

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """Read `http://[user:password@]host[:port]`; port 80 where none is written.

        Raises:
            ConfigError: another scheme, SOCKS among them, or no URL. It repeats no credential.
        """
        found = _parse(url)
        del url  # it may hold a password, and a traceback may show its frames' variables
        if isinstance(found, Proxy):
            return found
        raise ConfigError(found)


def _parse(url: str) -> Proxy | str:
    """The proxy, or what is wrong with the URL."""
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if name.startswith("socks"):
        return "SOCKS proxies are not spoken; give an http:// proxy that tunnels"
    if name != "http":
        return "the proxy must be http://[user:password@]host:port"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "the proxy's host or port cannot be read"
    if not _HOST.fullmatch(host) or port == 0 or parts.path not in {"", "/"}:
        return "the proxy must be http://[user:password@]host:port and no more"
    return Proxy(host, 80 if port is None else port, _authorization(parts.netloc))


def _authorization(netloc: str) -> Secret | None:
    userinfo, at, _ = netloc.rpartition("@")
    if not at:
        return None
    user, _, password = userinfo.partition(":")
    plain = f"{unquote(user)}:{unquote(password)}".encode()
    return Secret(f"Basic {base64.b64encode(plain).decode()}")


def proxy_for(peer: Peer, *, trust_env: bool) -> Proxy | None:
    """The proxy between us and `peer`.

    With `trust_env` a peer without one obeys HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY,
    in either case.

    Raises:
        ConfigError: see `Proxy.parse`.
    """
    if peer.proxy:
        return Proxy.parse(peer.proxy)
    if not trust_env or not _environment(peer):
        return None
    return Proxy.parse(_environment(peer))


def _environment(peer: Peer) -> str:
    """The URL of the proxy that the environment names for `peer`; empty for none."""
    # Imported here: it brings an HTTP client along, for the few that obey the environment.
    from urllib.request import getproxies_environment

    found = getproxies_environment()
    url = found.get("https" if peer.origin.secure else "http") or found.get("all") or ""
    if not url or bypasses(found.get("no", ""), peer.origin.host, peer.origin.port):
        return ""
    return url if "://" in url else f"http://{url}"


async def open_tunnel(connection: Connection, proxy: Proxy, host: str, port: int) -> None:
    """Have `connection`, which leads to `proxy`, lead to `host` from now on.

    Raises:
        ConnectError: the proxy refuses or breaks off; the caller closes the connection.
    """
    where = f"the proxy {proxy.host}:{proxy.port}"
    reader = ResponseReader("CONNECT", where)
    try:
        await connection.send_all(_connect_head(proxy, host, port))
        while reader.head is None and reader.failure is None:
            await connection.wait_readable()
            _read(connection, reader)
    except OSError as error:
        msg = f"{where} broke the connection ({error.strerror or error}); try again"
        raise ConnectError(msg) from without_frames(error)
    if reader.head is None:
        msg = f"{reader.failure}; check that the proxy speaks HTTP"
        raise ConnectError(msg)
    status = reader.head.status
    if not 200 <= status < 300:
        advice = "check the user and password in `proxy`" if status == 407 else "ask its operator"
        msg = f"{where} answered {status} when asked to connect to {host}:{port}; {advice}"
        raise ConnectError(msg, retryable=status >= 500)


def _connect_head(proxy: Proxy, host: str, port: int) -> Buffer:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"proxy-authorization: {proxy.authorization.reveal()}")
    return memoryview("\r\n".join([*lines, "", ""]).encode("latin-1"))


def _read(connection: Connection, reader: ResponseReader) -> None:
    try:
        data = connection.recv_nowait(READ_SIZE)
    except trio.WouldBlock:
        return
    if data:
        reader.feed(data)
    else:
        reader.feed_eof()
