"""The plugins for inspect_ai and for `llm`, in the real programs."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import ROOT
from tests.support.peers import INSTALLED, free_port, needs, serving

PLUGINS = INSTALLED / "plugins" / "bin"
PROGRAMS = ROOT / "tests" / "contract" / "programs"
pytestmark = [pytest.mark.contract, needs("plugins/bin/inspect")]


def run(folder: Path, *words: str | Path, **environ: str) -> str:
    """Standard output of a command of the plugins' environment, with an empty home."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [PLUGINS / words[0], *words[1:]],
        cwd=folder,
        env={**clean, "HOME": str(folder), "LLM_USER_PATH": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def evaluated(folder: Path, task: str, model: str, *words: str) -> dict[str, Any]:
    """The log of `inspect eval`."""
    common = ("--log-format", "json", "--log-dir", "logs", "--display", "none", *words)
    run(folder, "inspect", "eval", f"{PROGRAMS}/inspect_tasks.py@{task}", "--model", model, *common)
    (log,) = (folder / "logs").glob("*.json")
    found: dict[str, Any] = json.loads(log.read_text())
    return found


def test_a_hundred_samples_of_inspect_are_answered_and_counted(tmp_path: Path) -> None:
    log = evaluated(tmp_path, "sky", "streamnursery/sim/fast")
    assert log["status"] == "success"
    assert log["results"]["completed_samples"] == 100
    usage = log["stats"]["model_usage"]["streamnursery/sim/fast"]
    said = [sample["output"] for sample in log["samples"]]
    assert usage["output_tokens"] == sum(one["usage"]["output_tokens"] for one in said) > 0
    assert {one["choices"][0]["stop_reason"] for one in said} == {"stop"}
    assert {one["metadata"]["route"] for one in said} == {"sim/fast"}


def test_tools_of_inspect_are_called_with_their_arguments(tmp_path: Path) -> None:
    log = evaluated(
        tmp_path,
        "sums",
        'streamnursery/sim/fast?call_tool.function=add&call_tool.arguments={"x":1%2C"y":3}',
    )
    assert log["status"] == "success"
    results = [
        message["content"]
        for sample in log["samples"]
        for message in sample["messages"]
        if message["role"] == "tool"
    ]
    assert results == ["4"] * 100


def test_a_cut_answer_is_an_error_of_its_sample(tmp_path: Path) -> None:
    log = evaluated(
        tmp_path, "sky", "streamnursery/sim/fast?cut=3", "-T", "n=3", "--no-fail-on-error"
    )
    errors = [sample["error"]["message"] for sample in log["samples"]]
    assert [("ConnectionLostError" in error) for error in errors] == [True] * 3


def test_a_server_is_given_to_inspect_by_its_address(tmp_path: Path) -> None:
    port = free_port()
    words = (PLUGINS / "streamnursery", "sim", "--port", str(port))
    with serving(port, tmp_path, *words) as url:
        log = evaluated(tmp_path, "sky", "streamnursery/fast", "--model-base-url", url, "-T", "n=5")
    assert log["results"]["completed_samples"] == 5


def test_llm_asks_a_hundred_at_once_and_goes_on_with_a_conversation(tmp_path: Path) -> None:
    named = 'sim/fast?cut=3,sim/fast?call_tool.function=add&call_tool.arguments={"x":1%2C"y":3}'
    found = json.loads(
        run(tmp_path, "python", PROGRAMS / "ask_llm.py", STREAMNURSERY_LLM_MODELS=named)
    )
    assert len(found["texts"]) == 100
    assert all(found["texts"])
    assert found["again"] == found["texts"][:10]
    assert found["output_tokens"] == 5
    first, second = found["input_tokens"]
    assert second > first, "the second turn sends the first"
    assert found["result"] == ["4"]
    assert "in the middle of the answer" in found["cut"]


def test_the_command_llm_lists_and_asks(tmp_path: Path) -> None:
    assert "streamnursery/sim/fast" in run(tmp_path, "llm", "models")
    assert run(tmp_path, "llm", "-m", "streamnursery/sim/fast", "Why is the sky blue?").strip()
    (tmp_path / "streamnursery.toml").write_text("[models.mine]\nroutes = [{ endpoint = 'sim' }]\n")
    assert "streamnursery/mine" in run(tmp_path, "llm", "models")


def test_the_recipe_for_lm_eval_answers_every_sample(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "integrations.md").read_text()
    (recipe,) = re.findall(r"```py\n(import lm_eval.*?)```", text, re.DOTALL)
    (tmp_path / "recipe.py").write_text(recipe)
    for name in ("rivers.yaml", "rivers.jsonl"):
        shutil.copy(PROGRAMS / name, tmp_path)
    assert run(tmp_path, "python", "recipe.py", HF_HUB_OFFLINE="1").split()[-1] == "3"
