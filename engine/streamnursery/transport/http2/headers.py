"""Header fields of HTTP/2, both ways (RFC 9113 8.2 and 8.3).

Rule 1: what goes out has passed `check_request`, as over HTTP/1.1; here it is only spelled.
Rule 2: what comes in is looked at before anybody uses it: a malformed answer costs its stream.
Rule 3: credentials are never put into a compression table, here or at any hop (RFC 7541 7.1.3).
"""

import re
from collections.abc import Iterable

from hpack import Encoder
from hpack.hpack import encode_integer

from streamnursery.values.http import HttpRequest
from streamnursery.values.secret import Secret

MAX_FIELDS = 200
MAX_LIST = 64 * 1024
"""Bytes of an answer's header list, counted as RFC 9113 6.5.2 does."""
_FIELD_OVERHEAD = 32
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OF_CONNECTIONS = frozenset({
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

Fields = list[tuple[str, str]]


def request_block(request: HttpRequest, encoder: Encoder) -> bytes:
    """The header block of a request that passed `check_request`.

    The only place besides HTTP/1.1's that reveals a credential. It cannot fail: no traceback
    shows its locals. Secrets do not pass through `hpack`, which would log them.
    """
    fields: list[tuple[bytes, bytes]] = [
        (b":method", request.method.encode()),
        (b":scheme", b"https" if request.peer.origin.secure else b"http"),
        (b":authority", request.peer.origin.authority.encode()),
        (b":path", request.target.encode()),
        (b"accept-encoding", b"identity"),
    ]
    literals = b""
    for name, value in request.headers:
        key = name.lower().encode()
        if isinstance(value, Secret):
            literals += _never_indexed(key, value.reveal().encode("latin-1"))
        else:
            fields.append((key, value.encode("latin-1")))
    if request.body or request.method in _WITH_BODY:
        # Different every time: in the table it would only push others out.
        literals += _never_indexed(b"content-length", b"%d" % len(request.body))
    return encoder.encode(fields) + literals


def _never_indexed(name: bytes, value: bytes) -> bytes:
    """A literal field, neither indexed nor compressed (RFC 7541 6.2.3)."""
    return b"".join((b"\x10", _length(len(name)), name, _length(len(value)), value))


def _length(size: int) -> bytes:
    return bytes(encode_integer(size, 7))


class MalformedError(ValueError):
    """An answer that may not be used; the text completes a sentence about the peer."""


def read_response(raw: Iterable[tuple[bytes, bytes]]) -> tuple[int, Fields]:
    """Status and fields of a decoded header block.

    Raises:
        MalformedError: it is not that of a response.
    """
    fields = _read(raw)
    status = ""
    for count, (name, value) in enumerate(fields):
        if not name.startswith(":"):
            break
        if name != ":status" or count:
            msg = f"sent the pseudo-header {name[:40]!r} in an answer"
            raise MalformedError(msg)
        status = value
    if len(status) != 3 or not status.isdecimal() or status < "100":
        msg = f"sent status {status[:20]!r}"
        raise MalformedError(msg)
    del fields[0]
    _check(fields)
    return int(status), fields


def check_trailers(raw: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises `MalformedError`."""
    _check(_read(raw))


def _read(raw: Iterable[tuple[bytes, bytes]]) -> Fields:
    fields, size = [], 0
    for name, value in raw:
        size += len(name) + len(value) + _FIELD_OVERHEAD
        fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))
    if size > MAX_LIST:
        msg = f"header block is larger than {MAX_LIST:,} bytes"
        raise OversizedError(msg)
    if len(fields) > MAX_FIELDS:
        msg = f"header block has more than {MAX_FIELDS} fields"
        raise OversizedError(msg)
    return fields


class OversizedError(ValueError):
    """A header list beyond our bounds; the text completes a sentence that begins with "its"."""


def _check(fields: Fields) -> None:
    for name, value in fields:
        if not _NAME.fullmatch(name):
            msg = f"sent the header name {name[:40]!r}"
            raise MalformedError(msg)
        if name in _OF_CONNECTIONS:
            msg = f"sent the header {name!r}, which HTTP/2 forbids"
            raise MalformedError(msg)
        if not _VALUE.fullmatch(value):
            msg = f"sent control characters in the header {name!r}"
            raise MalformedError(msg)


def content_length(fields: Fields) -> int | None:
    """The length that the body must have, if the fields state it.

    Raises:
        MalformedError: they state nonsense, or two different lengths.
    """
    stated = {value for name, value in fields if name == "content-length"}
    if not stated:
        return None
    text = stated.pop()
    if stated or not text.isdecimal() or not text.isascii() or len(text) > 15:
        msg = f"sent content-length {text[:40]!r}"
        raise MalformedError(msg)
    return int(text)
