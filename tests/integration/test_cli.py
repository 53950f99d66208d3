"""The command as its users meet it: in a process of its own, with pipes, signals and servers."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.cli import empty_world, run, start
from tests.support.guard import GUARD, guarded

STUCK = "sim/fast?respond.text=one two three four&stall=2"
"""Says two words and then nothing."""


@contextlib.contextmanager
def simulator(folder: Path, *flags: str) -> Iterator[dict[str, str]]:
    """`streamnursery sim`, and the environment that leads to it."""
    with start(folder, "sim", "--port", "0", "--json", *flags) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            yield {"OPENAI_BASE_URL": told["url"], "CA": told["ca_file"] or ""}
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=GUARD)
    assert process.returncode == 128 + signal.SIGINT


def read_until(stream: IO[str], text: str) -> str:
    """What comes up to and with `text`."""
    read = ""
    while text not in read:
        piece = stream.read(1)
        assert piece, f"it ended after {read!r}"
        read += piece
    return read


def test_a_prompt_comes_through_a_pipe(tmp_path: Path) -> None:
    ran = run(tmp_path, "ask", "-m", "sim/fast", "--max-tokens", "3", "-q", stdin="Why?\n")
    assert (ran.code, len(ran.out.split()), ran.err) == (0, 3, "")


def test_an_open_pipe_that_nobody_writes_to_does_not_block_a_prompt(tmp_path: Path) -> None:
    with start(tmp_path, "ask", "Hi", "-m", "sim/fast", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read().endswith("\n")
        assert process.wait(GUARD) == 0


def test_an_empty_stdin_is_no_prompt_and_no_traceback(tmp_path: Path) -> None:
    ran = run(tmp_path, "ask", "-m", "sim/fast", stdin="", CI="true")
    assert ran.code == 2
    assert ran.err.startswith("error: no prompt was given")


@pytest.mark.parametrize("words", [("ask",), ("ask", "--json")])
def test_ctrl_c_ends_an_answer_cleanly(tmp_path: Path, words: tuple[str, ...]) -> None:
    with start(tmp_path, *words, "Hi", "-m", STUCK, "-m", "sim/fast?stall=0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if "--json" not in words:
            read_until(process.stdout, "one two")
        else:
            wait_until_ready(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert f"interrupted: {STUCK} had not finished" in err
    assert "Traceback" not in err
    if "--json" in words:
        answers = json.loads(out)["answers"]
        assert [answer["error"]["category"] for answer in answers] == ["cancelled"] * 2


def wait_until_ready(process: "subprocess.Popen[str]") -> None:
    """Until its own handler of SIGINT is in place: the kernel shows what a process catches."""
    before = -1
    while True:
        status = Path(f"/proc/{process.pid}/task/{process.pid}/status").read_text()
        caught = int(re.findall(r"^SigCgt:\s+([0-9a-f]+)", status, re.MULTILINE)[0], 16)
        # SIGTERM is caught by nobody but the handler we wait for.
        if caught & 1 << (signal.SIGTERM - 1):
            return
        assert process.poll() is None, before


LONG_CLEANING = """
import sys, trio
from streamnursery.cli.signals import run_trio

async def work():
    try:
        print("working", flush=True)
        await trio.sleep_forever()
    finally:
        print("cleaning", flush=True)
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

