"""The flags of `bench`, and what is said when they make no sense."""

import json
import random

import pytest

from streamnursery.bench.load_run import RunMonitor
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp
from streamnursery.cli import bench_plan
from streamnursery.cli.bench_screen import share
from streamnursery.cli.entry import build_parser
from tests.support.cli import Command


def shapes(*words: str) -> list[object]:
    args = build_parser().parse_args(["bench", "-m", "m", *words])
    return list(bench_plan.shapes(args, None))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], [Concurrency(8)]),
        (["--concurrency", "1,2,2"], [Concurrency(1), Concurrency(2)]),
        (
            ["--concurrency", "1..8x4"],
            [Concurrency(1), Concurrency(2), Concurrency(4), Concurrency(8)],
        ),
        (["--rate", "2"], [Constant(2)]),
        (["--poisson", "1,4"], [Poisson(1), Poisson(4)]),
        (["--ramp", "1..5", "--duration", "9"], [Ramp(1, 5, 9)]),
        (["--preset", "count-to-100"], [Concurrency(1)]),
    ],
)
def test_levels_of_load(words: list[str], found: list[object]) -> None:
    assert shapes(*words) == found


def test_models_may_have_weights_and_scripts() -> None:
    args = build_parser().parse_args(["bench", "-m", "a=3", "-m", "b", "-m", "sim/fast?cut=x=y"])
    assert bench_plan.weights(args) == {"a": 3.0, "b": 1.0, "sim/fast?cut=x=y": 1.0}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "no model was named"),
        ("-m sim/fast -m gpt-4.1", "cannot be mixed"),
        ("-m sim/fast --concurrency 0", "--concurrency 0 cannot be read"),
        ("-m sim/fast --rate x", "--rate x cannot be read"),
        ("-m sim/fast --ramp 3", "--ramp 3 cannot be read"),
        ("-m sim/fast --slo ttft<1s", "needs a statistic"),
        ("-m sim/fast --check nope>1", "no metric 'nope'"),
        ("-m sim/fast --adaptive", "--adaptive needs an SLO"),
        ("-m sim/fast --duration 2 --warmup 3", "warm-up leaves nothing"),
        ("-m sim/fast --requests-file nowhere.jsonl", "nowhere.jsonl cannot be read"),
        ("-m sim/fast --output-tokens many", "no length in tokens"),
        ("-m sim/fast --output-tokens 5+-", "no length in tokens"),
        ("-m sim/fast --save nowhere/x", "nowhere/x cannot be written"),
        ("-m sim/fast --html nowhere/x", "nowhere/x cannot be written"),
        ("-m sim/fast --jsonl .", ". cannot be written"),
        ("-m m=0 --url http://127.0.0.1:1/v1", "-m m=0 cannot be read"),
        ("-m m --url nonsense", "--url nonsense is no address"),
        ("-m gpt-4.1", "no endpoint serves the model gpt-4.1"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_asked(
    command: Command, words: str, says: str
) -> None:
    ran = command("bench", *words.split())
    assert ran.code == 2
    assert says in ran.err
    assert ran.out == ""


def test_lines_that_cannot_be_used_are_named(command: Command) -> None:
    command.write("asked.jsonl", '{"prompt": "a"}\nnonsense\n')
    ran = command("bench", "-m", "sim/fast", "--requests-file", "asked.jsonl")
    assert ran.code == 2
    assert "line 2: is not JSON" in ran.err


def test_a_replay_needs_dates(command: Command) -> None:
    command.write("asked.jsonl", '{"prompt": "a"}\n')
    assert "no dates to replay" in command("bench", "-m", "sim/fast", "--replay", "asked.jsonl").err


def test_results_are_compared_by_target_and_load(command: Command) -> None:
    def result(p50: float, cost: float | None, load: str = "8 at once") -> str:
        times = {name: {"p50": p50, "p99": None} for name in ("ttft", "itl_read", "tpot", "e2e")}
        numbers: dict[str, dict[str, float | None]] = {
            name: {"value": 2.0} for name in ("rps", "tokens_per_second", "goodput", "errors")
        }
        numbers["cost"] = {"value": cost}
        level = {"load": load, "all": {"times": times, "numbers": numbers}}
        targets = [{"name": "t", "levels": [level]}]
        return json.dumps({"schema": "streamnursery.bench/1", "targets": targets})

    command.write("a.json", result(0.2, 0.5))
    command.write("b.json", result(0.1, 0.25))
    ran = command("bench", "--compare", "a.json", "b.json")
    assert ran.code == 0
    assert [line.split()[-1] for line in ran.out.splitlines() if "ttft.p50" in line] == ["-50.0%"]
    found = json.loads(command("bench", "--compare", "a.json", "b.json", "--json").out)
    assert found["changes"][0]["change"] == -0.5
    assert [c["change"] for c in found["changes"] if c["metric"] == "cost"] == [-0.5]
    command.write("b.json", result(0.1, None))
    assert "cost" in command("bench", "--compare", "a.json", "b.json").out
    assert "cost" not in command("bench", "--compare", "b.json", "b.json").out
    command.write("c.json", result(0.1, None, "9 at once"))
    ran = command("bench", "--compare", "a.json", "c.json")
    assert ran.code == 2
    assert "a.json has t at 8 at once" in ran.err
    assert "c.json has t at 9 at once" in ran.err


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense"])
def test_a_file_that_is_no_result_is_refused(command: Command, text: str) -> None:
    command.write("a.json", text)
    ran = command("bench", "--compare", "a.json", "a.json")
    assert ran.code == 2
    assert "is no result of this version" in ran.err


def test_the_bar_shows_how_much_is_behind() -> None:
    watch = RunMonitor()
    assert share(watch) == 0
    watch.total, watch.done = 4, 1
    assert share(watch) == 0.25
    watch.done = 5
    assert share(watch) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--extra", "x"], "must be an object of JSON"),
        (["--extra", "[1]"], "must be an object of JSON"),
        (["--extra", '{"stream": false}'], "extra may not contain 'stream'"),
        (["--extra", '{"temperature": "hot"}'], "temperature"),
        (["--sweep", "3", "--rate", "3"], "--sweep takes no other load"),
        (["--sweep", "3", "--repetitions", "2"], "--sweep takes one repetition"),
    ],
)
def test_a_load_that_cannot_be_is_refused_before_it_begins(
    command: Command, words: list[str], said: str
) -> None:
    ran = command("bench", "-m", "sim/fast", "--requests", "1", *words)
    assert ran.code == 2
    assert said in ran.err


def test_extra_fields_are_in_each_body() -> None:
    args = build_parser().parse_args([
        "bench",
        "-m",
        "m",
        "--extra",
        '{"ignore_eos": true, "temperature": 0.5}',
    ])
    asked, _ = bench_plan.workload(args, {"m": 1.0})
    request = next(asked.requests(random.Random(1)))
    assert (request.temperature, dict(request.extra)) == (0.5, {"ignore_eos": True})
