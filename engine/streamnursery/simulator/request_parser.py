"""Requests out of bytes, with h11 as the parser."""

import attrs
import h11

MAX_HEAD = 64 * 1024
"""Bytes of a request's head; beyond it 431."""


class ClientGoneError(Exception):
    """The client has left, or sent nothing for too long."""


class RefusedError(Exception):
    """What came is no request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen
class RequestHead:
    """A request line and its headers; names are lower case."""

    method: str
    target: str = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    version: str = "1.1"

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live on (RFC 9112 9.3)."""
        options = ",".join(value for name, value in self.headers if name == "connection")
        closes = "close" in {option.strip().lower() for option in options.split(",")}
        return self.version == "1.1" and not closes and self.method != "CONNECT"


class RequestParser:
    """Fed with bytes, it gives one message after the other.

    `head` and `body` return None when more bytes are needed, and raise `RefusedError` for
    bytes that are no request and `ClientGoneError` after the client's end.
    """

    def __init__(self) -> None:
        self._parser = self._new()
        self._ended = False

    @staticmethod
    def _new() -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def feed(self, data: bytes) -> None:
        """Take one read; b"" is the client's end."""
        self._ended = not data
        self._parser.receive_data(data)

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
        return RequestHead(
            event.method.decode("ascii"),
            event.target.decode("latin-1"),
            tuple(pairs),
            event.http_version.decode("ascii"),
        )

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
