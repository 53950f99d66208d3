"""One HTTP exchange, as values that can be shown without harm."""

import re
from typing import Literal, TypeAlias

import attrs

from streamnursery.values.origin import Origin
from streamnursery.values.secret import Secret

Header: TypeAlias = tuple[str, "str | Secret"]
HttpVersion: TypeAlias = Literal["auto", "1.1", "2", "h2c"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
RESERVED = frozenset({
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "proxy-connection",
    "proxy-authorization",
    "accept-encoding",
    "expect",
})
"""Headers that frame the message or belong to the connection: the transport writes them."""


def check_header(name: str, value: str | Secret) -> str | None:
    """What is wrong with a header that a caller wants sent, or None (RFC 9110 5.5, 5.6.2)."""
    if not _NAME.fullmatch(name):
        return f"header name {name[:40]!r} has characters that a header name may not have"
    if name.lower() in RESERVED:
        return f"header {name!r} is written by the transport; leave it out"
    text = value.reveal() if isinstance(value, Secret) else value
    if not _VALUE.fullmatch(text) or text != text.strip(" \t"):
        return f"the value of header {name!r} has control characters, line breaks or outer spaces"
    return None


@attrs.frozen(cache_hash=True)
class Peer:
    """Where a connection leads and what it must be like; connections are reused per peer."""

    origin: Origin
    ca_file: str = ""
    """PEM file of a private CA; empty for the system's."""
    client_cert: str = ""
    """PEM file of the certificate to show; empty for none. Who asks is part of the peer: no
    connection is shared between two identities."""
    client_key: str = ""
    """PEM file of its private key; empty where that stands in `client_cert`."""
    proxy: str = attrs.field(default="", repr=False)
    """`http://[user:password@]host:port` of a CONNECT proxy; empty for none."""
    insecure: bool = False
    """No certificate check. Never on unless the user wrote it."""
    deny_private: bool = False
    http: HttpVersion = "auto"
    http1_only: bool = attrs.field(init=False, repr=False, eq=False)
    """HTTP/2 is neither asked for nor offered."""

    @http1_only.default
    def _is_http1_only(self) -> bool:
        return self.http == "1.1" or (self.http == "auto" and not self.origin.secure)


@attrs.frozen
class HttpRequest:
    """What goes out. Neither headers nor body show in its repr."""

    peer: Peer
    method: str
    target: str = attrs.field(repr=False)
    """Path and query, as on the request line."""
    headers: tuple[Header, ...] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    checked: int = 0
    """So many of the headers, from the first, are known to be fit to send."""


@attrs.frozen
class HttpHead:
    """What came back before the body. Names are lower case, in wire order."""

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    http_version: str = "HTTP/1.1"
    _first: dict[str, str] | None = attrs.field(default=None, init=False, repr=False, eq=False)
    """The first value of each name, once somebody asks."""

    @property
    def body_length(self) -> int | None:
        """Bytes that the body has to have; None: it says nothing that counts (RFC 9112 6.3)."""
        if self.http_version < "HTTP/2" and self.get("transfer-encoding") is not None:
            return None
        stated = self.get("content-length") or ""
        return int(stated) if stated.isascii() and stated.isdecimal() else None

    @property
    def delimited(self) -> bool:
        """Whether the body says where it ends; otherwise the end of the connection does, and may
        be a cut."""
        if self.http_version >= "HTTP/2" or self.get("transfer-encoding") is not None:
            return True
        return self.body_length is not None

    def framing(self) -> tuple[int | None, bool]:
        """`body_length` and `delimited`."""
        length = self.body_length
        return length, length is not None or self.delimited

    def get(self, name: str) -> str | None:
        """The first value of `name`, which must be lower case."""
        first = self._first
        if first is None:
            first = dict(reversed(self.headers))
            object.__setattr__(self, "_first", first)
        return first.get(name)