sys.exit(run_trio(work))
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_the_cleaning(
    tmp_path: Path, signum: signal.Signals
) -> None:
    begun = subprocess.Popen(
        [sys.executable, "-c", LONG_CLEANING],
        env=empty_world(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with guarded(begun) as process:
        assert process.stdout is not None
        read_until(process.stdout, "working\n")
        process.send_signal(signum)
        read_until(process.stdout, "cleaning\n")
        assert process.poll() is None
        process.send_signal(signum)
        _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 128 + signum
    assert err == ""


def test_sigterm_gives_its_own_code(tmp_path: Path) -> None:
    with start(tmp_path, "ask", "Hi", "-m", STUCK) as process:
        assert process.stdout is not None
        read_until(process.stdout, "one two")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 143
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_not_talked_about(tmp_path: Path) -> None:
    with start(tmp_path, "ask", "Hi", "-m", "sim/gemini-2.5-flash") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(GUARD) == 141


def test_any_openai_url_can_be_asked(tmp_path: Path) -> None:
    with simulator(tmp_path, "--speed", "50") as there:
        ran = run(tmp_path, "ask", "Hi", "-m", "gpt-4.1", "-v", **there)
        unknown = run(tmp_path, "ask", "Hi", "-m", "gpt-5.9", **there)
        found = run(tmp_path, "doctor", **there)
    assert ran.code == 0
    assert ran.out.strip()
    assert "openai/gpt-4.1" in ran.err
    assert unknown.code == 4
    assert "Did you mean 'gpt-4.1'?" in unknown.err
    assert found.code == 0
    assert "reachable" in found.out


def test_any_responses_url_can_be_asked_over_a_websocket(tmp_path: Path) -> None:
    with simulator(tmp_path, "--speed", "50") as there:
        there |= {
            "STREAMNURSERY_ENDPOINTS_OPENAI_DIALECT": "openai-responses",
            "STREAMNURSERY_ENDPOINTS_OPENAI_HEARTBEAT_INTERVAL": "30",
        }
        ran = run(tmp_path, "ask", "Hi", "-m", "gpt-4.1", "--ws", "-v", **there)
        unknown = run(tmp_path, "ask", "Hi", "-m", "gpt-5.9", "--ws", **there)
        found = run(tmp_path, "doctor", **there)
    assert ran.code == 0
    assert ran.out.strip()
    assert "resp_sim-" in ran.err
    assert unknown.code == 4
    assert found.code == 0
    assert "answers a ping in" in found.out
    assert "asked every 30 s when idle" in found.out


def test_a_simulator_takes_profiles_and_scripts(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"mine": {"output_tokens": [2, 2]}}')
    (tmp_path / "s.json").write_text(
        '{"rules": [{"when": {"requests": [2]}, "script": "crlf"}, '
        '{"when": {"requests": [3]}, "script": [{"status": {"code": 401}}]}]}'
    )
    flags = ("--profile", "p.json", "--script", "s.json")
    with simulator(tmp_path, *flags) as there:
        runs = [run(tmp_path, "ask", "Hi", "-m", "mine", **there) for _ in range(3)]
    assert [ran.code for ran in runs] == [0, 0, 4]
    assert [len(ran.out.split()) for ran in runs] == [2, 2, 0]


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("flags", "http", "code"),
    [
        (("--tls", "--http2"), "2", 0),
        (("--tls",), "2", 4),
        (("--http2",), "h2c", 0),
        ((), "h2c", 4),
    ],
)
def test_a_simulator_speaks_http2_when_it_is_told_to(
    tmp_path: Path, flags: tuple[str, ...], http: str, code: int
) -> None:
    with simulator(tmp_path, *flags) as there:
        (tmp_path / "c.toml").write_text(
            f'[endpoints.main]\nurl = "{there["OPENAI_BASE_URL"]}"\nhttp = "{http}"\n'
            f'ca_file = "{there.get("CA") or ""}"\n[models.fast]\n'
            'routes = [{ endpoint = "main" }]\nretries = { attempts = 1 }\n'
        )
        ran = run(tmp_path, "ask", "Hi", "-m", "fast", "--config", "c.toml")
    assert ran.code == code, ran.err
    assert bool(ran.out.strip()) is not bool(code)


def test_a_simulator_speaks_tls_under_an_authority_of_its_own(tmp_path: Path) -> None:
    with simulator(tmp_path, "--tls") as there:
        untrusted = run(tmp_path, "ask", "Hi", "-m", "sim/fast", "-m", "fast", **there)
        trusted = run(
            tmp_path,
            "ask",
            "Hi",
            "-m",
            "fast",
            **there,
            STREAMNURSERY_ENDPOINTS_OPENAI_CA_FILE=there["CA"],
        )
        assert Path(there["CA"]).exists()
    assert untrusted.code == 1
    assert "is not trusted" in untrusted.err
    assert trusted.code == 0
    assert not Path(there["CA"]).exists()


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--script", "bad.json"), "bad.json cannot be used"),
        (("--profile", "absent.json"), "absent.json cannot be read"),
        (("--host", "192.0.2.1"), "cannot listen at 192.0.2.1"),
        (("--host", "no such host"), "cannot listen at no such host"),
    ],
)
def test_a_simulator_that_cannot_start_says_why(
    tmp_path: Path, flags: tuple[str, ...], what: str
) -> None:
    (tmp_path / "bad.json").write_text('{"rules": [{"script": [{"ctu": 3}]}]}')
    ran = run(tmp_path, "sim", "--port", "0", *flags)
    assert ran.code == 2
    assert what in ran.err
    assert "Traceback" not in ran.err


