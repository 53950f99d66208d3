"""What the peer allows (RFC 9113 6.5.2)."""

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import ErrorCode, broken

MAX_TABLE = 4096
"""Bytes of a header table that we keep for the peer, whatever it allows."""


class PeerSettings:
    """The settings in force; RFC 9113's until the peer has sent its own."""

    def __init__(self) -> None:
        self.max_streams = frames.MAX_STREAM_ID
        """No bound, as far as there is one."""
        self.window = frames.DEFAULT_WINDOW
        """Bytes of a request's body that may be sent ahead on a new stream."""
        self.header_table = MAX_TABLE

    def take(self, payload: bytes) -> int:
        """Put a SETTINGS frame into force; by how much it moves the windows of streams that run.

        Raises:
            BrokenRuleError: it says what no setting may be.
        """
        before = self.window
        for setting, value in frames.read_settings(payload):
            self._set(setting, value)
        return self.window - before

    def _set(self, setting: int, value: int) -> None:
        match setting:
            case frames.HEADER_TABLE_SIZE:
                self.header_table = min(value, MAX_TABLE)
            case frames.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            case frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    broken("sent an impossible window", ErrorCode.FLOW_CONTROL_ERROR)
                self.window = value
            case frames.MAX_FRAME_SIZE:
                if not frames.MAX_FRAME <= value < 1 << 24:
                    broken(f"wants frames of {value} bytes")
                # Not made use of: large frames would let one body hold up the others.
            case frames.ENABLE_PUSH:
                if value:
                    broken("wants to be pushed to")
            case _:
                pass
