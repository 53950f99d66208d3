"""HTTP/1.1 messages without I/O: what goes out, and what comes back (RFC 9110, 9112).

Rule 1: nothing is sent that could be read as another message: method, target, host, names and
        values are checked before the first byte leaves.
Rule 2: the parser knows syntax; whether a message *ended* is our own state, because llhttp has
        no end-of-file call and begins the next message without a word.
Rule 3: `ResponseReader` never raises. What it found is in `head`, `complete` and `failure`, so
        that body bytes before a fault are not lost and no traceback holds an answer.
Rule 4: everything the peer can repeat is bounded: the header block with its informational
        answers, chunk lines, trailers. Time is linear in what arrives.
"""

import re
from functools import lru_cache

import httptools

from streamnursery.values.errors import (
    ConnectionLostError,
    EngineError,
    ProtocolError,
    RequestError,
    TooLargeError,
    UnexpectedContentError,
)
from streamnursery.values.http import HttpHead, HttpRequest, check_header
from streamnursery.values.secret import Secret

MAX_HEAD = 64 * 1024
"""Bytes of a response's header block, informational answers before it included."""
MAX_HEADERS = 200
MAX_INFORMATIONAL = 8
MAX_FRAMING = 16 * 1024
"""Bytes without a byte of body: a chunk's size line with its extensions, or the trailers."""

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]*")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NO_CONTENT = (204, 304)
_VERSIONS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1"}


def check_request(request: HttpRequest) -> None:
    """Refuse a request that could not be sent as one message.

    Raises:
        RequestError: nothing was sent.
    """
    problem = _line_problem(request.method, request.target, request.peer.origin.authority)
    for name, value in request.headers[request.checked :]:
        problem = problem or check_header(name, value)
    if problem is not None:
        raise RequestError(problem)


@lru_cache(maxsize=256)
def _line_problem(method: str, target: str, authority: str) -> str | None:
    """Of what is the same in most requests."""
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        return f"{method[:40]!r} is not an HTTP method that can be sent"
    if not _TARGET.fullmatch(target):
        return (
            "the request target must begin with a slash and have no spaces, control characters, "
            "'#' or non-ASCII; percent-encode the path and query"
        )
    if not _AUTHORITY.fullmatch(authority):
        return "the host has characters that a Host header may not have"
    return None


def encode_head(request: HttpRequest) -> bytes:
    """The header block of a request that passed `check_request`.

    The only place that reveals a credential. It cannot fail: no traceback shows its locals.
    """
    lines = [
        f"{request.method} {request.target} HTTP/1.1",
        f"host: {request.peer.origin.authority}",
        # An answer that is not encoded needs no decoder, and a decoder can be bombed.
        "accept-encoding: identity",
    ]
    for name, value in request.headers:
        lines.append(f"{name}: {value.reveal() if isinstance(value, Secret) else value}")
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"content-length: {len(request.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


_NAMES: dict[str, str] = {}
"""Header names as they came, and in lower case: servers send the same ones with every answer."""
_MOST_NAMES, _LONGEST_NAME = 1024, 64
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [2-5][0-9][0-9][^\r\n]*\r\n")
_MOST_AT_ONCE = MAX_HEAD // 2


def _lower(name: str) -> str:
    lower = name.lower()
    if len(_NAMES) < _MOST_NAMES and len(name) <= _LONGEST_NAME:
        _NAMES[name] = lower
    return lower


def _fields_at_once(data: bytes) -> list[tuple[str, str]] | None:
    """The fields of a final head that stands whole and plain at the beginning of `data`, as the
    parser would give them one by one; None: let the parser do that. It parses them in any case."""
    line, end = _STATUS_LINE.match(data), data.find(b"\r\n\r\n")
    if line is None or not 0 <= end <= _MOST_AT_ONCE or line.end() > end:
        return None
    block = data[line.end() : end].decode("latin-1")
    lines = block.split("\r\n")
    breaks = len(lines) - 1
    if breaks >= MAX_HEADERS or block.count("\n") != breaks or block.count("\r") != breaks:
        return None
    fields = []
    for each in lines:
        name, colon, value = each.partition(":")
        lower = _NAMES.get(name)
        if lower is None:
            if not colon or not _METHOD.fullmatch(name):  # a folded line, for one
                return None
            lower = _lower(name)
        fields.append((lower, value.strip(" \t")))
    return fields