def test_the_snippet_of_the_simulator_is_python(tmp_path: Path) -> None:
    with start(tmp_path, "sim", "--port", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        said = read_until(process.stderr, "flush=True)\n")
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=GUARD)
    snippet = said[said.index("from openai") :]
    compile(snippet, "snippet", "exec")
    assert url in snippet
    assert "0 requests were answered" in rest
    assert process.returncode == 143


def test_the_demo_ends_with_every_answer_whole_and_right(tmp_path: Path) -> None:
    ran = run(tmp_path, "demo", "--speed", "40", "--streams", "40", "--limit", "gpt-4.1=2")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split()[:4] == ["model", "peak/limit", "done", "failed"]
    assert lines[1].split()[:4] == ["gpt-4.1", "2/2", "10", "0"]
    assert lines[5].split()[:4] == ["all", "10/10", "40", "0"]
    assert "40 of 40 answers complete" in ran.out
    assert "40 of them match the text" in ran.out
    assert "streamnursery demo --big" in ran.err


def test_the_demo_s_chaos_loses_nothing(tmp_path: Path) -> None:
    words = ("--chaos", "--speed", "40", "--streams", "40", "--json")
    ran = run(tmp_path, "demo", *words)
    figures = json.loads(ran.out)
    assert ran.code == 0
    assert (figures["done"], figures["failed"], figures["different"]) == (40, 0, 0)
    assert figures["models"]["all"]["retries"] > 0


def test_ctrl_c_ends_the_demo_with_what_was_done(tmp_path: Path) -> None:
    with start(tmp_path, "demo", "--speed", "0.5") as process:
        assert process.stderr is not None
        read_until(process.stderr, "in flight")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert "were not finished" in out
    assert "Traceback" not in err


def test_the_demo_s_simulator_ends_with_the_demo_however_that_ends(tmp_path: Path) -> None:
    with start(tmp_path, "demo", "--speed", "0.5") as process:
        assert process.stderr is not None
        read_until(process.stderr, "in flight")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        handle = os.pidfd_open(int(children[0]))
        process.kill()
        process.wait(GUARD)
    # Readable once that process has ended.
    ended, _, _ = select.select([handle], [], [], GUARD)
    os.close(handle)
    assert ended


def test_on_a_terminal_the_demo_draws_a_table_and_gives_the_cursor_back(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    begun = subprocess.Popen(
        [sys.executable, "-m", "streamnursery", "demo", "--speed", "30", "--streams", "20"],
        cwd=tmp_path,
        env={**empty_world(tmp_path), "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    with guarded(begun) as process, contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):  # an OSError is how Linux tells the end of a terminal
            drawn += piece
    os.close(ours)
    assert process.returncode == 0
    text = drawn.decode()
    assert "limited by" in text
    assert "20/20 done" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)
    final = re.sub(r"\x1b\[[0-9;]*m", "", text[text.rindex("peak") :])
    assert max(len(line.rstrip()) for line in final.splitlines()) <= 80
    assert "20 of 20 answers complete" in final
