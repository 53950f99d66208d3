"""What a peer says with GOAWAY (RFC 9113 6.8)."""

import re

import attrs

from streamnursery.transport.http2.frames import ErrorCode, code_name, read_goaway

_MAX_WORDS = 80
_SHOWN = re.compile(r"[^\x20-\x7e]")


@attrs.frozen
class Goodbye:
    """The last one counts: a peer that closes in order says it twice."""

    last_id: int
    code: int
    words: str
    """Its debug data, as far as they can be shown."""
    left: bool
    """Streams were open that it had not looked at."""

    @classmethod
    def read(cls, payload: bytes, newest: int) -> "Goodbye":
        """`newest`: number of the newest open stream, 0 if none is.

        Raises:
            BrokenRuleError: it is no such frame.
        """
        last_id, code = read_goaway(payload)
        words = _SHOWN.sub("?", payload[8 : 8 + _MAX_WORDS].decode("latin-1"))
        return cls(last_id, code, words, newest > last_id)

    @property
    def taken(self) -> int | None:
        """Streams of the connection that it looked at; None where that was all of them."""
        return (self.last_id + 1) // 2 if self.left else None

    @property
    def calm(self) -> bool:
        """It asks for less of something."""
        return self.code == ErrorCode.ENHANCE_YOUR_CALM

    @property
    def why(self) -> str:
        """In words; the debug data only of one that asks for calm, where they say of what."""
        name = code_name(self.code)
        return f"{name}: {self.words}" if self.calm and self.words else name
