"""AWS event stream encoding (`application/vnd.amazon.eventstream`): bytes to messages, in pieces.

A message is: total length and length of the headers (each 4 bytes, big endian), the CRC-32 of
these eight, the headers, the payload, and the CRC-32 of all before it. A header is a byte for the
length of its name, the name, a byte for its type and its value
(https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html).

Rule 1: the lengths are believed once their own checksum is right, and nothing of a message before
        that of the whole is.
Rule 2: nothing is raised. A failure is kept, after the messages before it.
"""

from collections.abc import Mapping
from struct import Struct, unpack_from
from typing import Final, NamedTuple
from zlib import crc32

from streamnursery.values.errors import EngineError, MalformedChunkError, TooLargeError

MAX_HEADERS: Final = 128 * 1024
"""Bytes of one message's headers; the bound of AWS's own clients."""
MAX_PAYLOAD: Final = 16 * 1024 * 1024
_PRELUDE, _AROUND = 12, 16
"""Bytes before the headers, and of all that is neither headers nor payload."""
_LENGTHS, _CHECKSUM = Struct(">III").unpack_from, Struct(">I").unpack_from
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type: true, false, byte, short, int, long, timestamp, uuid."""
_BYTES, _STRING = 6, 7
_KINDS = 32
"""Kinds of messages whose headers are kept."""


class AwsMessage(NamedTuple):
    """One message. Headers are those that are text."""

    headers: Mapping[str, str]
    payload: bytes


class AwsFrames:
    """Messages of one body."""

    def __init__(self, *, max_payload: int = MAX_PAYLOAD) -> None:
        self.failure: EngineError | None = None
        self._max = max_payload
        self._held: list[bytes] = []
        """Pieces of the message that is under way."""
        self.buffered = 0
        """Bytes of them."""
        self._needed = _PRELUDE
        """Bytes with which there is something to read."""
        self._known: dict[bytes, dict[str, str]] = {}
        """Headers that were read before: an answer has a few kinds of messages."""

    def read(self, data: bytes) -> list[AwsMessage]:
        """The messages that `data` completes."""
        messages: list[AwsMessage] = []
        if self.failure is not None:
            return messages
        if self._held:
            self._held.append(data)
            self.buffered += len(data)
            if self.buffered < self._needed:
                return messages
            data = b"".join(self._held)
        self._hold(data[self._read_all(data, messages) :])
        return messages

    def _hold(self, rest: bytes) -> None:
        self._held = [rest] if rest else []
        self.buffered = len(rest)

    def _read_all(self, data: bytes, messages: list[AwsMessage]) -> int:
        """Read the whole messages of `data`; where the rest begins."""
        at, size, self._needed = 0, len(data), _PRELUDE
        while size - at >= _PRELUDE:
            total, headers, checksum = _LENGTHS(data, at)
            if crc32(data[at : at + 8]) != checksum:
                self.failure = _broken("the checksum of a message's lengths is wrong")
            elif not 0 <= total - headers - _AROUND <= self._max or headers > MAX_HEADERS:
                self.failure = self._beyond(total, headers)
            end = at + total
            if self.failure is not None or end > size:
                self._needed = total
                break
            begin = at + _PRELUDE + headers
            told = data[at + _PRELUDE : begin]
            known = self._known.get(told)
            if crc32(data[at : end - 4]) != _CHECKSUM(data, end - 4)[0]:
                self.failure = _broken("the checksum of a message is wrong")
                break
            if known is None and (known := self._learn(told)) is None:
                break
            messages.append(AwsMessage(known, data[begin : end - 4]))
            at = end
        return at

    def _learn(self, told: bytes) -> dict[str, str] | None:
        found = _headers(told)
        if found is None:
            self.failure = _broken("the headers of a message cannot be read")
        elif len(self._known) < _KINDS:
            self._known[told] = found
        return found

    def _beyond(self, total: int, headers: int) -> EngineError:
        payload = total - headers - _AROUND
        if payload < 0:
            return _broken("the headers of a message are longer than the message")
        msg = (
            f"a message of the stream has {headers:,} bytes of headers and {payload:,} of payload; "
            f"the bounds are {MAX_HEADERS:,} and {self._max:,}"
        )
        return TooLargeError(msg, status=200)


def _headers(data: bytes) -> dict[str, str] | None:
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        named = at + 1 + data[at]
        if named >= len(data):
            return None
        name, kind = data[at + 1 : named].decode("utf-8", "replace"), data[named]
        at = named + 1
        if kind in (_BYTES, _STRING):
            if at + 2 > len(data):
                return None
            (size,) = unpack_from(">H", data, at)
            at += 2
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            return None
        if at + size > len(data):
            return None
        if kind == _STRING:
            found[name] = data[at : at + size].decode("utf-8", "replace")
        at += size
    return found


def _broken(what: str) -> MalformedChunkError:
    return MalformedChunkError(f"{what}: the bytes were changed on their way", status=200)
