"""python docs/pictures/demo.py: README's picture, from a real run of the demo in a terminal.

The run is recorded through a pseudo-terminal; of the frames that the live table drew, the one in
the middle and what is printed at the end become docs/pictures/demo-light.svg and demo-dark.svg.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from io import StringIO
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console, Group
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
from rich.text import Text

FOLDER = Path(__file__).parent
COLUMNS, LINES = 100, 40
_REDRAW = re.compile(r"(?:\r?\x1b\[\d*[AK])+")
_MODES = re.compile(r"\x1b\[\?\d+[hl]")


def recorded(*words: str) -> str:
    """What a command writes to a terminal of this size."""
    child, ours = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(LINES))
        os.execv(sys.executable, [sys.executable, "-m", "streamnursery", *words])
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    told = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        told += part
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(told.decode())
    return told.decode()


def main() -> None:
    frames = [_MODES.sub("", frame) for frame in _REDRAW.split(recorded("demo"))]
    live = [frame for frame in frames if "gpt-4.1" in frame]
    middle, last = live[len(live) // 2], frames[-1]
    decoder = AnsiDecoder()
    shown = Group(
        Text("$ streamnursery demo", style="bold"),
        *decoder.decode(middle.replace("\r", "").rstrip()),
        Text(""),
        *list(decoder.decode(last.replace("\r", "").strip()))[-3:-1],
    )
    for name, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", DIMMED_MONOKAI)):
        console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
        console.print(shown)
        text = console.export_svg(title="", theme=theme, unique_id=f"demo-{name}")
        # A font of the reader's own: nothing is fetched.
        text = re.sub(r"@font-face \{.*?\}", "", text, flags=re.DOTALL)
        text = text.replace("Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas")
        (FOLDER / f"demo-{name}.svg").write_text(text)


if __name__ == "__main__":
    main()
