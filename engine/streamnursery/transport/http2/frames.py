"""HTTP/2 frames: how their bytes are laid out (RFC 9113 4 and 6), and nothing of what they mean."""

from enum import IntEnum
from struct import Struct
from typing import NoReturn

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE = 9
MAX_FRAME = 16 * 1024
"""Bytes of payload that either side may send unless the other one has allowed more."""
MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
MAX_STREAM_ID = 2**31 - 1

# Kinds. Plain numbers: they are looked at for every frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

# Flags.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

FRAME_HEAD = Struct(">HBBBI")
"""Length in two parts, kind, flags, stream."""
PLAIN_HEAD = Struct(">BHHI")
"""The same bytes in other parts: length, kind and flags, stream. Of DATA without flags and of a
usual size all are zero but the lower part of the length and the stream."""
_WORD = Struct(">I")
_SETTING = Struct(">HI")
_GOAWAY = Struct(">II")


class ErrorCode(IntEnum):
    """Why a stream or a connection ended (RFC 9113 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def code_name(code: int) -> str:
    """For people: the code's name, or its number if it is none of ours."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error {code}"


class BrokenRuleError(Exception):
    """The peer broke the protocol; the connection cannot go on. Never leaves the state."""

    def __init__(self, code: ErrorCode, what: str, *, large: bool) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        """Completes a sentence about the peer."""
        self.large = large
        """It is a matter of size."""


def broken(
    what: str, code: ErrorCode = ErrorCode.PROTOCOL_ERROR, *, large: bool = False
) -> NoReturn:
    raise BrokenRuleError(code, what, large=large)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(increment))


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def goaway(last_id: int, code: int) -> bytes:
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_id, code))


def header_frames(stream_id: int, block: bytes, *, end: bool, max_frame: int) -> bytes:
    """A header block as HEADERS and as many CONTINUATIONs as it needs."""
    flags = END_STREAM if end else 0
    if len(block) <= max_frame:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    pieces = [block[at : at + max_frame] for at in range(0, len(block), max_frame)]
    parts = [frame(HEADERS, flags, stream_id, pieces[0])]
    parts += [frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    parts.append(frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1]))
    return b"".join(parts)


# Reading payloads. ----------------------------------------------------------------------------


def read_word(payload: bytes, name: str) -> int:
    if len(payload) != 4:
        broken(f"sent a {name} of {len(payload)} bytes", ErrorCode.FRAME_SIZE_ERROR)
    return int(_WORD.unpack(payload)[0])


def read_goaway(payload: bytes) -> tuple[int, int]:
    """Last stream and code."""
    if len(payload) < 8:
        broken(f"sent a GOAWAY of {len(payload)} bytes", ErrorCode.FRAME_SIZE_ERROR)
    last_id, code = _GOAWAY.unpack_from(payload)
    return last_id & MAX_STREAM_ID, code


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    if len(payload) % 6:
        broken(f"sent SETTINGS of {len(payload)} bytes", ErrorCode.FRAME_SIZE_ERROR)
    return list(_SETTING.iter_unpack(payload))


def without_padding(payload: bytes, flags: int, name: str) -> bytes:
    """What a DATA or HEADERS frame carries between its padding's length and its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        broken(f"sent {name} with more padding than there is room for")
    return payload[1 : len(payload) - payload[0]]
