"""Requests out of bytes, with h11 as the parser.

What two parsers could read as different messages is refused (RFC 9112 5.2, 6.1, 11.2): folded
headers, a bare CR or LF in the head, Content-Length together with Transfer-Encoding, a
Transfer-Encoding that is not `chunked` alone or comes with HTTP/1.0, differing Content-Lengths,
spaces before a colon, and chunk sizes that are not hexadecimal digits.
"""

import re

import h11

from streamnursery.serving.head import ClientGoneError, RefusedError, RequestHead

MAX_HEAD = 64 * 1024
"""Bytes of a request's head; beyond it 431."""


_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")


class RequestParser:
    """Fed with bytes, it gives one message after the other.

    `head` and `body` return None when more bytes are needed, and raise `RefusedError` for
    bytes that are not a request and `ClientGoneError` after the client's end.
    """

    def __init__(self) -> None:
        self._parser = self._new()
        self._ended = False
        self._raw: bytearray | None = bytearray()
        """What came while the head was not complete."""

    @staticmethod
    def _new() -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def feed(self, data: bytes) -> None:
        """Take one read; b"" is the client's end."""
        self._ended = not data
        if self._raw is not None:
            self._raw += data
        self._parser.receive_data(data)

    @property
    def begun(self) -> bool:
        """A byte of the head has come."""
        return bool(self._raw)

    @property
    def wants_continue(self) -> bool:
        """The client waits for a 100 before it sends the body (RFC 9110 10.1.1)."""
        return self._parser.they_are_waiting_for_100_continue

    def head(self) -> RequestHead | None:
        event = self._next()
        if event is None:
            return None
        if not isinstance(event, h11.Request):
            raise ClientGoneError
        pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
        head = RequestHead(
            event.method.decode("ascii"),
            event.target.decode("latin-1"),
            tuple(pairs),
            event.http_version.decode("ascii"),
        )
        self._refuse_ambiguous(head)
        return head

    def _refuse_ambiguous(self, head: RequestHead) -> None:
        raw, self._raw = bytes(self._raw or b""), None
        text = raw[: raw.find(b"\r\n\r\n") + 4] if b"\r\n\r\n" in raw else raw
        if _BARE.search(text):
            raise RefusedError(400, "a line of the head ends in a bare CR or LF")
        if _FOLDED.search(text):
            raise RefusedError(400, "a header is folded over two lines")
        names = {name for name, _ in head.headers}
        if "transfer-encoding" in names and ("content-length" in names or head.version == "1.0"):
            msg = "Transfer-Encoding with Content-Length or in HTTP/1.0 is ambiguous"
            raise RefusedError(400, msg)

    def body(self) -> bytes | None:
        """The next bytes of the body; b"" after the last ones."""
        event = self._next()
        while isinstance(event, h11.Data) and not event.data:
            event = self._next()
        if event is None:
            return None
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return b""
        raise ClientGoneError

    def rest(self) -> bytes:
        """What came behind a request that is the last one of its connection."""
        return bytes(self._parser.trailing_data[0])

    def next_message(self) -> None:
        """This message is done with; the bytes after it begin another one."""
        rest, ended = self._parser.trailing_data
        self._parser = self._new()
        self._raw = bytearray()
        if rest:
            self.feed(rest)
        if ended:
            self.feed(b"")

    def _next(self) -> h11.Event | None:
        try:
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            if self._ended:
                raise ClientGoneError from None
            raise RefusedError(error.error_status_hint, str(error)) from None
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise ClientGoneError
        return event
