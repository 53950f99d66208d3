"""One HTTP/2 stream, without I/O: a response that comes in and a body that goes out.

Rule 1: it never raises for what the peer does. What was found is in `head`, `complete` and
        `failure`, so that body bytes before a fault are not lost.
Rule 2: it ends once, complete or failed; what comes later changes nothing.
Rule 3: bytes count against the stream's window until they are consumed.
"""

from typing import Protocol

from streamnursery.transport.http2.frames import ErrorCode
from streamnursery.transport.http2.headers import (
    Fields,
    MalformedError,
    OversizedError,
    check_trailers,
    content_length,
    read_response,
)
from streamnursery.transport.http2.windows import ReceiveWindow
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineError,
    ProtocolError,
    RateLimitedError,
    TooLargeError,
)
from streamnursery.values.http import HttpHead

MAX_INFORMATIONAL = 8
MAX_TAKE = 80 * 1024
"""Bytes that are handed on at once: a read, and a frame that it completes."""
_MAX_PARTS = 256
_NO_CONTENT = (204, 304)


class StreamListener(Protocol):
    """What is called when there is news."""

    def on_news(self) -> None: ...


class Http2Stream:
    """Made by `Http2State.open`."""

    __slots__ = (
        "_expected",
        "_informational",
        "_method",
        "_parts",
        "_received_bytes",
        "_where",
        "complete",
        "failure",
        "head",
        "id",
        "owner",
        "racing",
        "received",
        "send_window",
        "unprocessed",
        "unsent",
        "window",
    )

    def __init__(
        self, stream_id: int, method: str, where: str, body: bytes, window: int, send_window: int
    ) -> None:
        self.id = stream_id
        self.head: HttpHead | None = None
        """The final head; informational ones are skipped."""
        self.failure: EngineError | None = None
        self.complete = False
        self.received = False
        """Something of an answer came."""
        self.unprocessed = False
        """It failed, and the peer says that it has done nothing with the request."""
        self.racing = False
        """It is the first one after a pause in which the connection may have died."""
        self.owner: StreamListener | None = None
        self.window = ReceiveWindow(window)
        self.send_window = send_window
        self.unsent = memoryview(body)
        self._method = method
        self._where = where
        self._parts: list[bytes] = []
        self._informational = 0
        self._expected: int | None = None
        self._received_bytes = 0

    @property
    def ended(self) -> bool:
        return self.complete or self.failure is not None

    @property
    def has_news(self) -> bool:
        """There are body bytes, or there will be none."""
        return bool(self._parts) or self.ended

    @property
    def has_body(self) -> bool:
        """There are body bytes that were not taken."""
        return bool(self._parts)

    @property
    def buffered(self) -> int:
        """How many."""
        return sum(map(len, self._parts))

    def take(self) -> bytes:
        """The next body bytes, `MAX_TAKE` of them at most; b"" if there are none."""
        parts = self._parts
        if not parts:
            return b""
        if len(parts) == 1 and len(parts[0]) <= MAX_TAKE:
            return parts.pop()
        data = b"".join(parts)
        # What is joined here again was left by a reader that was full: a window at the most.
        self._parts = [data[MAX_TAKE:]] if len(data) > MAX_TAKE else []
        return data[:MAX_TAKE]

    def forget_body(self) -> None:
        self._parts.clear()

    def fail(self, error: EngineError) -> None:
        if not self.ended:
            self.failure = error

    # Called by the state. -------------------------------------------------------------------

    def on_headers(self, raw: list[tuple[bytes, bytes]], *, end: bool) -> None:
        self.received = True
        try:
            if self.head is None:
                self._on_head(raw, end=end)
            elif not end:
                raise MalformedError("sent a second head")
            else:
                check_trailers(raw)
            if end and not self.ended:
                self._finish()
        except MalformedError as error:
            self.malformed(str(error))
        except OversizedError as error:
            self._too_large(str(error))

    def _on_head(self, raw: list[tuple[bytes, bytes]], *, end: bool) -> None:
        status, fields = read_response(raw)
        if status < 200:
            self._on_informational(status, end=end)
            return
        self._expected = self._body_length(status, fields)
        self.head = HttpHead(status, tuple(fields), "HTTP/2")

    def _body_length(self, status: int, fields: Fields) -> int | None:
        stated = content_length(fields)
        return 0 if self._method == "HEAD" or status in _NO_CONTENT else stated

    def _on_informational(self, status: int, *, end: bool) -> None:
        if status == 101 or end:
            msg = f"ended its answer with status {status}"
            raise MalformedError(msg)
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            self._too_large(
                f"final head did not come within {MAX_INFORMATIONAL} informational answers",
                retryable=True,
            )

    def on_body(self, data: bytes) -> bool:
        """Bytes of the body that are not its last. False, and nothing has happened, if there is
        something wrong with them."""
        window, size = self.window, len(data)
        received, expected = self._received_bytes + size, self._expected
        if self.head is None or size > window.available:
            return False
        if expected is not None and received > expected:
            return False
        window.available -= size
        self._received_bytes = received
        self._parts.append(data)
        if len(self._parts) > _MAX_PARTS:
            self._parts = [b"".join(self._parts)]
        return True

    def on_data(self, data: bytes, *, end: bool) -> None:
        if self.head is None:
            self.malformed("sent a body without a head")
            return
        if data:
            self._received_bytes += len(data)
            self._parts.append(data)
            if len(self._parts) > _MAX_PARTS:
                self._parts = [b"".join(self._parts)]
        expected = self._expected
        if expected is not None and self._received_bytes > expected:
            self.malformed(f"sent more than the {expected} bytes it announced")
        elif end:
            self._finish()

    def _finish(self) -> None:
        expected = self._expected
        if self.head is None:
            self.malformed("ended its answer before the head")
        elif expected is not None and self._received_bytes != expected:
            self.malformed(f"sent {self._received_bytes} of the {expected} bytes it announced")
        else:
            self.complete = True

    def reset(self, code: int, what: str, why: str) -> None:
        """The peer ended it early, with an error code; `why` in words."""
        message = f"{self._where} {what} ({why})"
        if code == ErrorCode.ENHANCE_YOUR_CALM:
            self.fail(RateLimitedError(f"{message}; it asks for fewer requests"))
        else:
            self.fail(ConnectionLostError(f"{message}; try again"))

    def malformed(self, what: str) -> None:
        self.fail(ProtocolError(f"{self._where} {what} over HTTP/2; try again"))

    def _too_large(self, what: str, *, retryable: bool = False) -> None:
        message = f"the answer of {self._where} was refused: its {what}"
        self.fail(TooLargeError(message, retryable=retryable))