class _StopError(Exception):
    """Raised in a callback so that the parser reads no further; what to make of it is set."""


class ResponseReader:
    """Reads the one response to one request from whatever bytes it is fed."""

    __slots__ = (
        "_at_once",
        "_framing_bytes",
        "_header_bytes",
        "_headers",
        "_informational",
        "_method",
        "_parser",
        "_parts",
        "_until_fin",
        "_where",
        "complete",
        "failure",
        "head",
        "on_body",
        "on_header",
        "received",
        "reusable",
    )

    def __init__(self, method: str, where: str) -> None:
        self.head: HttpHead | None = None
        """The final head; informational ones are skipped."""
        self.failure: EngineError | None = None
        self.complete = False
        """The message ended, with the evidence its framing asks for."""
        self.reusable = False
        """The connection may carry another message: set with `complete`, revoked by excess."""
        self.received = False
        """At least one byte came."""
        self._method = method
        self._where = where
        self._headers: list[tuple[str, str]] = []
        self._at_once: list[tuple[str, str]] | None = None
        """The fields of the head, where the parser need not tell them."""
        self._header_bytes = 0
        self._informational = 0
        self._framing_bytes = 0
        self._until_fin = False
        self._parts: list[bytes] = []
        self.on_body = self._parts.append
        self._parser: httptools.HttpResponseParser | None = None
        """Made when the first bytes have come; None once it is needed no more."""

    @property
    def ended(self) -> bool:
        return self.complete or self.failure is not None

    @property
    def has_news(self) -> bool:
        """There are body bytes, or there will be none."""
        return self.ended or bool(self._parts)

    def take(self) -> bytes:
        """The body bytes since the last call."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return data

    def forget_headers(self) -> None:
        """They are not asked for, but for what the pool wants to know at the end."""
        if self.head is not None and len(self.head.headers) > 1:
            keep_alive = self.head.get("keep-alive")
            kept = () if keep_alive is None else (("keep-alive", keep_alive),)
            self.head = HttpHead(self.head.status, kept, self.head.http_version)
            self._headers = []

    def skip_body(self) -> None:
        """Take the head for the whole message: nothing of the body is wanted."""
        self._parts.clear()
        self.complete, self.reusable = True, False
        self._parser = None

    def feed(self, data: bytes) -> None:
        """Take one read, which is not empty."""
        if not self.received and not self.complete and self.failure is None:
            self._begin_parsing(data)
        self.received = True
        if self._parser is None:
            self.reusable = False
            return
        head, parts = self.head, len(self._parts)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _StopError):
                raise error.__context__ or error from None  # KeyboardInterrupt, for one
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broken(str(error))
        if self.head is not head or len(self._parts) > parts:
            self._framing_bytes = 0
        else:
            self._count_framing(len(data))
        if self.complete or self.failure is not None:
            # Callbacks and parser hold each other: let go, or the collector has to find them.
            self._parser = None

    def _begin_parsing(self, data: bytes) -> None:
        self._at_once = _fields_at_once(data)
        if self._at_once is None:
            self.on_header = self._on_header
        self._parser = httptools.HttpResponseParser(self)
        if self._at_once is None:
            del self.on_header  # the parser has it: held here too, only the collector would end it

    def feed_eof(self) -> None:
        """FIN: the end of a body that nothing else delimits, and a loss otherwise."""
        if self._until_fin and not self.ended:
            self.complete = True
            self._parser = None
        elif not self.received:
            self.lose("closed the connection without an answer")
        else:
            self.lose("closed the connection in the middle of the answer")

    def lose(self, what: str, cause: BaseException | None = None) -> None:
        """The connection broke; `what` completes a sentence about the peer."""
        error = ConnectionLostError(f"{self._where} {what}; try again")
        error.__cause__ = cause
        self.fail(error)

    def fail(self, error: EngineError) -> None:
        """End the message with `error`, unless it has ended already."""
        self.reusable = False
        if not self.ended:
            self.failure = error
        self._parser = None

    def _broken(self, reason: str) -> None:
        """Bytes that are not a message; after a whole one they only cost the connection."""
        message = f"{self._where} did not answer in HTTP/1.1: {reason}; check the endpoint's url"
        self.fail(ProtocolError(message))

    def _count_framing(self, size: int) -> None:
        self._framing_bytes += size
        if self.head is None:
            if self._framing_bytes > MAX_HEAD:
                self._too_large(f"header block is larger than {MAX_HEAD:,} bytes")
        elif self._framing_bytes > MAX_FRAMING:
            self._too_large(f"chunk line or trailers are larger than {MAX_FRAMING:,} bytes")

    def _too_large(self, what: str, *, retryable: bool = False) -> None:
        message = f"the answer of {self._where} was refused: its {what}"
        self.fail(TooLargeError(message, retryable=retryable))

    # Called by the parser. ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False
            raise _StopError
        self._headers = []

    def _on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # a trailer
        self._header_bytes += len(name) + len(value) + 4
        text = name.decode("latin-1")
        lower = _NAMES.get(text) or _lower(text)
        self._headers.append((lower, value.decode("latin-1").strip(" \t")))
        if self._header_bytes > MAX_HEAD:
            self._too_large(f"header block is larger than {MAX_HEAD:,} bytes")
            raise _StopError
        if len(self._headers) > MAX_HEADERS:
            self._too_large(f"header block has more than {MAX_HEADERS} fields")
            raise _StopError

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._count_informational(status)
            return
        version = self._parser.get_http_version()
        if version not in _VERSIONS or status < 100:
            self._broken(f"status {status}, version {version}")
            raise _StopError
        fields, self._at_once = self._at_once, None
        head = HttpHead(
            status, tuple(self._headers if fields is None else fields), _VERSIONS[version]
        )
        self._begin_body(head, head.get("transfer-encoding"), head.get("content-length"))
        self.head = head
        if self._has_no_body(status):
            self.complete = True
            # For a tunnel this means: the connection is what it was before.
            self.reusable = self._method == "CONNECT"
            raise _StopError

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self.head is not None:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _has_no_body(self, status: int) -> bool:
        return self._method == "HEAD" or (self._method == "CONNECT" and 200 <= status < 300)

    def _begin_body(self, head: HttpHead, coding: str | None, length: str | None) -> None:
        """Fix how the body ends. llhttp has refused Content-Length beside Transfer-Encoding,
        and more than one Content-Length."""
        codings = []
        if coding is not None:
            for name, value in head.headers:  # no comprehension, which is a call
                if name == "transfer-encoding":
                    codings.append(value.lower())
        if codings and (codings != ["chunked"] or head.http_version == "HTTP/1.0"):
            self.fail(
                UnexpectedContentError(
                    f"{self._where} answered with transfer-encoding {coding!r:.60}, "
                    "which was not asked for; only 'chunked' is read"
                )
            )
            raise _StopError
        self._until_fin = not codings and length is None and head.status not in _NO_CONTENT

    def _count_informational(self, status: int) -> None:
        if status == 101:
            self.fail(
                UnexpectedContentError(f"{self._where} switched protocols without being asked")
            )
            raise _StopError
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            # Retryable: the same server may be sane again, and nothing of it was used.
            self._too_large(
                f"final head did not come within {MAX_INFORMATIONAL} informational answers",
                retryable=True,
            )
            raise _StopError
