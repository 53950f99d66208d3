"""Completion scripts name everything there is and nothing that is hidden."""

import shutil
import subprocess
import sys

import pytest
import shtab

from streamnursery.cli.exits import Exit
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


def test_fish_completes_files_where_a_flag_names_one(command: Command) -> None:
    lines = command("completion", "fish").out.splitlines()
    configs = [line for line in lines if "-l config " in line]
    assert configs
    assert all("__fish_complete_path" in line for line in configs)


@pytest.mark.parametrize("shell", SHELLS)
def test_without_shtab_there_is_none_and_the_step_to_take_is_said(
    command: Command, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    ran = command("completion", shell)
    assert ran.code == Exit.USAGE
    assert "shtab, which is not installed" in ran.err
    assert 'pip install "shtab>=1.10"' in ran.err


def test_a_shtab_that_does_not_know_the_shell_is_called_too_old(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(shtab._SUPPORTED_COMPLETERS, "fish")
    ran = command("completion", "fish")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert f"shtab {shtab.__version__} is too old" in ran.err
