"""Grading: verdicts come from the provider's log, whatever the client says of itself."""

import json
import platform
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from streamnursery.cli.grade import _KNOWN as KNOWN_TO_THE_COMMAND
from streamnursery.simulator import Plan, Profile, Provider
from streamnursery.simulator.log import RequestRecord
from streamnursery.testing.grade import (
    CLIENTS,
    CaseResult,
    Grades,
    Verdict,
    client_command,
    grade,
)
from streamnursery.testing.grade_menu import MENU, CaseGroup, Want
from streamnursery.testing.grade_verdict import judge_text, verdict_of
from tests.support.cli import run
from tests.support.guard import GUARD, guarded

QUICK = {
    "nothing special",
    "503 once",
    "a clean end after 5 tokens",
    "error in a 200, after 5 tokens",
    "left after 3 pieces",
}


async def test_the_engine_does_well() -> None:
    menu = [case for case in MENU if case.name in QUICK]
    grades = await grade({"engine": client_command("engine")}, menu=menu)
    assert [(found.case, found.verdict) for found in grades.findings if not found.good] == []
    by_case = {found.case: found for found in grades.findings}
    assert by_case["503 once"].requests == 2
    assert by_case["left after 3 pieces"].verdict is Verdict.STOPPED


async def test_a_client_that_takes_any_end_for_the_end_is_found_out(tmp_path: Path) -> None:
    naive = tmp_path / "naive.py"
    naive.write_text(
        "import os, json, urllib.request as r\n"
        "body = {'model': os.environ['GRADE_MODEL'], 'stream': True, 'messages':\n"
        "        [{'role': 'user', 'content': os.environ['GRADE_PROMPT']}]}\n"
        "url = os.environ['OPENAI_BASE_URL'] + '/chat/completions'\n"
        "for line in r.urlopen(r.Request(url, json.dumps(body).encode())):\n"
        "    if line.startswith(b'data: {'):\n"
        "        for choice in json.loads(line[6:]).get('choices', ()):\n"
        "            print(choice['delta'].get('content', ''), end='')\n"
    )
    menu = [case for case in MENU if case.name in QUICK and case.leave_after is None]
    grades = await grade({"naive": [sys.executable, str(naive)]}, menu=menu)
    assert {found.case: found.verdict for found in grades.findings} == {
        "nothing special": Verdict.CORRECT,
        "503 once": Verdict.TYPED_ERROR,
        "a clean end after 5 tokens": Verdict.TRUNCATED,
        "error in a 200, after 5 tokens": Verdict.TRUNCATED,
    }
    assert grades.score("naive") == (1, 4)


def test_texts_are_judged_by_what_the_provider_meant() -> None:
    provider = Provider(dice=random.Random(1), models={"m": Profile()}, plan=Plan())
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    exchange = provider.begin("POST", "/v1/chat/completions", [], 0.0)
    assert list(exchange.answer(json.dumps(body).encode(), 0.0))
    meant = provider.log[0].intended()
    half = meant[: len(meant) // 2]
    log = provider.log
    assert judge_text(meant, log) is Verdict.CORRECT
    assert judge_text(half, log) is Verdict.TRUNCATED
    assert judge_text(half + meant, log) is Verdict.DUPLICATED
    assert judge_text("something else", log) is Verdict.WRONG
    assert judge_text(half + "\ufffd" + meant[len(half) + 1 :], log) is Verdict.MARKED
    error = {"outcome": "error", "typed": True}
    assert verdict_of({**error, "text": half}, log, 0) is Verdict.TYPED_ERROR
    with_a_hole = f"{meant[:4]}\ufffd{meant[9:]}"
    assert verdict_of({**error, "text": with_a_hole}, log, 0) is Verdict.TYPED_ERROR
    assert verdict_of({**error, "text": "something else"}, log, 0) is Verdict.WRONG


@pytest.mark.parametrize(
    "said",
    [
        {"outcome": "error", "typed": True},
        {"outcome": "complete", "text": "anything"},
        {"outcome": "left", "text": "a"},
        {"outcome": "crash"},
        None,
    ],
)
def test_without_a_request_there_is_no_verdict(said: dict[str, object] | None) -> None:
    assert verdict_of(said, [], 0) is Verdict.DID_NOT_ASK
    finding = CaseResult("a", "one", Want.ERROR, Verdict.DID_NOT_ASK, 0, 0.1)
    assert not finding.good


def test_leaving_counts_if_something_was_read_and_the_provider_noticed() -> None:
    record = RequestRecord("id", 1, 0.0, "POST", "/v1/chat/completions", sent_tokens=3)
    left = {"outcome": "left", "text": ""}
    assert verdict_of(left, [record], 0) is Verdict.WRONG
    record.ending = "client gone"
    assert verdict_of(left, [record], 0) is Verdict.WRONG


async def test_the_floor_and_the_ceiling_are_where_they_belong() -> None:
    """The ceiling is a client of the standard library: no case asks for this engine."""
    menu = [case for case in MENU if case.name in QUICK]
    commands = {name: client_command(name) for name in ("floor", "ceiling")}
    grades = await grade(commands, menu=menu)
    assert grades.not_started == {}
    assert grades.score("ceiling") == (len(menu), len(menu))
    assert grades.score("floor") == (2, len(menu))


async def test_its_clock_starts_with_the_first_request(tmp_path: Path) -> None:
    """A client that is slow to begin is not one that hangs: it may take longer than a case."""
    slow = tmp_path / "slow.py"
    ceiling = client_command("ceiling")[1]
    slow.write_text(
        f"import runpy, time\ntime.sleep(3)\nrunpy.run_path({ceiling!r}, run_name='__main__')\n"
    )
    (plain,) = [case for case in MENU if case.name == "nothing special"]
    menu = [attrs.evolve(plain, limit=2.8)]
    (finding,) = (await grade({"slow": [sys.executable, str(slow)]}, menu=menu)).findings
    assert finding.verdict is Verdict.CORRECT
    late = await grade({"slow": [sys.executable, str(slow)]}, menu=menu, starting=0.1)
    assert late.findings == ()
    assert late.not_started == {"slow": "plain answer 1 of 3: it sent no request within 0.1 s"}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("false", "it sent no request (exit code 1)"),
        ("true", "it sent no request"),
        ("no-such-program-anywhere", "it sent no request (no-such-program-anywhere: No such file"),
    ],
)
def test_a_command_that_does_not_start_gets_no_marks(
    tmp_path: Path, command: str, why: str
) -> None:
    ran = run(tmp_path, "grade", "--client", f"command {command}", "-q")
    assert ran.code == 2
    assert f"{command} did not start: plain answer 1 of 3: {why}" in ran.err
    assert ran.out == ""


