"""Lines of JSON (NDJSON): bytes to lines, in any pieces, each within a bound."""

from typing import Final

from streamnursery.values.errors import EngineError, TooLargeError

MAX_LINE: Final = 16 * 1024 * 1024


class JsonLines:
    """The lines of one body, without their ends. LF and CRLF end one; empty ones are left out."""

    def __init__(self, *, max_line: int = MAX_LINE) -> None:
        self.failure: EngineError | None = None
        self._max = max_line
        self._held = bytearray()

    @property
    def buffered(self) -> int:
        return len(self._held)

    def read(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        if self.failure is not None:
            return []
        first, *rest = data.split(b"\n")
        self._held += first
        if not rest:
            self._check(len(self._held))
            return []
        *whole, last = [bytes(self._held), *rest]
        self._held[:] = last
        found = []
        for line in whole:
            self._check(len(line))
            if self.failure is not None:
                return found
            if stripped := line.strip():
                found.append(stripped)
        self._check(len(last))
        return found

    def end(self) -> bytes:
        """The last line, if nothing ended it."""
        line = bytes(self._held).strip()
        self._held.clear()
        return line

    def _check(self, size: int) -> None:
        if size > self._max:
            msg = f"a line of the stream has more than {self._max:,} bytes"
            self.failure = TooLargeError(msg, status=200)
