"""`bench` as its users meet it, against the simulator in a process of its own."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.cli import run
from tests.support.guard import GUARD, guarded

QUICK = ("-m", "sim/fast", "--requests", "6", "--output-tokens", "5", "-q")


def test_it_measures_saves_and_checks(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        *("bench", *QUICK, "--concurrency", "1,2", "--save", "r.json", "--jsonl", "r.jsonl"),
        *("--slo", "ttft.p99<10s", "--check", "errors<1%"),
    )
    assert (ran.code, ran.err) == (0, "")
    assert len([line for line in ran.out.splitlines() if line.startswith("simulator ")]) >= 2
    report = json.loads((tmp_path / "r.json").read_text())
    levels = report["targets"][0]["levels"]
    assert [level["all"]["ok"] for level in levels] == [6, 6]
    assert [level["repetitions"][0]["leaks"] for level in levels] == [[], []]
    assert report["calibration"]["requests"] > 0
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    assert {line["output_tokens"] for line in lines} == {5}


def test_workers_share_the_load_and_a_check_that_fails_is_the_exit_code(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        *("bench", *QUICK, "--concurrency", "2", "--workers", "2", "--json"),
        *("--jsonl", "r.jsonl", "--no-calibration", "--check", "ttft.p50<1us"),
    )
    assert ran.code == 1
    assert "check not met: ttft.p50<1us" in ran.err
    report = json.loads(ran.out)
    assert report["targets"][0]["levels"][0]["all"]["ok"] == 6
    assert report["checks"][0]["kept"] is False
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 6


def test_the_engine_of_a_phase_answers_prometheus(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = run(tmp_path, *("bench", *QUICK, "--no-calibration", "--metrics-port", port))
        assert ran.code == 1
        assert f"metrics cannot be served at 127.0.0.1:{port}" in ran.err
        assert "Traceback" not in ran.err
    wide = ("--duration", "60", "--concurrency", "1", "-q", "--no-calibration")
    command = [sys.executable, "-m", "streamnursery", "bench", "-m", "sim/fast", *wide]
    begun = subprocess.Popen([*command, "--metrics-port", port], cwd=tmp_path)
    with guarded(begun) as process:
        text = ""
        while "streamnursery_requests_started_total" not in text:
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    text = answer.read().decode()
            except OSError:
                os.sched_yield()
        process.send_signal(signal.SIGINT)
    ran = run(tmp_path, *("bench", *QUICK, "--metrics-port", "0", "--workers", "2"))
    assert "--metrics-port takes one process" in ran.err


def test_a_target_that_is_not_there_is_all_errors(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        *("bench", "--url", "http://127.0.0.1:9/v1", "-m", "m", "--requests", "3", "--json"),
        *("--no-calibration", "--concurrency", "1"),
    )
    assert ran.code == 1
    figures = json.loads(ran.out)["targets"][0]["levels"][0]["all"]
    assert figures["errors_by_category"] == {"network_error": 3}
    assert "is the server up" in figures["first_errors"]["network_error"]


def test_a_worker_without_users_leaves_its_requests_to_the_others(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        *("bench", "-m", "sim/fast", "-q", "--json", "--no-calibration", "--workers", "2"),
        *("--concurrency", "1", "--requests", "5"),
    )
    assert json.loads(ran.out)["targets"][0]["levels"][0]["all"]["ok"] == 5


def test_some_are_left_half_way_however_the_answer_comes(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        *("bench", "-m", "sim/fast", "--requests", "40", "--cancel-rate", "0.5", "-q", "--json"),
        "--no-calibration",
    )
    figures = json.loads(ran.out)["targets"][0]["levels"][0]["all"]
    assert figures["cancelled"] > 5
    assert figures["ok"] + figures["cancelled"] == 40


def test_what_was_measured_before_an_interruption_is_told(tmp_path: Path) -> None:
    words = ("bench", "-m", "sim/fast", "--duration", "600", "--no-calibration", "--jsonl", "r")
    command = [sys.executable, "-m", "streamnursery", *words, "--save", "r.json"]
    os.mkfifo(tmp_path / "r")
    lines = os.open(tmp_path / "r", os.O_RDONLY | os.O_NONBLOCK)
    begun = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with guarded(begun) as process, open(lines, "rb") as written, ThreadPoolExecutor() as pool:
        # Readable once the first requests are written down.
        assert select.select([lines], [], [], GUARD)[0]
        os.set_blocking(lines, True)
        process.send_signal(signal.SIGINT)
        pool.submit(written.read)  # a full pipe would hold it up
        out, _ = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert "it was interrupted" in out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True
    assert report["targets"][0]["levels"][0]["all"]["ok"] > 0
