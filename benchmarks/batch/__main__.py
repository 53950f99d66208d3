"""What becomes of a file of prompts:

    python -m benchmarks.batch [--rows N] [--refused P] [--python PEERS] [--curator PEERS]

Every client answers the same lines at one simulated provider. It allows 600 requests a minute, the
first 600 at once, answers 2 % of all requests with 503, and cuts 3 % after ten tokens, half of them
in a whole HTTP message; with `--refused` it does nothing but to answer that part of them with 429,
without a date. `--python` is an interpreter that has openai and litellm, `--curator` one that has
bespokelabs-curator and parareq, the parallel script of OpenAI's cookbook, which is told the limit.
Counted are requests at the provider, rows without an answer, answers that are shorter than what the
provider has said and are taken for whole, wall time, and CPU of the client's process.
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

from streamnursery.simulator import Cut, Plan, Provider, RateLimit, Rule, Status, When
from streamnursery.simulator.loopback import serve_loopback

HERE = Path(__file__).parent
TEXT = " ".join(f"w{n}" for n in range(40))
MODEL = f"fast?respond.text={TEXT}"
AT_ONCE = 50
PLAN = Plan((
    Rule((RateLimit(rpm=600),)),
    Rule((Status(503),), When(probability=0.02)),
    Rule((Cut(10),), When(probability=0.015)),
    Rule((Cut(10, how="end"),), When(probability=0.015)),
))
CONFIG = """
[endpoints.main]
url = "{url}"
auth = "none"
[models.m]
routes = [{{ endpoint = "main", model = "{model}" }}]
"""


def refusing(part: float) -> Plan:
    """A plan that refuses a part of all requests by chance, and does nothing else."""
    return Plan((Rule((Status(429),), When(probability=part)),))


def commands(
    folder: Path, url: str, peers: str | None, more: str | None
) -> dict[str, list[list[str]]]:
    """What each client runs, one command after the other."""
    (folder / "streamnursery.toml").write_text(CONFIG.format(url=url, model=MODEL))
    ours = [sys.executable, "-m", "streamnursery", "batch", "in.jsonl", "-o", "ours.out"]
    ours += ["-m", "m", "--parallel", str(AT_ONCE)]
    found = {"streamnursery batch": [ours]}
    found["the same, and --retry-errors"] = [
        [*(word.replace("ours.out", "again.out") for word in ours), *more]
        for more in ([], ["--retry-errors"])
    ]
    if peers:
        script = [peers, str(HERE / "openai_loop.py"), "lines.jsonl"]
        found["AsyncOpenAI, semaphore"] = [[*script, "openai.out", url, str(AT_ONCE)]]
        found["AsyncOpenAI, semaphore, streamed"] = [
            [*script, "stream.out", url, str(AT_ONCE), "streamed"]
        ]
        litellm = [peers, str(HERE / "litellm_loop.py"), "lines.jsonl", "litellm.out", url]
        found["litellm.batch_completion"] = [[*litellm, str(AT_ONCE)]]
    if more:
        words = [more, str(HERE / "curator_loop.py"), "lines.jsonl", "curator.out", url]
        found["curator"] = [[*words, str(AT_ONCE)]]
        words = [more, str(HERE / "cookbook_script.py"), "lines.jsonl", "cookbook.out", url]
        found["the cookbook's script"] = [[*words, "600"]]
    return found


def write_lines(folder: Path, rows: int) -> None:
    for name, model in (("in.jsonl", "m"), ("lines.jsonl", MODEL)):
        with (folder / name).open("w") as file:
            for n in range(rows):
                body = {"model": model, "messages": [{"role": "user", "content": f"Fact {n}"}]}
                line = {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions"}
                file.write(json.dumps({**line, "body": body}) + "\n")


def texts(path: Path) -> list[str]:
    """Of the answers that a client has written."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        told = json.loads(line)
        if "text" in told:
            found.append(told["text"])
        else:
            found.append(told["response"]["body"]["choices"][0]["message"]["content"])
    return found


async def measured(
    folder: Path, rows: int, name: str, plan: Plan, *peers: str | None
) -> dict[str, object]:
    provider = Provider(dice=Random(1), plan=plan, max_records=50 * rows)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        words = commands(folder, server.url, *peers)[name]
        env = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(HERE.parents[1] / "engine")}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        for one in words:
            with (folder / "told.txt").open("w") as told:
                await trio.run_process(
                    one, cwd=folder, check=False, env=env, stdout=told, stderr=subprocess.STDOUT
                )
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        server.close()
        nursery.cancel_scope.cancel()
    file = next(word for word in words[0] if word.endswith(".out"))
    answers = texts(folder / file)
    return {
        "client": name,
        "seconds": round(seconds, 1),
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "requests": len(provider.log),
        "without": rows - len(answers),
        "cut": sum(text != TEXT for text in answers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--python", help="interpreter that has openai and litellm")
    parser.add_argument("--curator", help="interpreter that has bespokelabs-curator and parareq")
    parser.add_argument("--refused", type=float, help="part of the requests that meet a 429")
    parser.add_argument("--only", default="", help="clients whose name has these words")
    chosen = parser.parse_args()
    plan = PLAN if chosen.refused is None else refusing(chosen.refused)
    peers = (chosen.python, chosen.curator)
    print("| client | s | CPU s | requests | rows without an answer | cut, taken for whole |")
    print("|---|---|---|---|---|---|")
    names = list(commands(Path(tempfile.mkdtemp()), "http://none", *peers))
    for name in names:
        if chosen.only not in name:
            continue
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write_lines(folder, chosen.rows)
            told = trio.run(measured, folder, chosen.rows, name, plan, *peers)
        cells = (told[k] for k in ("client", "seconds", "cpu", "requests", "without", "cut"))
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
