"""Server-sent events from bytes, in whatever pieces the network brings them.

Follows the event stream rules of the HTML standard (9.2.6, "Interpreting an event stream").

Rule 1: the network's cuts never show: the same bytes give the same events however chunked.
Rule 2: a line ends at CR, LF or CRLF and nowhere else. A CR ends its line at once; an LF that
        opens the next read is then its second half.
Rule 3: text is decoded only once a line is whole, so a character cut in two needs no care.
Rule 4: time is linear: a byte is searched when it arrives and copied when its line or event
        ends, and not again. Memory is bounded by `max_line` + `max_event` + one read.
Rule 5: comments and unknown fields are lines like others: an endless comment is an endless line.
        A line of another language - a JSON text, a tag - is given on as a `StrayLine`.
Rule 6: the short way in `read` may only be taken where it cannot differ from `_by_line`.
"""

from typing import TypeAlias

import msgspec

from streamnursery.values.errors import TooLargeError
from streamnursery.wire.json_text import read_json

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event's data."""
MAX_LINE = MAX_EVENT + len("data: ")
"""Bytes of one line, its end not counted: an image may stand in one."""
MAX_STRAY = 64 * 1024
"""Bytes kept of lines that belong to no event stream; `MAX_EVENT` of a body that opens as JSON."""

_BOM = b"\xef\xbb\xbf"
_FIELDS = frozenset({b"data", b"event", b"id", b"retry"})
_RETRY_DIGITS = 15
_JSON_OPENS = (b"{", b"[")


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One event, as dispatched at its blank line."""

    data: bytes
    """Its data lines joined by LF, as sent: UTF-8, unchecked."""
    event: str = "message"
    id: str = ""
    """The last event id at the time of dispatch; it outlives the event that set it."""

    @property
    def text(self) -> str:
        """`data` as text; bytes that are not UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")


class StrayLine(msgspec.Struct, frozen=True, gc=False):
    """A line that no event stream has: a JSON text, alone or behind an unknown name, or a tag."""

    data: bytes


Record: TypeAlias = bytes | ServerSentEvent | StrayLine
"""What `SSEDecoder.read` gives: bare data stands for an event that has nothing else to say. Most
streams are made of those, and an object for each would be a tenth of the cost of a token."""


