"""Completion scripts name everything there is and nothing that is hidden."""

import shutil
import subprocess

import pytest

from streamnursery.cli.completion import _quoted
from tests.support.cli import Command

SHELLS = ("bash", "zsh", "fish")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_and_flag_is_there(command: Command, shell: str) -> None:
    text = command("completion", shell).out
    for word in ("demo", "ask", "sim", "models", "config", "show", "doctor", "completion"):
        assert word in text
    for flag in ("max-tokens", "origin", "speed", "chaos"):
        assert flag in text
    assert "until-eof" not in text


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_reads_its_script(command: Command, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = command.write(f"completion.{shell}", command("completion", shell).out)
    check = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_a_quote_in_a_help_text_does_not_end_the_quoting() -> None:
    assert _quoted("it's a \\ sign") == r"'it\'s a \\ sign'"
