"""`doctor`: what it finds, and that it never shows a key."""

import json

import pytest

from streamnursery.cli.endpoint_check import clock_findings, heartbeat_findings
from streamnursery.cli.exits import Exit
from streamnursery.cli.findings import Finding, local_findings
from streamnursery.config import load_config
from streamnursery.values.http import HttpHead
from streamnursery.values.origin import BaseUrl
from streamnursery.values.session import EndpointHeartbeat
from streamnursery.values.settings import Endpoint
from tests.support.cli import Command


def found(command: Command) -> dict[str, list[dict[str, str]]]:
    by_check: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(command("doctor", "--json").out)["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    return by_check


def test_an_empty_set_up_is_in_order_and_says_what_to_set(command: Command) -> None:
    ran = command("doctor")
    assert ran.code == 0
    assert "OPENAI_API_KEY" in ran.out
    assert "-m sim/fast" in ran.err


def test_versions_of_what_matters_are_there(command: Command) -> None:
    what = found(command)["versions"][0]["what"]
    for name in ("streamnursery", "Python", "trio", "httpx", "attrs", "msgspec", "httptools"):
        assert f"{name} " in what


def test_proxies_that_are_set_and_ignored_are_named_and_not_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:password@proxy.example:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    ran = command("doctor")
    assert "https_proxy: set, and ignored" in ran.out
    assert "SSL_CERT_FILE: set, and ignored" in ran.out
    assert "password" not in ran.out
    monkeypatch.setenv("STREAMNURSERY_TRUST_ENV", "true")
    assert found(command)["proxy"][0]["level"] == "ok"


def test_a_key_is_told_by_its_origin_alone(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ran = command("doctor")
    assert ran.code == Exit.SOME_FAILED
    assert "openai: set (env OPENAI_API_KEY)" in ran.out
    assert "Connection refused" in ran.out
    assert "sk-very-secret" not in ran.out + ran.err


def test_a_broken_configuration_is_a_finding_for_each_mistake(command: Command) -> None:
    command.write("streamnursery.toml", "[engine]\nmax_steams = 3\nmax_queued = -1\n")
    ran = command("doctor", "--json")
    assert ran.code == Exit.SOME_FAILED
    report = json.loads(ran.out)
    problems = [f for f in report["findings"] if f["level"] == "problem"]
    assert [finding["check"] for finding in problems] == ["configuration"] * 2
    assert report["ok"] is False


def test_every_finding_that_is_not_in_order_says_what_to_do(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    text = '[endpoints.a]\nurl = "https://a.example/v1"\nkey = { env = "A_KEY" }\ninsecure = true\n'
    command.write("streamnursery.toml", text)
    findings = local_findings(load_config())
    assert {finding.level for finding in findings} >= {"ok", "note"}
    assert [finding for finding in findings if finding.level != "ok" and not finding.todo] == []


def test_a_finding_is_a_line_and_an_arrow() -> None:
    assert Finding("keys", "ok", "set").shown() == "ok       keys           set"
    shown = Finding("keys", "note", "absent", "set it").shown()
    assert shown.splitlines()[1].strip() == "-> set it"


@pytest.mark.parametrize(
    ("date", "level"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", "ok"),
        ("Thu, 01 Jan 2026 00:00:20 GMT", "ok"),
        ("Thu, 01 Jan 2026 00:05:00 GMT", "problem"),
        ("Wed, 31 Dec 2025 23:50:00 GMT", "problem"),
    ],
)
def test_a_clock_that_is_wrong_is_seen_in_the_date_of_an_answer(date: str, level: str) -> None:
    head = HttpHead(200, (("date", date),))
    assert [f.level for f in clock_findings("a", head, wall=1_767_225_600.0)] == [level]


@pytest.mark.parametrize("headers", [(), (("date", "yesterday"),)])
def test_without_a_date_nothing_is_said_of_the_clock(
    headers: tuple[tuple[str, str], ...],
) -> None:
    assert clock_findings("a", HttpHead(200, headers), wall=0.0) == []


def test_a_heartbeat_that_the_endpoint_would_miss_is_to_be_mended() -> None:
    url = BaseUrl.parse("https://api.example.com/v1")
    slow = Endpoint("main", url, heartbeat=EndpointHeartbeat(30.0, timeout=2.0))
    (problem,) = heartbeat_findings(slow, 3.0)
    assert (problem.check, problem.level) == ("heartbeat", "problem")
    assert "endpoints.main.heartbeat.timeout" in problem.todo
    (fine,) = heartbeat_findings(slow, 0.5)
    assert fine.level == "ok"
    assert heartbeat_findings(Endpoint("main", url), 3.0) == []


def test_the_library_of_sessions_is_looked_for(command: Command) -> None:
    assert "trio-websocket" in found(command)["sessions"][0]["what"]
