"""Writing to stdout and stderr, and what the terminal can do."""

import io
import os
import re
import select
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from streamnursery.cli.exits import CliError, Exit

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """`text` without what a terminal would obey: a provider's answer must not move its cursor."""
    return _CONTROL.sub("�", text)


def note(text: str) -> None:
    """A line for people."""
    print(printable(text), file=sys.stderr, flush=True)


def data(text: str) -> None:
    """Lines of the result; waits for a slow reader."""
    with writing():
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


@contextmanager
def writing() -> Iterator[None]:
    """Around a write to stdout: a full disk is the user's to fix."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        forget_stdout()
        raise CliError("stdout cannot be written", why, code=Exit.SOME_FAILED) from None


def forget_stdout() -> None:
    """After a write has failed: the interpreter flushes stdout once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def prepare_streams() -> None:
    """Make stdout and stderr writable, whatever they are: closed before we began (`>&-`), or in
    an encoding that lacks some letters."""
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def terminal_width() -> int:
    """Columns of the terminal on stdout, by itself or COLUMNS; plenty where there is none."""
    return max(20, shutil.get_terminal_size().columns) if is_terminal(sys.stdout) else 1000


def wrapped(text: str) -> str:
    """`text` broken between words at the width of the terminal."""
    return textwrap.fill(text, terminal_width())


def is_terminal(stream: TextIO | None) -> bool:
    """None is a stdin that was closed before we began."""
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


@contextmanager
def colourless(wanted: bool) -> Iterator[None]:
    """With `wanted`, no colour inside the block, here and in processes that begin there."""
    before = os.environ.get("NO_COLOR")
    if not wanted:
        yield
        return
    os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NO_COLOR"]
        else:
            os.environ["NO_COLOR"] = before


def complain(error: CliError, about: str = "") -> None:
    """Write an error to stderr."""
    text = "\n".join(map(printable, str(error).splitlines()))
    if about:
        text = text.replace("error: ", f"error: {printable(about)}: ", 1)
    if has_colour(sys.stderr):
        text = text.replace("error:", "\x1b[1;31merror:\x1b[0m", 1)
    print(text, file=sys.stderr, flush=True)


class Output:
    """stdout for text that comes in pieces while a trio loop must go on.

    A reader that is slow, such as a pager, holds back the writer alone.
    """

    def __init__(self) -> None:
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
            with writing():
                view = view[os.write(self._fd, view[: select.PIPE_BUF]) :]

    async def end_line(self) -> None:
        """Begin a new line unless one has just begun."""
        if not self.at_line_start:
            await self.write("\n")

    def end_line_now(self) -> None:
        """The same when the loop has ended."""
        if not self.at_line_start:
            with writing():
                os.write(self._fd, b"\n")
