"""`streamnursery batch` as a user runs it: killed, interrupted, gone on with, fed nonsense."""

import json
import random
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import trio

from tests.support.cli import run, start
from tests.support.guard import until

if TYPE_CHECKING:
    import subprocess

KILLS = {"test": 2, "proof": 12, "soak": 200}
ROWS = 300
SLOW = "sim/gpt-4.1"
WORDS = ("batch", "in.jsonl", "-o", "out.jsonl", "--parallel", "20")


def write_input(folder: Path, count: int = ROWS, model: str = SLOW) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "in.jsonl"
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    path.write_text(
        "".join(json.dumps({"custom_id": f"c{n}", **line}) + "\n" for n in range(count))
    )
    return path


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def has(path: Path, wanted: int, process: "subprocess.Popen[str]") -> bool:
    return whole_lines(path) >= wanted or process.poll() is not None


def whole_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def test_kill_9_at_any_moment_and_the_same_command_goes_on(tmp_path: Path, tier: str) -> None:
    dice, kills = random.Random(1), 0
    while kills < KILLS[tier]:
        folder = tmp_path / str(kills)
        write_input(folder)
        kept, kills = await killed(folder, dice, kills, KILLS[tier])
        out = folder / "out.jsonl"
        ran = run(folder, *WORDS, "--json")
        assert ran.code == 0, ran.err
        assert sorted(ids(out)) == sorted(f"c{n}" for n in range(ROWS))
        summary = json.loads(ran.out)
        assert summary["done_before"] >= kept - 1
        assert summary["done_before"] + summary["answered"] == ROWS


async def killed(folder: Path, dice: random.Random, kills: int, wanted: int) -> tuple[int, int]:
    """Kill the command again and again while there is something left of its rows: lines that
    were there after the last time, and how often it was killed by now."""
    kept, out = 0, folder / "out.jsonl"
    while kills < wanted and kept < ROWS - 60:
        lines = kept + dice.randint(1, 60)
        with start(folder, *WORDS) as process:
            await until(partial(has, out, lines, process))
            assert process.poll() is None, "it was over before it was killed"
            process.kill()
            process.wait()
        kept, kills = whole_lines(out), kills + 1
    return kept, kills


async def test_ctrl_c_finishes_what_runs_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_input(tmp_path, 2000)
    out = tmp_path / "out.jsonl"
    with start(tmp_path, "batch", "in.jsonl", "-o", "out.jsonl", "--parallel", "10") as process:
        await until(partial(has, out, 5, process))
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate()
    assert process.returncode == 130
    assert "goes on with: streamnursery batch in.jsonl -o out.jsonl --parallel 10" in errors
    assert told.startswith(f"{len(ids(out))} answers in out.jsonl")
    assert 5 <= len(ids(out)) < 2000


async def test_kill_9_while_a_provider_works_makes_no_batch_twice(tmp_path: Path) -> None:
    source, out = write_input(tmp_path, 12, "m"), tmp_path / "out.jsonl"
    words = ("batch", source.name, "-o", "out.jsonl", "--via", "provider")
    with start(tmp_path, "sim", "--port", "0", "--json") as provider:
        assert provider.stdout is not None
        url = json.loads(provider.stdout.readline())["url"]
        (tmp_path / "streamnursery.toml").write_text(
            f'[endpoints.main]\nurl = "{url}"\nauth = "none"\n'
            '[models.m]\nroutes = [{ endpoint = "main", model = "fast" }]\n'
        )
        for steps in (4, 4, 5):  # planned, uploaded, asked for, made, done
            with start(tmp_path, *words) as process:
                await until(partial(has, Path(f"{out}.batches"), steps, process))
                process.kill()
                process.wait()
        ran = run(tmp_path, *words, "--json")
        assert ran.code == 0, ran.err
        batches = await trio.to_thread.run_sync(partial(urlopen, f"{url}/batches"))
        with batches:
            assert len(json.load(batches)["data"]) == 1
        provider.kill()
    assert sorted(ids(out)) == sorted(f"c{n}" for n in range(12))
    assert json.loads(ran.out)["complete"] is True


def test_standard_input_is_read_as_it_comes(tmp_path: Path) -> None:
    lines = '{"prompt": "One", "id": "a"}\nTwo\n'
    ran = run(tmp_path, "batch", "-", "-o", "out.jsonl", "-m", "sim/fast", stdin=lines)
    assert ran.code == 0, ran.err
    assert sorted(ids(tmp_path / "out.jsonl")) == ["a", "row-2"]
