"""The command line as a whole: verbs, help, exit codes, what is imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamnursery import __version__
from streamnursery.cli.entry import build_parser
from streamnursery.cli.exits import Exit
from tests.support.cli import ROOT, Command

VERBS = ("demo", "ask", "sim", "bench", "grade", "models", "config", "doctor", "completion")
INNER = ("config show", "config check", "config init")
HEAVY = ("trio", "httpx", "msgspec", "rich", "attrs", "ssl", "asyncio", "shtab", "trustme")


@pytest.mark.parametrize("flag", ["--help", "--version", "ask --help", "demo --help"])
def test_help_and_version_import_nothing_heavy(flag: str) -> None:
    code = (
        "import sys; from streamnursery.cli import main; main(sys.argv[1:]); "
        f"print(sorted(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *flag.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"
    assert done.stdout


def test_the_version_is_the_package_s(command: Command) -> None:
    assert command("--version").out == f"streamnursery {__version__}\n"


def test_without_words_it_shows_its_help(command: Command) -> None:
    ran = command()
    assert ran.code == 0
    assert ran.out == command("--help").out == command("-h").out


def test_the_help_names_every_verb_and_every_exit_code(command: Command) -> None:
    text = command("--help").out
    assert [verb for verb in VERBS if not re.search(rf"^    {verb}\b", text, re.MULTILINE)] == []
    told = [int(number) for number in re.findall(r"^  (\d+) ", text, re.MULTILINE)]
    assert told == [int(code) for code in Exit]


@pytest.mark.parametrize("verb", ["", *VERBS, *INNER])
def test_every_help_begins_with_an_example(command: Command, verb: str) -> None:
    ran = command(*verb.split(), "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"  streamnursery {verb}".rstrip())


@pytest.mark.parametrize("verb", ["", *VERBS, *INNER])
def test_every_help_names_a_command_to_try_next(command: Command, verb: str) -> None:
    text = command(*verb.split(), "--help").out
    assert "streamnursery" in text.splitlines()[-1]


@pytest.mark.parametrize(("verb", "meant"), [("dmeo", "demo"), ("modles", "models"), ("a", "")])
def test_a_misspelt_verb_is_no_prompt(command: Command, verb: str, meant: str) -> None:
    ran = command(verb)
    assert ran.code == Exit.USAGE
    if meant:
        assert f"did you mean {meant}?" in ran.err
        assert f"streamnursery ask {verb}" in ran.err


def test_a_misspelt_verb_is_seen_before_its_words_are(command: Command) -> None:
    ran = command("aks", "Why is the sky blue?")
    assert ran.code == Exit.USAGE
    assert "did you mean ask?" in ran.err
    assert "sky" not in ran.err


@pytest.mark.parametrize("word", ["help", "version"])
def test_what_is_a_verb_elsewhere_leads_to_the_flag(command: Command, word: str) -> None:
    assert f"did you mean --{word}?" in command(word).err


def test_a_sentence_without_a_verb_is_asked(command: Command) -> None:
    ran = command("Why is the sky blue?", "-m", "sim/fast")
    assert ran.code == 0
    assert ran.out == command("ask", "Why is the sky blue?", "-m", "sim/fast").out


def test_flags_without_a_verb_belong_to_ask(command: Command) -> None:
    assert command("-m", "sim/fast", "Hi there").code == 0


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("demo", "--steams", "3"), "--streams"),
        (("ask", "Hi", "--modle", "x"), "--model"),
        (("sim", "--prot=3"), "--port"),
        (("config", "show", "--orgin"), "--origin"),
    ],
)
def test_a_misspelt_flag_is_named_with_the_one_that_was_meant(
    command: Command, words: tuple[str, ...], meant: str
) -> None:
    ran = command(*words)
    assert ran.code == Exit.USAGE
    assert f"did you mean {meant}?" in ran.err


def test_the_value_of_an_unknown_flag_is_not_repeated(command: Command) -> None:
    ran = command("ask", "Hi", "--api-key=sk-very-secret")
    assert ran.code == Exit.USAGE
    assert "--api-key" in ran.err
    assert "sk-very-secret" not in ran.err


def test_a_renamed_flag_names_the_new_one(command: Command) -> None:
    ran = command("grade", "--at-once", "2")
    assert ran.code == Exit.USAGE
    assert "it was renamed: write --parallel" in ran.err


def test_flags_may_not_be_abbreviated(command: Command) -> None:
    assert "unknown flag --max" in command("ask", "Hi", "-m", "sim/fast", "--max", "3").err


@pytest.mark.parametrize(
    "words",
    [
        ("ask", "Hi", "--max-tokens", "0"),
        ("ask", "Hi", "--max-tokens", "many"),
        ("ask", "Hi", "--temperature", "nan"),
        ("ask", "Hi", "--timeout", "-1"),
        ("ask", "Hi", "--timeout", "inf"),
        ("ask", "Hi", "--json", "--jsonl"),
        ("ask", "Hi", "-q", "-v"),
        ("ask", "Hi", "-m"),
        ("ask", "Hi", "there"),
        ("sim", "--port", "65536"),
        ("sim", "--speed", "0"),
        ("demo", "--streams", "1.5"),
        ("demo", "--limit", "gpt-4.1"),
        ("demo", "--limit", "gpt-4.1=0"),
        ("demo", "--limit", "gpt-4=1"),
        ("demo", "more", "words"),
        ("config",),
        ("config", "shw"),
        ("completion",),
        ("completion", "tcsh"),
        ("models", "--config", "/does/not/exist"),
    ],
    ids=" ".join,
)
def test_a_mistake_in_the_words_is_told_in_three_lines(
    command: Command, words: tuple[str, ...]
) -> None:
    ran = command(*words)
    assert ran.code == Exit.USAGE
    assert ran.out == ""
    assert re.fullmatch(r"error: .+\n(why:   .+\n)?next:  .+\n", ran.err)


def test_errors_are_red_only_where_somebody_wants_colour(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in command("dmeo").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31merror:" in command("dmeo").err
    assert "\x1b" not in command("dmeo", "--no-color").err
    assert "NO_COLOR" not in os.environ
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in command("dmeo").err
    assert "\x1b" not in command("dmeo", "--no-color").err
    assert os.environ["NO_COLOR"] == "1"


def test_words_cannot_write_to_the_terminal(command: Command) -> None:
    assert "\x1b" not in command("dem\x1b[2Jo").err


@pytest.mark.parametrize("where", [ROOT / "pyproject.toml"])
def test_the_script_that_is_installed_is_this_one(where: Path) -> None:
    assert 'streamnursery = "streamnursery.cli:main"' in where.read_text()


def test_no_flag_takes_a_key(command: Command) -> None:
    del command
    flags = re.findall(r"--[a-z-]+", build_parser().format_help())
    assert [flag for flag in flags if "key" in flag or "token" in flag] == []


@pytest.mark.parametrize("word", ["explain", "hello", "Hi!", "tell"])
def test_a_word_that_is_no_verb_is_not_sent_to_a_model(
    command: Command, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ran = command(word)
    assert ran.code == Exit.USAGE
    assert f"no such verb: {word}" in ran.err
    assert f"streamnursery ask {word}" in ran.err


def test_a_choice_names_its_flag_and_its_values(command: Command) -> None:
    ran = command("route", "--budget", "tiny")
    assert "--budget: tiny is none of its values" in ran.err
    assert "low, normal, high" in ran.err
