"""What a terminal can do, and what may be written to it."""

import io
import os
import sys

import pytest
import trio

from streamnursery.cli.console import (
    Output,
    can_redraw,
    data,
    has_colour,
    note,
    prepare_streams,
    printable,
    terminal_width,
    wrapped,
)
from streamnursery.cli.exits import CliError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable("a\x1b[2J\x07\x9b\rb\tc\n") == "a�[2J��\ufffdb\tc\n"


@pytest.mark.parametrize(
    ("name", "value", "terminal", "coloured"),
    [
        ("TERM", "xterm", True, True),
        ("TERM", "xterm", False, False),
        ("TERM", "dumb", True, False),
        ("NO_COLOR", "1", True, False),
        ("NO_COLOR", "", True, True),
        ("FORCE_COLOR", "1", False, True),
        ("FORCE_COLOR", "0", False, False),
    ],
)
def test_colour_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, terminal: bool, coloured: bool
) -> None:
    monkeypatch.setenv(name, value)
    assert has_colour(Terminal() if terminal else io.StringIO()) is coloured


def test_no_colour_wins_over_forced_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not has_colour(Terminal())


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("CI", "true")])
def test_a_live_screen_wants_a_terminal_that_moves_its_cursor(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert can_redraw(Terminal())
    assert not can_redraw(io.StringIO())
    assert not can_redraw(None)
    monkeypatch.setenv(name, value)
    assert not can_redraw(Terminal())


def test_text_is_broken_at_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "eleven words that are to be broken into lines of twenty"
    assert wrapped(text) == text
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "24")
    assert terminal_width() == 24
    assert max(map(len, wrapped(text).splitlines())) <= 24


def test_streams_that_were_closed_are_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    opened = sys.stdout, sys.stderr
    data("nowhere")
    note("nowhere")
    for stream in opened:
        stream.close()


def test_letters_that_the_encoding_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        prepare_streams()
        data("blå")
        assert raw.getvalue() == b"bl?\n"
        monkeypatch.undo()


class Pipe:
    """A pipe in the place of stdout."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reader, writer = os.pipe()
        self.stdout = io.TextIOWrapper(io.FileIO(writer, "w"), encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", self.stdout)

    def close(self) -> None:
        self.stdout.close()
        os.close(self.reader)


async def test_a_slow_reader_holds_back_its_writer_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe = Pipe(monkeypatch)
    text = "x" * 300_000 + "ü\n"
    written = trio.Event()
    received = bytearray()

    async def write() -> None:
        output = Output()
        await output.write(text)
        assert output.at_line_start
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert not written.is_set()
        while len(received) < len(text.encode()):
            await trio.lowlevel.wait_readable(pipe.reader)
            received += os.read(pipe.reader, 65536)
    assert received.decode() == text
    pipe.close()


async def test_a_reader_that_went_away_is_a_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(monkeypatch)
    os.close(pipe.reader)
    with pytest.raises(BrokenPipeError):
        await Output().write("text")
    monkeypatch.undo()
    pipe.stdout.close()


def test_a_full_disk_is_the_user_s_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(CliError, match="stdout cannot be written"):
            data("text")
        monkeypatch.undo()


async def test_a_line_is_ended_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    del monkeypatch
    output = Output()
    await output.end_line()
    await output.write("text")
    await output.end_line()
    output.end_line_now()
    await output.write("more")
    output.end_line_now()
    assert capfd.readouterr().out == "text\nmore\n"