class SSEDecoder:
    """Bytes in, events out. A passed bound is kept as `failure`, after the events before it."""

    __slots__ = (
        "_at_start",
        "_clean",
        "_data",
        "_event",
        "_has_data",
        "_id",
        "_max_event",
        "_max_line",
        "_max_plain",
        "_skip_lf",
        "_stray",
        "_tail",
        "failure",
        "last_event_id",
        "retry_ms",
    )

    def __init__(
        self,
        *,
        last_event_id: str = "",
        max_line: int = MAX_LINE,
        max_event: int = MAX_EVENT,
    ) -> None:
        self.last_event_id = last_event_id
        """What a reconnect would send as Last-Event-ID."""
        self.retry_ms: int | None = None
        """Milliseconds the server asks a client to wait before it reconnects."""
        self.failure: TooLargeError | None = None
        """Set once a bound is passed; nothing is decoded after it."""
        self._max_line = max_line
        self._max_event = max_event
        self._max_plain = min(max_line, max_event)
        self._tail = bytearray()  # the line that has not ended
        self._data = bytearray()  # each data line of the open event, followed by LF
        self._has_data = False
        self._event = b""
        self._id = last_event_id
        self._at_start = True
        self._skip_lf = False
        self._stray = bytearray()
        self._clean = True
        """The short way may be taken; it leaves everything but `_tail` as it is."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes; often none, sometimes many."""
        # Bare data comes between events, where the last id is that of the whole read.
        return [
            record
            if isinstance(record, ServerSentEvent)
            else ServerSentEvent(record, "message", self.last_event_id)
            for record in self.read(chunk)
            if not isinstance(record, StrayLine)
        ]

    def read(self, chunk: bytes) -> list[Record]:
        """As `feed`, for those who care for the data of plain events alone."""
        if not self._clean:
            return self._by_line(chunk)
        # The short way, for `data: ...` + blank line, over and over, or the same with a name.
        # So many line ends for each record, and none left over, say that no line hides in one.
        whole, rest = chunk, b""
        if b"\r" in whole:
            return self._by_crlf(chunk)
        if not whole.endswith(b"\n\n"):
            end = whole.rfind(b"\n\n") + 2
            whole, rest = whole[:end], whole[end:]
            if end < 2 or b"\n" in rest or len(rest) > self._max_line:
                return self._by_line(chunk)
        if self._tail:
            whole = bytes(self._tail) + whole
        if len(whole) > self._max_plain or not whole.startswith(b"data: "):
            return self._by_name(chunk, whole, rest)
        records: list[Record] = whole[6:-2].split(b"\n\ndata: ")  # type: ignore[assignment]
        if whole.count(b"\n") != 2 * len(records):
            return self._by_line(chunk)
        self._at_start = False  # what begins with a field has no BOM
        if rest or self._tail:
            self._tail.clear()
            self._tail += rest
        return records

    def _by_crlf(self, chunk: bytes) -> list[Record]:
        """The short way where all lines end in CRLF (Google), or the long one. To replace them
        would cost more than all the rest."""
        whole = bytes(self._tail) + chunk if self._tail else chunk
        rest = b""
        if not whole.endswith(b"\r\n\r\n"):
            end = whole.rfind(b"\r\n\r\n") + 4
            whole, rest = whole[:end], whole[end:]
            if end < 4 or b"\n" in rest or b"\r" in rest or len(rest) > self._max_line:
                return self._by_line(chunk)
        if len(whole) > self._max_plain or not whole.startswith(b"data: "):
            return self._by_line(chunk)
        records: list[Record] = whole[6:-4].split(b"\r\n\r\ndata: ")  # type: ignore[assignment]
        # So many ends of lines in two bytes, and no other byte of one.
        ends = 2 * len(records)
        if whole.count(b"\n") != ends or whole.count(b"\r") != ends:
            return self._by_line(chunk)
        self._at_start = False
        if rest or self._tail:
            self._tail.clear()
            self._tail += rest
        return records

    def _by_name(self, chunk: bytes, whole: bytes, rest: bytes) -> list[Record]:
        """The short way for events with names, or the long one."""
        fits = whole.startswith(b"event: ") and len(whole) <= self._max_plain
        records = _named(whole, self._id) if fits else None
        if records is None:
            return self._by_line(chunk)
        self._at_start = False
        if rest or self._tail:
            self._tail.clear()
            self._tail += rest
        return records

    def _by_line(self, chunk: bytes) -> list[Record]:
        """The long way, which knows everything an event stream may hold."""
        records: list[Record] = []
        self._take(self._split(chunk), records)
        if len(self._tail) > self._max_line:
            self._fail("line", self._max_line)
        self._clean = self._between_events()
        return records

    def stray(self) -> bytes:
        """What came that is not an event stream, LF at line ends; at most 64 KiB and one line.

        A body that is not SSE at all comes back whole, its unfinished last line included.
        """
        tail = b"" if _is_field(self._tail) else bytes(self._tail)
        return bytes(self._stray) + tail

    def end(self) -> list[Record]:
        """The body ended cleanly: the event that its blank line was left out of, and what stands
        before it. By the standard it does not count; whether it does is the caller's affair."""
        records: list[Record] = []
        line = bytes(self._tail)
        self._tail.clear()
        self._take([line] if line else [], records)
        if self.failure is None:
            self._dispatch(records)
        return records

    @property
    def buffered(self) -> int:
        """Bytes kept of what has not come whole, and of what is not an event stream."""
        return len(self._tail) + len(self._data) + len(self._stray)

    @property
    def is_no_stream(self) -> bool:
        """More stray lines than any stream has, of a body that does not open as JSON."""
        opens_as_json = self._stray[:1] in _JSON_OPENS
        return len(self._stray) >= (self._max_event if opens_as_json else MAX_STRAY)

    def _between_events(self) -> bool:
        """Whether the next line is the first of its event and of no other."""
        return not (
            self._has_data
            or self._skip_lf
            or self._event
            or self._id != self.last_event_id
            or self.failure is not None
        )

    def _split(self, chunk: bytes) -> list[bytes]:
        """The lines that end in `chunk`; the rest waits in `_tail`."""
        if self.failure is not None or not chunk:
            return []
        if self._skip_lf:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        if b"\r" in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._tail:
            self._tail += lines[0]
            lines[0] = bytes(self._tail)
            self._tail.clear()
        self._tail += rest
        return lines

    def _take(self, lines: list[bytes], records: list[Record]) -> None:
        for line in lines:
            if self.failure is None and len(line) > self._max_line:
                self._fail("line", self._max_line)
            if self.failure is not None:
                return
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(_BOM)
            if line:
                self._take_field(line, records)
            else:
                self._dispatch(records)

    def _take_field(self, line: bytes, records: list[Record]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._take_data(value)
            case b"":
                pass  # a comment
            case b"event":
                self._event = value
            case b"id":
                if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
            case b"retry":
                digits = value.lstrip(b"0") or value[-1:]
                # More digits than that are longer than anyone lives, and int() has a limit.
                if value.isdigit() and len(digits) <= _RETRY_DIGITS:
                    self.retry_ms = int(digits)
            case _:
                bound = MAX_STRAY
                if self._stray[:1] in _JSON_OPENS or line.lstrip()[:1] in _JSON_OPENS:
                    bound = self._max_event  # it may be an answer that is not streamed
                self._stray += line[: bound - len(self._stray)]
                self._stray += b"\n"[: bound - len(self._stray)]
                if _is_foreign(line):
                    records.append(StrayLine(line))

    def _take_data(self, value: bytes) -> None:
        if len(self._data) + len(value) > self._max_event:
            self._fail("event", self._max_event)
            return
        self._data += value
        self._data += b"\n"
        self._has_data = True

    def _dispatch(self, records: list[Record]) -> None:
        self.last_event_id = self._id
        if self._has_data:
            name = self._event.decode("utf-8", "replace") or "message"
            records.append(ServerSentEvent(bytes(self._data[:-1]), name, self._id))
            self._data.clear()
            self._has_data = False
        self._event = b""

    def _fail(self, what: str, bound: int) -> None:
        self._tail.clear()
        self._data.clear()
        msg = (
            f"the provider sent a {what} of more than {bound:,} bytes in an event stream; if its "
            "answers may hold that, raise the endpoint's max_event_bytes"
        )
        self.failure = TooLargeError(msg, status=200)


def _named(whole: bytes, last_id: str) -> list[Record] | None:
    """The events of `whole`, if each is a line with its name and a line of data."""
    parts = whole[:-2].split(b"\n\n")
    if whole.count(b"\n") != 3 * len(parts):
        return None
    records: list[Record] = []
    known, name = b"", ""
    for part in parts:
        # One line end in each, and no more of them altogether: it is the one that is found here.
        head, between, data = part.partition(b"\ndata: ")
        if not between or not head.startswith(b"event: "):
            return None
        if head != known:
            known, name = head, head[7:].decode("utf-8", "replace") or "message"
        records.append(ServerSentEvent(data, name, last_id))
    return records


def _is_foreign(line: bytes) -> bool:
    """Whether a line with no name of ours is more than an unknown field, which is ignored
    (HTML 9.2.6)."""
    text = line.strip()
    if text[:1] in _JSON_OPENS:
        return text in (b"{", b"[") or text.startswith(b'{"') or read_json(text) is not None
    if text.startswith(b"<"):
        return True
    value = text.partition(b":")[2].lstrip()
    return value[:1] in _JSON_OPENS and read_json(value) is not None


def _is_field(line: bytearray) -> bool:
    """Whether an unfinished line is, or may become, one of an event stream."""
    name, colon, _ = bytes(line[:8]).removeprefix(_BOM).partition(b":")
    if colon or not name:
        return not name or name in _FIELDS
    return any(field.startswith(name) for field in (*_FIELDS, _BOM))
