"""Writing to stdout and stderr, and what the terminal can do."""

import os
import re
import select
import shutil
import sys
import textwrap
from typing import TextIO

from engine.cli.exits import CliError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """`text` without what a terminal would obey: whoever answers us may not move its cursor."""
    return _CONTROL.sub("�", text)


def note(text: str) -> None:
    """A line for people."""
    stream = sys.stderr
    if stream is not None:
        print(printable(text), file=stream, flush=True)


def data(text: str) -> None:
    """Lines of the result; waits for a slow reader."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def wrapped(text: str) -> str:
    """`text` broken between words where stdout is a terminal, by its width or COLUMNS."""
    if not is_terminal(sys.stdout):
        return text
    return textwrap.fill(text, max(20, shutil.get_terminal_size().columns))


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def can_redraw(stream: TextIO | None) -> bool:
    """Whether a live screen makes sense there: a terminal that moves its cursor, not a CI log."""
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    return is_terminal(stream) and not dumb and not os.environ.get("CI")


def has_colour(stream: TextIO | None) -> bool:
    """By NO_COLOR and FORCE_COLOR (no-color.org, force-color.org), TERM and the stream."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown")


def complain(error: CliError, about: str = "") -> None:
    """Write an error to stderr, below whatever the command has said before."""
    if sys.stderr is None:
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    text = "\n".join(map(printable, str(error).splitlines()))
    if about:
        text = text.replace("error: ", f"error: {printable(about)}: ", 1)
    if has_colour(sys.stderr):
        text = text.replace("error:", "\x1b[1;31merror:\x1b[0m", 1)
    print(text, file=sys.stderr, flush=True)


class Output:
    """stdout for text that comes in pieces while a trio loop must go on.

    A reader that is slow, such as a pager, holds back the writer and nobody else.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._fd = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "utf-8"
        self._terminal = is_terminal(sys.stdout)
        self.at_line_start = True

    async def write(self, text: str) -> None:
        """Write `text`; on a terminal without its control characters.

        Raises:
            BrokenPipeError: the reader went away.
        """
        import trio

        if not text:
            return
        self.at_line_start = text.endswith("\n")
        shown = printable(text) if self._terminal else text
        view = memoryview(shown.encode(self._encoding, "replace"))
        while view:
            # Asked first: epoll refuses regular files, which never block.
            if not select.select([], [self._fd], [], 0)[1]:
                await trio.lowlevel.wait_writable(self._fd)
            view = view[os.write(self._fd, view[: select.PIPE_BUF]) :]

    async def end_line(self) -> None:
        """Begin a new line unless one has just begun."""
        if not self.at_line_start:
            await self.write("\n")

    def end_line_now(self) -> None:
        """The same when the loop has ended."""
        if not self.at_line_start:
            os.write(self._fd, b"\n")
