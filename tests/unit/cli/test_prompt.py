"""Where the prompt comes from, and that stdin is left alone unless it is needed."""

import io
import sys

import pytest

from streamnursery.cli.exits import CliError
from streamnursery.cli.prompt import MAX_STDIN, read_prompt


class Unread(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError(size)


class Untouchable(io.TextIOWrapper):
    """A stdin that nobody may read."""

    def __init__(self) -> None:
        super().__init__(Unread())


class Terminal(io.TextIOWrapper):
    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data))

    def isatty(self) -> bool:
        return True


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_word_is_the_prompt_and_stdin_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Untouchable())
    assert read_prompt(["Why?"]) == "Why?"


def test_without_a_word_a_pipe_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"Warum?\n")
    assert read_prompt([]) == "Warum?\n"


@pytest.mark.parametrize("words", [["Sum this up:", "-"], ["-", "Sum this up:"]])
def test_a_dash_adds_stdin_to_the_word(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    piped(monkeypatch, b"a text")
    assert read_prompt(words) == "Sum this up:\n\na text"


def test_a_dash_alone_reads_even_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(b"typed"))
    assert read_prompt(["-"]) == "typed"


def test_a_byte_order_mark_is_not_part_of_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"\xef\xbb\xbfhello")
    assert read_prompt([]) == "hello"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no prompt was given"),
        (b" \n", "no prompt was given"),
        (b"\xff\xfe", "stdin is not UTF-8"),
        (b"x" * (MAX_STDIN + 1), "stdin is too long"),
    ],
    ids=["empty", "blank", "binary", "long"],
)
def test_what_cannot_be_a_prompt(monkeypatch: pytest.MonkeyPatch, data: bytes, what: str) -> None:
    piped(monkeypatch, data)
    with pytest.raises(CliError, match=what):
        read_prompt([])


def test_nothing_is_waited_for_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(CliError, match="no prompt was given"):
        read_prompt([])


def test_a_closed_stdin_holds_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert read_prompt(["Hi"]) == "Hi"
    with pytest.raises(CliError, match="no prompt was given"):
        read_prompt([])


@pytest.mark.parametrize("words", [[], ["-"], ["Why?", "-"]])
def test_stdin_may_be_forbidden(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Untouchable())
    with pytest.raises(CliError, match="no prompt was given") as caught:
        read_prompt(words, stdin=False)
    assert "--no-input" in str(caught.value)


def test_an_empty_word_is_no_prompt() -> None:
    with pytest.raises(CliError, match="the prompt is empty"):
        read_prompt([" "])


def test_several_words_want_quotes_and_are_not_repeated() -> None:
    with pytest.raises(CliError) as caught:
        read_prompt(["my", "secret", "words"])
    assert "quotes" in str(caught.value)
    assert "secret" not in str(caught.value)
