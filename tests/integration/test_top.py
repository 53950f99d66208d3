"""`streamnursery top`: a real socket, for its own user alone."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from streamnursery import ConfigError, open_engine
from streamnursery.cli.model_health import health, health_text
from streamnursery.cli.top_screen import picture
from streamnursery.facade.figures import unpacked
from streamnursery.facade.top import told as top_snapshot
from streamnursery.telemetry.prometheus import prometheus_text, text_of
from tests.support.cli import empty_world, run
from tests.support.guard import GUARD, guarded


async def ask(path: Path) -> bytes:
    body = b""
    async with await trio.open_unix_socket(path) as stream:
        async for part in stream:
            body += part
    return body


async def test_whoever_connects_is_given_one_snapshot_and_the_socket_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with trio.fail_after(GUARD):
        async with open_engine({"engine": {"top_socket": str(path)}}) as eng:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with eng.stream("sim/fast", "a secret prompt", tenant="acme") as stream:
                await anext(stream)
                told = json.loads(await ask(path))
            assert [line["tenant"] for line in told["streams"]] == ["acme"]
            assert "secret" not in json.dumps(told)
            shown = picture(told)
            assert "model 'sim/fast'" in shown
            assert "acme" in shown
            assert json.loads(await ask(path))["streams_in_all"] == 0
    assert not path.exists()


async def test_a_reader_that_stands_still_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with trio.fail_after(GUARD):
        async with open_engine({"engine": {"top_socket": str(path)}}):
            silent = [await trio.open_unix_socket(path) for _ in range(6)]
            assert json.loads(await ask(path))["calls"] == 0
            for stream in silent:
                await stream.aclose()


async def test_a_socket_that_was_left_behind_is_taken_over_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    config = {"engine": {"top_socket": str(path)}}
    async with open_engine(config):
        with pytest.raises(ConfigError, match="another engine is served there"):
            async with open_engine(config):
                pass
        assert path.exists()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="something else is there"):
        async with open_engine(config):
            pass
    assert path.read_text() == "a file"


def test_the_verb_says_where_an_engine_would_answer(tmp_path: Path) -> None:
    done = run(tmp_path, "top", str(tmp_path / "nobody.sock"))
    assert done.code == 4
    assert "no engine answers there" in done.err
    done = run(tmp_path, "top", "--once")
    assert done.code == 2
    assert "top_socket" in done.err


async def test_the_verb_shows_an_engine_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with open_engine({"engine": {"top_socket": str(path)}}) as eng:
        async with eng.stream("sim/gpt-4.1", "x", buffer_events=1) as stream:
            await anext(stream)
            shown = await trio.to_thread.run_sync(run, tmp_path, "top", str(path))
            told = await trio.to_thread.run_sync(run, tmp_path, "top", "--json", str(path))
    assert (shown.code, told.code) == (0, 0)
    assert "sim/gpt-4.1" in shown.out
    assert json.loads(told.out)["streams"][0]["state"] == "held back"


async def test_models_say_how_they_are_in_an_engine_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with open_engine({"engine": {"top_socket": str(path)}}) as eng:
        async with eng.stream("sim/fast?stall=2", "hello") as stream:
            await anext(stream)
            words = ("models", "--live", str(path))
            shown = await trio.to_thread.run_sync(run, tmp_path, *words)
            told = await trio.to_thread.run_sync(run, tmp_path, *words, "--json")
    line = next(line for line in shown.out.splitlines() if line.startswith("sim/fast "))
    assert "1 of 1000 running" in line
    assert shown.out.count("not used") == 4
    live = {model["name"]: model["live"] for model in json.loads(told.out)["models"]}
    assert live["sim/fast"]["active"] == 1
    assert live["sim/gpt-4.1"] is None


def test_health_tells_of_circuits_and_failures() -> None:
    routes = {
        "a/m": {"circuit": "open", "failures": 5, "calls": 5},
        "b/m": {"circuit": "closed", "failures": 1, "calls": 9},
    }
    told = {
        "limits": [
            {"name": "model 'm'", "taken": 2, "max_streams": 3, "queued": 4, "waits_for": "a slot"}
        ],
        "routes": routes,
    }
    live = health(told, {"name": "m", "routes": ["a/m", "b/m", "c/m"]})
    assert health_text(live) == ("2 of 3 running, 4 queued, a/m: circuit open, b/m: 1 of 9 failed")


async def test_figures_cross_to_another_process_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with trio.fail_after(GUARD):
        async with open_engine({"engine": {"top_socket": str(path)}}) as eng:
            await eng.complete("sim/fast", "a secret prompt")
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(b"figures\n")
                body = b"".join([part async for part in stream])
            assert b"secret" not in body
            told, ours = await text_of(unpacked(body)), prometheus_text(eng)
    shown = [[line for line in text.splitlines() if "uptime" not in line] for text in (told, ours)]
    assert shown[0] == shown[1]
    for wrong in (b"", b"[]", b"{}", b'{"models": 1}', b'{"models": {"m": {}}}'):
        with pytest.raises(ValueError, match="no figures"):
            unpacked(wrong)


def test_top_answers_prometheus_for_an_engine_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    program = (
        "import trio, streamnursery as sn\n"
        "async def main():\n"
        f"    async with sn.open_engine({{'engine': {{'top_socket': {str(path)!r}}}}}) as eng:\n"
        "        await eng.complete('sim/fast', 'hi')\n"
        "        print('ready', flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    popen = partial(subprocess.Popen, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    engine = popen([sys.executable, "-c", program])
    with guarded(engine):
        assert engine.stdout is not None
        assert engine.stdout.readline() == "ready\n"
        command = [sys.executable, "-m", "streamnursery", "top", str(path), "--metrics-port", "0"]
        top = popen(command)
        with guarded(top):
            assert top.stdout is not None
            url = top.stdout.readline().split()[0]
            with urllib.request.urlopen(url) as answer:
                text = answer.read().decode()
            top.send_signal(signal.SIGINT)
        engine.send_signal(signal.SIGINT)
    assert 'streamnursery_requests_started_total{model="sim/fast"} 1\n' in text
    ran = run(tmp_path, "top", str(tmp_path / "none.sock"), "--metrics-port", "0")
    assert ran.code == 4
    assert "no engine answers there" in ran.err


async def test_those_that_wait_for_the_same_are_one_line() -> None:
    config = {
        "models": {"m": {"routes": [{"endpoint": "sim", "model": "gpt-4.1"}], "max_streams": 1}}
    }
    async with open_engine(config) as eng, trio.open_nursery() as nursery:
        async with eng.stream("m", "hello", buffer_events=1) as stream:
            await anext(stream)
            for _ in range(24):
                nursery.start_soon(eng.complete, "m", "hello")
            await trio.testing.wait_all_tasks_blocked()
            told = json.loads(top_snapshot(eng))
        nursery.cancel_scope.cancel()
    lines = picture(told).splitlines()
    assert sum("waits" in line or "a slot of model 'm'" in line for line in lines) <= 6
    (queued,) = [line for line in lines if line.startswith("24 ")]
    assert "a slot of model 'm' (1 of 1 taken)" in queued
    assert lines[1].startswith("0 ok, 0 failed; first token p50 ")
    earlier = {**told, "uptime": told["uptime"] - 2.0, "totals": {**told["totals"]}}
    earlier["totals"]["content_events"] -= 1
    assert "; 0 tokens/s; " in picture(told, earlier).splitlines()[1]


def test_q_leaves(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    program = (
        "import sys, trio, streamnursery as sn\n"
        "async def main():\n"
        "    async with sn.open_engine({'engine': {'top_socket': sys.argv[1]}}):\n"
        "        print('there', flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    engine = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    ours, theirs = os.openpty()
    with guarded(engine):
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"there\n"
        words = (sys.executable, "-m", "streamnursery", "top", str(path), "--every", "600")
        environ = {**empty_world(tmp_path), "TERM": "xterm"}
        with guarded(
            subprocess.Popen(words, stdin=theirs, stdout=theirs, cwd=tmp_path, env=environ)
        ) as top:
            shown = b""
            while b"q leaves" not in shown:
                shown += os.read(ours, 4096)
            os.write(ours, b"q")
            assert top.wait(GUARD) == 0
        engine.kill()
    engine.stdout.close()
    os.close(theirs)
    os.close(ours)
