"""Base URLs, read strictly: what is not plainly a web address is refused."""

import ipaddress
import re
from urllib.parse import urlsplit

import attrs

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?")
_NETLOC = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:@]*)(?::[0-9]+)?")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@attrs.frozen
class Origin:
    """Scheme, host and port: what a credential is bound to (RFC 6454)."""

    scheme: str
    host: str
    port: int
    secure: bool = attrs.field(init=False, repr=False, eq=False)
    authority: str = attrs.field(init=False, repr=False, eq=False)
    """`host[:port]` as the Host header wants it; the port only where it is not the default."""

    @secure.default
    def _is_secure(self) -> bool:
        return self.scheme in ("https", "wss")

    @authority.default
    def _host_and_port(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@attrs.frozen
class BaseUrl:
    """An origin and the path under which an API lives."""

    origin: Origin
    path: str
    """Without a trailing slash; may be empty."""

    @classmethod
    def parse(cls, url: str, *, schemes: tuple[str, ...] = ("http", "https")) -> "BaseUrl":
        """Read `url`; `ValueError` says what is wrong with it and never repeats a credential.

        Refused: other schemes, userinfo, query, fragment, control characters, spaces,
        backslashes, percent signs in the host, and hosts that are numbers in disguise
        (`2130706433`, `0x7f.1`, `127.1`), which resolvers read as addresses.
        """
        if re.search(r"[\x00-\x20\x7f-\x9f\\]", url) or not url.isascii():
            raise ValueError("the URL has spaces, control characters, backslashes or non-ASCII")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("the URL's host or port cannot be read") from None
        if parts.scheme not in schemes:
            msg = f"the URL must begin with {' or '.join(s + '://' for s in schemes)}"
            raise ValueError(msg)
        if "@" in parts.netloc:
            raise ValueError("the URL has a user name in it; put the key in `key` instead")
        if not _NETLOC.fullmatch(parts.netloc):
            raise ValueError("the URL's host or port cannot be read")
        if parts.query or parts.fragment or "?" in url or "#" in url:
            raise ValueError("the URL has a query or fragment; put parameters in `query`")
        if re.search(r"%(?![0-9A-Fa-f]{2})|%0[0-9A-Fa-f]|%1[0-9A-Fa-f]|%7[Ff]", parts.path):
            raise ValueError("the URL's path has encoded control characters")
        host = _host(parts.hostname or "", bracketed="[" in parts.netloc)
        if port == 0:
            raise ValueError("port 0 cannot be connected to")
        origin = Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])
        return cls(origin, parts.path.rstrip("/"))

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def _host(host: str, *, bracketed: bool) -> str:
    if bracketed:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ValueError("the URL's IPv6 address cannot be read") from None
    if len(host) > 253 or not _HOST.fullmatch(host) or ".." in host:
        raise ValueError("the URL's host is not a host name")
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0[xX][0-9A-Fa-f]*", last):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(
                "the URL's host is a number in disguise; write the address as four decimals"
            ) from None
    return host.lower()


def is_private(address: str) -> bool:
    """Whether an IP address is one that `deny_private` refuses.

    Everything that is not global unicast counts, also inside IPv4-mapped, 6to4, Teredo and
    NAT64 addresses.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
        # `is_global` takes IPv4-compatible (::127.0.0.1) and site-local addresses for global.
        if ip not in _GLOBAL_UNICAST:
            return True
    return not ip.is_global or ip.is_multicast
