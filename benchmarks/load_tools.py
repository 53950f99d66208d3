"""`streamnursery bench` beside guidellm and aiperf, on the same simulated provider.

    python -m benchmarks.load_tools --rounds 5

Each tool sends the same prompts, so many at once, and says what it has measured; the tools take
turns. What they say of one server should agree. What a tool costs is the CPU time of its processes
for one more token: the difference of two runs that differ in the number of requests.

guidellm and aiperf get environments of their own in build/load_tools, from a package index. Both
count tokens with a tokenizer, which is made here, of words: none is fetched.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from streamnursery.cli.processes import sim_process

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "load_tools"
PINNED = {"guidellm": "guidellm==0.8.1", "aiperf": "aiperf==0.13.0"}
USERS, TOKENS, FEW, MANY = 8, 64, 40, 640
SPEED = 4
"""Of the simulated gpt-4.1, against the real one."""
_WORDS = [
    "stream",
    "river",
    "token",
    "engine",
    "cloud",
    "window",
    "garden",
    "number",
    "letter",
    "signal",
    "copper",
    "bridge",
]
_TOKENIZER = """
import json, sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
made.train_from_iterator(sys.argv[2:], trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]").save_pretrained(sys.argv[1])
"""
Found = dict[str, float]


def program(name: str) -> Path:
    """Where the tool is; installed when it is not there."""
    folder = BUILD / name
    if not (folder / "bin" / name).exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", PINNED[name]]
        subprocess.run(pip, check=True)
    return folder / "bin" / name


def cpu_of(words: Sequence[str | Path], folder: Path, **environ: str) -> float:
    """Run a command; the CPU seconds of it and its children."""
    before = os.times()
    subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), **environ},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


def ours(url: str, count: int, folder: Path) -> tuple[Found, float]:
    words = [
        *(sys.executable, "-m", "streamnursery", "bench", "--url", url, "-m", "gpt-4.1"),
        *("--concurrency", str(USERS), "--requests", str(count), "--no-calibration", "-q"),
        *("--requests-file", "prompts.jsonl", "--extra", f'{{"max_tokens": {TOKENS}}}'),
        *("--save", "ours.json"),
    ]
    cpu = cpu_of(words, folder, PYTHONPATH=str(ROOT / "engine"))
    figures = json.loads((folder / "ours.json").read_text())["targets"][0]["levels"][0]["all"]
    times = figures["times"]
    return {
        "ttft p50, ms": times["ttft"]["p50"] * 1e3,
        "ttft p99, ms": times["ttft"]["p99"] * 1e3,
        "time per token p50, ms": times["tpot"]["p50"] * 1e3,
        "answers": figures["ok"],
    }, cpu


def guidellm(url: str, count: int, folder: Path) -> tuple[Found, float]:
    server = url.removesuffix("/v1")
    extras = f'{{"body":{{"max_tokens":{TOKENS}}}}}'
    words = [
        *(program("guidellm"), "run", "--backend"),
        f"kind=openai_http,target={server},model=gpt-4.1,validate_backend=false,extras={extras}",
        *("--profile", f"kind=concurrent,streams={USERS}"),
        *("--constraint", f"kind=max_requests,count={count}"),
        *("--data", "kind=json_file,path=prompts.jsonl"),
        *("--tokenizer", "kind=hf_auto,model=tokenizer"),
        *("--output", "kind=json,path=guidellm.json", "--disable-console"),
    ]
    cpu = cpu_of(words, folder, HF_HUB_OFFLINE="1")
    metrics = json.loads((folder / "guidellm.json").read_text())["benchmarks"][0]["metrics"]
    first = metrics["time_to_first_token_ms"]["successful"]
    return {
        "ttft p50, ms": first["median"],
        "ttft p99, ms": first["percentiles"]["p99"],
        "time per token p50, ms": metrics["inter_token_latency_ms"]["successful"]["median"],
        "answers": metrics["request_totals"]["successful"],
    }, cpu


def aiperf(url: str, count: int, folder: Path) -> tuple[Found, float]:
    shutil.rmtree(folder / "aiperf", ignore_errors=True)
    words = [
        *(program("aiperf"), "profile", "-m", "gpt-4.1", "--url", url.removesuffix("/v1")),
        *("--endpoint-type", "chat", "--streaming", "--concurrency", str(USERS)),
        *("--request-count", str(count), "--input-file", "texts.jsonl"),
        *("--custom-dataset-type", "single_turn", "--ui", "none"),
        *("--tokenizer", str(folder / "tokenizer")),  # else it takes it for a name on a hub
        *("--extra-inputs", f"max_tokens:{TOKENS}", "--artifact-dir", "aiperf"),
    ]
    cpu = cpu_of(words, folder)  # offline it looks for a folder's tokenizer in a cache
    found = json.loads((folder / "aiperf" / "profile_export_aiperf.json").read_text())
    return {
        "ttft p50, ms": found["time_to_first_token"]["p50"],
        "ttft p99, ms": found["time_to_first_token"]["p99"],
        "time per token p50, ms": found["inter_token_latency"]["p50"],
        "answers": found["request_count"]["avg"],
    }, cpu


TOOLS: Mapping[str, Callable[[str, int, Path], tuple[Found, float]]] = {
    "streamnursery bench": ours,
    "guidellm": guidellm,
    "aiperf": aiperf,
}


def prepare(folder: Path) -> None:
    """Prompts in each tool's form, and the tokenizer."""
    dice = Random(1)
    prompts = [
        f"Continue, request {at}: {' '.join(dice.choice(_WORDS) for _ in range(40))}"
        for at in range(MANY)
    ]
    for name, key in (("prompts.jsonl", "prompt"), ("texts.jsonl", "text")):
        lines = [json.dumps({key: prompt}) for prompt in prompts]
        (folder / name).write_text("\n".join(lines) + "\n")
    python = program("guidellm").with_name("python")
    subprocess.run([python, "-c", _TOKENIZER, folder / "tokenizer", *prompts], check=True)


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """By tool and figure, the values of the rounds."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in TOOLS}
    with tempfile.TemporaryDirectory() as made, sim_process("--speed", str(SPEED)) as simulator:
        folder = Path(made)
        prepare(folder)
        url = simulator.url()
        for _ in range(rounds):
            for name, tool in TOOLS.items():
                _, base = tool(url, FEW, folder)
                figures, cpu = tool(url, MANY, folder)
                assert figures["answers"] >= MANY, (name, figures)
                figures["CPU of a run, s"] = cpu
                figures["CPU of one more token, us"] = (cpu - base) / (MANY - FEW) / TOKENS * 1e6
                for figure, value in figures.items():
                    found[name].setdefault(figure, []).append(value)
                print(name, {k: round(v, 2) for k, v in figures.items()}, file=sys.stderr)
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """As Markdown: medians, and from least to most."""
    figures = list(next(iter(found.values())))
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for figure in figures:
        cells = [
            f"{median(v[figure]):.3g} ({min(v[figure]):.3g} - {max(v[figure]):.3g})"
            for v in found.values()
        ]
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path)
    args: Any = parser.parse_args(words)
    found = measure(args.rounds)
    print(table(found))
    if args.save:
        args.save.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
