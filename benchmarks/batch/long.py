"""python -m benchmarks.batch.long [--rows N] [--keep FOLDER]: what a long batch takes.

`streamnursery batch` answers N rows (a million) at a provider in a process of its own, over the
loopback: 200 tokens each as fast as they can be read; 4 % of all requests meet a 503 and 1 % are
cut before the first token. Told are requests a row, CPU a row and the most memory of the client,
and how long the same command takes once more, which finds that all is done.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import trio

from streamnursery.simulator import Cut, Plan, Profile, Provider, Rule, Status, When
from streamnursery.simulator.loopback import serve_loopback

ROOT = Path(__file__).parents[2]
FAST = Profile(output_tokens=(200, 200))
PLAN = Plan((
    Rule((Status(503),), When(probability=0.04)),
    Rule((Cut(0),), When(probability=0.01)),
))
CONFIG = """
[endpoints.main]
url = "{url}"
auth = "none"
[models.m]
routes = [{{ endpoint = "main", model = "fast" }}]
"""


async def serve() -> None:
    """Say where, and at the end of standard input how many requests came."""
    provider = Provider(dice=Random(1), models={"fast": FAST}, plan=PLAN, max_records=10)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        print(server.url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        print(provider.log[-1].number, flush=True)
        nursery.cancel_scope.cancel()


def write_lines(path: Path, rows: int) -> None:
    line = {"method": "POST", "url": "/v1/chat/completions"}
    with path.open("w") as file:
        for n in range(rows):
            body = {"model": "m", "messages": [{"role": "user", "content": f"Fact {n}"}]}
            file.write(json.dumps({"custom_id": f"r{n}", **line, "body": body}) + "\n")


def answered(folder: Path) -> tuple[float, float, int, str]:
    """Seconds, CPU seconds and KiB at most of one run of the command, and its summary."""
    words = [sys.executable, "-m", "streamnursery", "batch", "in.jsonl", "-o", "out.jsonl"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    env = {**os.environ, "PYTHONPATH": str(ROOT / "engine")}
    with (folder / "told.json").open("w") as told, (folder / "screen.txt").open("w") as screen:
        subprocess.run(
            [*words, "--json"], cwd=folder, env=env, stdout=told, stderr=screen, check=False
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu, after.ru_maxrss, (folder / "told.json").read_text()


def measure(folder: Path, rows: int) -> None:
    write_lines(folder / "in.jsonl", rows)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'engine'}:{ROOT}"}
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.batch.long", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        cwd=ROOT,
    )
    assert server.stdin is not None and server.stdout is not None
    url = server.stdout.readline().strip()
    (folder / "streamnursery.toml").write_text(CONFIG.format(url=url))
    seconds, cpu, most, told = answered(folder)
    server.stdin.close()
    requests = int(server.stdout.readline())
    server.wait()
    lines = {json.loads(line)["custom_id"] for line in (folder / "out.jsonl").open()}
    again, _, _, _ = answered(folder)
    print(told.strip())
    print(f"{rows} rows, {len(lines)} ids in the output, {requests / rows:.4f} requests a row")
    print(
        f"{seconds:.0f} s, {1000 * cpu / rows:.3f} ms of CPU a row, {most / 1024:.0f} MiB at most"
    )
    print(f"once more: {again:.1f} s for {(folder / 'out.jsonl').stat().st_size / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch.long", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="a folder for its files; by default none is kept")
    parser.add_argument("--serve", action="store_true", help="be the provider")
    chosen = parser.parse_args()
    if chosen.serve:
        trio.run(serve)
    elif chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        measure(chosen.keep, chosen.rows)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), chosen.rows)


if __name__ == "__main__":
    main()