def test_who_did_not_start_stands_in_the_json_beside_those_that_did(tmp_path: Path) -> None:
    words = ("--client", "command false", "--client", "ceiling", "--only", "nothing special")
    ran = run(tmp_path, "grade", *words, "--json", "-q")
    assert ran.code == 2
    found = json.loads(ran.out)
    assert list(found["did_not_start"]) == ["false"]
    assert found["scores"] == {"ceiling": [1, 1]}


def test_the_command_knows_the_same_clients_as_the_library() -> None:
    assert KNOWN_TO_THE_COMMAND == CLIENTS


def test_a_table_has_a_row_for_each_case_and_the_scores() -> None:
    findings = (
        CaseResult("a", "one", Want.ANSWER, Verdict.CORRECT, 1, 0.1),
        CaseResult("a", "two", Want.ERROR, Verdict.HANG, 3, 75.0, group=CaseGroup.PATIENCE),
        CaseResult("b", "one", Want.ANSWER, Verdict.CORRECT, 1, 0.1, leaked=1),
    )
    table = Grades(findings).as_markdown().splitlines()
    assert table[0] == "| case | a | b |"
    assert table[2] == "| truth: | 1 of 1 | 0 of 1 |"
    assert table[4] == "| patience: | 0 of 1 | 0 of 0 |"
    assert table[5] == "| two | HANG, 3 requests | - |"
    assert table[-1] == "| done well | 1 of 2 | 0 of 1 |"


def test_the_names_of_the_cases_are_all_different() -> None:
    assert len({case.name for case in MENU}) == len(MENU) >= 30


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--client nobody", "no such client"),
        ("--only zzz", "no case has that"),
        ("--python nowhere/python", "cannot be run"),
        ("--client engine --client engine", "two clients are called engine"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, words: str, says: str) -> None:
    ran = run(tmp_path, "grade", *words.split())
    assert ran.code == 2
    assert says in ran.err


def test_the_command_prints_its_findings(tmp_path: Path) -> None:
    ran = run(tmp_path, "grade", "--only", "nothing special", "--json", "-q")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["scores"] == {"engine": [1, 1]}
    assert found["did_not_start"] == {}
    assert found["versions"]["engine"]["python"] == platform.python_version()
    assert found["versions"]["engine"]["streamnursery"]


async def test_a_client_says_its_versions_or_none(tmp_path: Path) -> None:
    menu = [case for case in MENU if case.name == "nothing special"]
    whole = await trio.Path(client_command("ceiling")[1]).read_text()
    for said, kept in (({"a": 1}, {"a": "1"}), ("many", {}), (None, {})):
        program = tmp_path / "client.py"
        program.write_text(whole.replace('{"python": platform.python_version()}', repr(said)))
        seen: list[CaseResult] = []
        commands = {"own": [sys.executable, str(program)]}
        grades = await grade(commands, menu=menu, on_finding=seen.append)
        assert grades.findings == tuple(seen)
        assert grades.as_json()["versions"] == {"own": kept}


def test_a_client_that_is_not_there_is_no_finding(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    for client in ("engine", "httpx"):
        ran = run(tmp_path, "grade", "--client", client, "--python", str(bare))
        assert ran.code == 2
        assert f"the client {client} is not installed" in ran.err


def test_what_was_found_before_an_interruption_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamnursery", "grade", "--parallel", "1"]
    begun = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with guarded(begun) as process:
        assert process.stderr is not None
        first = re.match(r"\[1/\d+\] engine: (.+): \w", process.stderr.readline())
        assert first is not None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert "it was interrupted: " in err
    assert first[1] in out
