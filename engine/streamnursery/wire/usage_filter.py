"""Takes out of an event stream the one event that its reader has not asked for.

Rule 1: all other bytes pass as they came, whatever ends their lines, however they were cut.
Rule 2: what may still become that event is kept back, and so is a CR that may have an LF behind it.
Rule 3: a stream is searched once, and read as JSON only where the search has found something.
"""

import re
from collections.abc import Callable

from streamnursery.wire.sse import SSEDecoder

_BLANK_LINE = re.compile(rb"\r\n(?:\r\n|\n|\r)|\n(?:\r\n|\n|\r)|\r(?!\n)(?:\r\n|\n|\r)")


class UsageFilter:
    """Bytes in, bytes out."""

    def __init__(self, is_usage: Callable[[bytes], bool], sign: re.Pattern[bytes]) -> None:
        """`is_usage` is asked of the data of an event that `sign` was found in."""
        self._is_usage = is_usage
        self._sign = sign
        self._tail = bytearray()
        self._searched = 0
        """Bytes of the tail in which no event ends."""

    def feed(self, data: bytes) -> bytes:
        """What may be handed on now."""
        tail = self._tail
        tail += data
        end = self._last_end(max(0, self._searched - 3))
        self._searched = len(tail) - end
        if not end:
            return b""
        out = bytes(tail[:end])
        del tail[:end]
        return out if self._sign.search(out) is None else self._without(out)

    def rest(self) -> bytes:
        """Nothing more will come: what was kept back."""
        rest = bytes(self._tail)
        self._tail.clear()
        self._searched = 0
        return rest if self._sign.search(rest) is None else self._without(rest)

    def _last_end(self, start: int) -> int:
        """Where the last whole event of the tail ends, looked for from `start` on; 0: nowhere."""
        tail = self._tail
        if b"\r" not in tail:
            at = tail.rfind(b"\n\n", start)
            return at + 2 if at >= 0 else 0
        found = 0
        for match in _BLANK_LINE.finditer(tail, start):
            if match.end() < len(tail) or tail[-1:] == b"\n":
                found = match.end()
        return found

    def _without(self, out: bytes) -> bytes:
        kept, begin = [], 0
        ends = [match.end() for match in _BLANK_LINE.finditer(out)]
        for end in [*ends, len(out)]:
            event = out[begin:end]
            begin = end
            if self._sign.search(event) is None or not self._is_it(event):
                kept.append(event)
        return b"".join(kept)

    def _is_it(self, event: bytes) -> bool:
        decoder = SSEDecoder()
        found = [*decoder.feed(event), *decoder.feed(b"\n\n")]
        return len(found) == 1 and self._is_usage(found[0].data)
