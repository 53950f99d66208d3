"""Counts frames of a WebSocket that carry nothing: pings, pongs, and empty pieces of messages.

The protocol's parser takes 10 us for each and reports no empty piece, so a peer could keep
the whole program at work with two bytes a frame. HTTP/2 has the same guard (`http2/windows.py`).
"""

from streamnursery.transport.http2.windows import FloodGuard

_HEAD_END = b"\r\n\r\n"
_ACCEPTED = b"HTTP/1.1 101"
_CONTROL = 0x08
"""Set in the opcodes of control frames (RFC 6455 5.2)."""


class FrameCount:
    """Reads along what a client receives, the answer to its handshake included."""

    def __init__(self) -> None:
        self._guard = FloodGuard()
        self._open = False
        self._head = bytearray()
        """Of the HTTP answer, then of the frame that has begun."""
        self._skip = 0
        """Bytes of payload that are still to come."""

    def floods(self, data: bytes, now: float) -> bool:
        """Whether what arrives is over the bound. `now` is in seconds."""
        if not self._open:
            data = self._after_head(data)
        at, size = 0, len(data)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                at += step
                self._skip -= step
                continue
            self._head.append(data[at])
            at += 1
            if self._frame_begins() and not self._counts(now):
                return True
        return False

    def _after_head(self, data: bytes) -> bytes:
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            return b""
        rest = bytes(self._head[end + len(_HEAD_END) :])
        self._open = True
        # What follows a refusal is a body, and no frames.
        accepted = self._head.startswith(_ACCEPTED)
        self._head.clear()
        return rest if accepted else b""

    def _frame_begins(self) -> bool:
        """Whether the head of a frame is whole. A server's frames have no mask (RFC 6455 5.1)."""
        head = self._head
        if len(head) < 2:
            return False
        extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        return len(head) == 2 + extended

    def _counts(self, now: float) -> bool:
        head = self._head
        length = head[1] & 0x7F if len(head) == 2 else int.from_bytes(head[2:], "big")
        control = head[0] & _CONTROL
        self._head.clear()
        self._skip = length
        if control or not length:
            return not self._guard.strain(now)
        self._guard.restore()
        return True
