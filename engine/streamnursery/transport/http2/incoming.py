"""Bytes into frames, and frames into header blocks. Linear in what arrives, and bounded.

Rule 1: a frame is handed on when it is whole. Until then it is not looked at again.
Rule 2: bodies are most of what comes, in frames that need no thought. A sweep takes those that
        follow on one another at once, put together by stream; all others come one at a time.
Rule 3: nothing may come between the frames of a header block, whose size is bounded before and
        after it is unpacked. A decoder that stopped in the middle is of no use any more, so a
        block beyond these bounds costs the connection.
"""

from collections.abc import Container

from hpack import Decoder, HPACKError, OversizedHeaderListError

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import HEAD_SIZE, MAX_FRAME, ErrorCode, broken
from streamnursery.transport.http2.headers import MAX_LIST

MAX_BLOCK = 2 * MAX_LIST
"""Bytes of a packed header block; and twice as many unpacked. Those over `MAX_LIST` that are
within these bounds cost only their stream."""
MAX_CONTINUATIONS = 64


class FrameReader:
    """Cuts reads into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = HEAD_SIZE
        self._data = b""
        self._at = 0

    def put(self, data: bytes) -> int:
        """Take a read, once all frames before it were fetched; how many bytes can be looked at."""
        rest = self._rest
        if rest:
            if len(rest) + len(data) < self._needed:
                rest += data
                data = b""
            else:
                data = b"".join((rest, data))
                rest.clear()
        self._data, self._at = data, 0
        return len(data)

    def sweep(self, streams: Container[int]) -> dict[int, list[bytes]]:
        """The payloads of the DATA frames that come next, by stream: as far as they are whole,
        neither empty nor too large, have no flags, and belong to `streams`."""
        found: dict[int, list[bytes]] = {}
        data, at = self._data, self._at
        size, unpack = len(data), frames.PLAIN_HEAD.unpack_from
        last_id, payloads = -1, list[bytes]()  # of the frame before
        while size - at > HEAD_SIZE:
            high, length, what, stream_id = unpack(data, at)
            if what or high or not 0 < length <= MAX_FRAME:
                break
            start = at + HEAD_SIZE
            end = start + length
            if end > size:
                break
            if stream_id != last_id:
                last_id, known = stream_id, found.get(stream_id)
                if known is None and stream_id not in streams:
                    break
                payloads = found[stream_id] = known or []
            payloads.append(data[start:end])
            at = end
        self._at = at
        return found

    def fetch(self) -> tuple[int, int, int, bytes] | None:
        """Kind, flags, stream and payload of the next frame, if it is whole.

        Raises:
            BrokenRuleError: it is larger than we allow.
        """
        data, at = self._data, self._at
        size = len(data) - at
        if not size:
            self._data, self._at = b"", 0  # an idle connection keeps no answer's text
            return None
        needed = HEAD_SIZE
        if size >= HEAD_SIZE:
            high, low, kind, flags, stream_id = frames.FRAME_HEAD.unpack_from(data, at)
            needed += high << 8 | low
            if needed > MAX_FRAME + HEAD_SIZE:
                broken(f"sent a frame of {needed:,} bytes", ErrorCode.FRAME_SIZE_ERROR)
            if needed <= size:
                self._at = end = at + needed
                payload = data[at + HEAD_SIZE : end]
                return kind, flags, stream_id & frames.MAX_STREAM_ID, payload
        self._rest += data[at:]
        self._data, self._at, self._needed = b"", 0, needed
        return None


class HeaderBlocks:
    """Joins and unpacks the header blocks of a connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=2 * MAX_BLOCK)
        self._parts: list[bytes] = []
        self._size = 0
        self.stream_id = 0
        """Whose block is being read; 0: none is."""
        self.ends_stream = False

    def begin(self, stream_id: int, flags: int, payload: bytes) -> None:
        block = frames.without_padding(payload, flags, "HEADERS")
        if flags & frames.WITH_PRIORITY:
            if len(block) < 5:
                broken("sent HEADERS without their priority", ErrorCode.FRAME_SIZE_ERROR)
            block = block[5:]
        self.stream_id = stream_id
        self.ends_stream = bool(flags & frames.END_STREAM)
        self._parts, self._size = [block], len(block)

    def go_on(self, payload: bytes) -> None:
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > MAX_BLOCK or len(self._parts) > MAX_CONTINUATIONS:
            broken("sent a header block without end", ErrorCode.ENHANCE_YOUR_CALM, large=True)

    def end(self) -> list[tuple[bytes, bytes]]:
        """The fields. Has to be called for every block, since later ones build on it."""
        self.stream_id = 0
        block = b"".join(self._parts)
        self._parts = []
        try:
            return list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            what = "sent a header block that unpacks without end"
            broken(what, ErrorCode.ENHANCE_YOUR_CALM, large=True)
        except (HPACKError, IndexError, TypeError, ValueError):
            broken("sent a header block that cannot be unpacked", ErrorCode.COMPRESSION_ERROR)
