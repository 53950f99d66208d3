"""What a relay takes and hands on: a path, headers, the head of an answer.

Rule 1: a path is a path and a query. Whatever could lead to another server, out of the endpoint's
        base URL or into another header is a mistake of the caller's.
Rule 2: headers of the connection stay where they are (RFC 9110 7.6.1), those that `Connection`
        names among them.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import msgspec

from streamnursery.values.errors import RequestError
from streamnursery.values.http import RESERVED
from streamnursery.values.secret import Secret

_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?\[\]|]*")
MAX_PATH = 8192

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_HOP_BY_HOP = RESERVED | {"proxy-authenticate", "trailers", "host"}
_OF_THE_ANSWER = _HOP_BY_HOP - {"content-length"}

SHARED_HEADERS = frozenset({
    "accept",
    "content-type",
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
})
"""How the body is to be read: for every endpoint. All others may be secrets, and stay with the
endpoint that they were meant for."""


class RelayHead(msgspec.Struct, frozen=True):
    """The head of the answer that is handed on; the first item of a relay's channel."""

    status: int
    headers: tuple[tuple[str, str], ...]


def relay_path(path: object) -> tuple[str, str]:
    """A relay's path and its query, without the question mark.

    Raises:
        RequestError: it is more, or less, than that.
    """
    problem = _problem(path)
    if problem is not None:
        msg = f"a relay's path is a path and a query below the endpoint's base URL; this {problem}"
        raise RequestError(msg)
    assert isinstance(path, str)
    below, _, query = path.partition("?")
    return below, query


def _problem(path: object) -> str | None:
    if not isinstance(path, str):
        return f"is a {type(path).__name__}"
    below, _, query = path.partition("?")
    if len(path) > MAX_PATH:
        return f"has {len(path)} characters, and {MAX_PATH} are possible"
    if not below.startswith("/"):
        return "does not begin with a slash; a scheme and a host are the endpoint's"
    if "//" in below or "\\" in path:
        return "has a host, or an empty segment"
    if not _PATH.fullmatch(below) or not _QUERY.fullmatch(query):
        return "has characters that belong percent-encoded, such as blanks, line breaks or '#'"
    decoded = unquote(unquote(below)).replace("\\", "/")
    if any(segment in (".", "..") for segment in decoded.split("/")):
        return "has '.' or '..' as a segment"
    if any(character < " " for character in unquote(path)):
        return "has control characters"
    return None


def forwarded(headers: Mapping[str, str | Secret]) -> dict[str, str | Secret]:
    """Those of a request's headers that go on to a server, in lower case.

    Raises:
        RequestError: they are not a mapping of texts.
    """
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping, not a {type(headers).__name__}"
        raise RequestError(msg)
    lower = {str(name).lower(): value for name, value in headers.items()}
    named = _named(value for name, value in lower.items() if name == "connection")
    return {k: v for k, v in lower.items() if k not in _HOP_BY_HOP and k not in named}


def handed_on(
    headers: Iterable[tuple[str, str]], *, changed: bool = False
) -> tuple[tuple[str, str], ...]:
    """Those of an answer's headers that go on to the caller; `changed`: not its length."""
    listed = tuple(headers)
    named = _named(value for name, value in listed if name == "connection")
    dropped = _HOP_BY_HOP if changed else _OF_THE_ANSWER
    return tuple(pair for pair in listed if pair[0] not in dropped and pair[0] not in named)


def _named(connection: Iterable[str | Secret]) -> set[str]:
    texts = [value for value in connection if isinstance(value, str)]
    return {name.strip().lower() for text in texts for name in text.split(",")}
