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
from struct import unpack_from
from typing import Final
from zlib import crc32

import attrs

from streamnursery.values.errors import EngineError, MalformedChunkError, TooLargeError

MAX_HEADERS: Final = 128 * 1024
"""Bytes of one message's headers; the bound of AWS's own clients."""
MAX_PAYLOAD: Final = 16 * 1024 * 1024
_PRELUDE, _CHECKSUM = 12, 4
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type: true, false, byte, short, int, long, timestamp, uuid."""
_BYTES, _STRING = 6, 7


@attrs.frozen
class AwsMessage:
    """One message. Headers are those that are text."""

    headers: Mapping[str, str]
    payload: bytes


class AwsFrames:
    """Messages of one body."""

    def __init__(self, *, max_payload: int = MAX_PAYLOAD) -> None:
        self.failure: EngineError | None = None
        self._max = max_payload
        self._held = bytearray()
        self._total = 0
        """Of the message that is under way, once its prelude has come."""

    @property
    def buffered(self) -> int:
        return len(self._held)

    def read(self, data: bytes) -> list[AwsMessage]:
        """The messages that `data` completes."""
        messages: list[AwsMessage] = []
        if self.failure is not None:
            return messages
        self._held += data
        at = 0
        while self.failure is None and len(self._held) - at >= _PRELUDE:
            total, headers, checksum = unpack_from(">III", self._held, at)
            if not self._total:
                self._check_prelude(at, total, headers, checksum)
                if self.failure is not None:
                    break
                self._total = total
            if len(self._held) - at < total:
                break
            message = self._message(bytes(self._held[at : at + total]), headers)
            self._total = 0
            at += total
            if message is not None:
                messages.append(message)
        del self._held[:at]
        return messages

    def _check_prelude(self, at: int, total: int, headers: int, checksum: int) -> None:
        if crc32(self._held[at : at + 8]) != checksum:
            self.failure = _broken("the checksum of a message's lengths is wrong")
            return
        payload = total - headers - _PRELUDE - _CHECKSUM
        if payload < 0:
            self.failure = _broken("the headers of a message are longer than the message")
        elif headers > MAX_HEADERS or payload > self._max:
            msg = (
                f"a message of the stream has {headers:,} bytes of headers and {payload:,} of "
                f"payload; the bounds are {MAX_HEADERS:,} and {self._max:,}"
            )
            self.failure = TooLargeError(msg, status=200)

    def _message(self, data: bytes, headers: int) -> AwsMessage | None:
        (checksum,) = unpack_from(">I", data, len(data) - _CHECKSUM)
        if crc32(memoryview(data)[:-_CHECKSUM]) != checksum:
            self.failure = _broken("the checksum of a message is wrong")
            return None
        begin = _PRELUDE + headers
        found = _headers(data[_PRELUDE:begin])
        if found is None:
            self.failure = _broken("the headers of a message cannot be read")
            return None
        return AwsMessage(found, data[begin:-_CHECKSUM])


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
