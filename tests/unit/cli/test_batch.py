"""`batch`: what it reads, writes and refuses."""

import gzip
import json
from pathlib import Path

import pytest

from streamnursery.batch import BatchProgress
from streamnursery.cli.batch_screen import History, Look, Screen
from tests.support.cli import Command

SLOW = "sim/gpt-4.1"


def write_input(folder: Path, count: int, model: str = SLOW) -> Path:
    path = folder / "in.jsonl"
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    path.write_text(
        "".join(json.dumps({"custom_id": f"c{n}", **line}) + "\n" for n in range(count))
    )
    return path


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def test_a_plain_file_of_prompts_is_enough(command: Command, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "prompts.txt.gz", "wt") as file:
        file.write("Why is the sky blue?\n\nAnd the sea?\n")
    ran = command("batch", "prompts.txt.gz", "-o", "answers.jsonl", "-m", "sim/fast")
    assert ran.code == 0
    assert ran.out.startswith("2 answers in answers.jsonl")
    assert sorted(ids(tmp_path / "answers.jsonl")) == ["row-1", "row-3"]


def test_anthropics_lines_are_answered(command: Command, tmp_path: Path) -> None:
    params = {
        "model": "sim/fast",
        "max_tokens": 5,
        "system": "Be short.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    (tmp_path / "in.jsonl").write_text(json.dumps({"custom_id": "a", "params": params}) + "\n")
    assert command("batch", "in.jsonl", "-o", "out.jsonl").code == 0
    assert ids(tmp_path / "out.jsonl") == ["a"]


def test_what_it_would_cost_is_told_and_nothing_is_sent(command: Command, tmp_path: Path) -> None:
    write_input(tmp_path, 10, "gpt-4.1-mini")
    command.write("streamnursery.toml", PRICED)
    ran = command("batch", "in.jsonl", "--dry-run", "--samples", "2")
    assert ran.code == 0, ran.err
    assert "gpt-4.1-mini" in ran.out
    assert "160" in ran.out  # tokens of output at most
    assert not (tmp_path / "out.jsonl").exists()


PRICED = """
[endpoints.main]
url = "http://127.0.0.1:9/v1"
[models."gpt-4.1-mini"]
routes = [{ endpoint = "main" }]
price = { input = "1", output = "2" }
"""


def test_a_budget_that_is_spent_ends_the_run_and_it_goes_on_later(
    command: Command, tmp_path: Path
) -> None:
    write_input(tmp_path, 20, "sim/fast")
    command.write(
        "streamnursery.toml", '[models."sim/fast"]\nprice = { input = "0", output = "1000" }\n'
    )
    ran = command("batch", "in.jsonl", "-o", "out.jsonl", "--budget", "0.05usd", "--parallel", "1")
    assert ran.code == 3, ran.err
    assert "the same command" not in ran.out
    done = len(ids(tmp_path / "out.jsonl"))
    assert 0 < done < 20
    again = command("batch", "in.jsonl", "-o", "out.jsonl", "--budget", "5", "--json")
    assert again.code == 0
    assert json.loads(again.out)["done_before"] == done


def test_shards_are_merged_and_one_that_is_missing_is_told(
    command: Command, tmp_path: Path
) -> None:
    write_input(tmp_path, 30, "sim/fast")
    for number in (1, 2, 3):
        out = f"part{number}.jsonl"
        assert command("batch", "in.jsonl", "-o", out, "--shard", f"{number}/3").code == 0
    ran = command("batch", "merge", "part1.jsonl", "part3.jsonl", "-o", "some.jsonl")
    assert (ran.code, "missing shards: 2/3" in ran.err) == (1, True)
    ran = command("batch", "merge", "part1.jsonl", "part2.jsonl", "part3.jsonl", "-o", "all.jsonl")
    assert ran.code == 0
    assert sorted(ids(tmp_path / "all.jsonl")) == sorted(f"c{n}" for n in range(30))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("in.jsonl",), "no output is named"),
        (("nowhere.jsonl", "-o", "out.jsonl"), "nowhere.jsonl cannot be read"),
        (("in.jsonl", "-o", "out.jsonl", "--shard", "8/7"), "a shard is written i/n"),
        (("in.jsonl", "-o", "out.jsonl", "--samples", "0"), "samples must be a whole number"),
        (("in.jsonl", "more.jsonl", "-o", "out.jsonl"), "one input at a time"),
        (("in.jsonl", "-o", "folder"), "folder could not be used"),
        (("bad.jsonl", "-o", "out.jsonl"), "line 2, byte 3: no JSON"),
    ],
)
def test_a_slip_is_told_and_nothing_is_sent(
    command: Command, tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    write_input(tmp_path, 2, "sim/fast")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.jsonl").write_text("Hi\n{\n")
    ran = command("batch", *words, "-m", "sim/fast")
    assert ran.code in (2, 4, 6)
    assert what in ran.err


def test_a_providers_own_batches_cost_half_and_know_no_budget(
    command: Command, tmp_path: Path
) -> None:
    write_input(tmp_path, 3, "gpt-4.1-mini")
    command.write("streamnursery.toml", PRICED)
    dry = ("batch", "in.jsonl", "--dry-run", "--samples", "20000")
    whole, half = (
        [
            float(word)
            for word in command(*dry, *more).out.split()
            if "." in word and word[0].isdigit()
        ]
        for more in ((), ("--via", "provider"))
    )
    assert len(whole) == 4
    assert half == pytest.approx([cost / 2 for cost in whole], abs=0.01)
    ran = command("batch", "in.jsonl", "-o", "o", "--via", "provider", "--budget", "1usd")
    assert ran.code == 2
    assert "no --budget" in ran.err
    assert not (tmp_path / "o").exists()


def test_a_page_tells_what_became_of_it(command: Command, tmp_path: Path) -> None:
    lines = [{"id": n, "prompt": "Hi", "model": "sim/fast", "max_tokens": 3} for n in range(5)]
    lines.append({"id": "<b>", "prompt": "Hi", "model": "sim/fast?status=400"})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert command("batch", "in.jsonl", "-o", "out.jsonl", "--html", "page.html").code == 1
    page = (tmp_path / "page.html").read_text()
    assert "<b>6 of 6</b><span>rows done" in page
    assert "<b>15</b><span>tokens out" in page
    assert "<td>content_error</td><td>1</td>" in page or "<td>request_error</td>" in page
    assert "<script" not in page
    assert "--html page.html" in page


def test_the_time_left_goes_by_the_tokens_that_are_left() -> None:
    screen, said = Screen(), list[str]()
    screen.say = said.append  # type: ignore[method-assign, assignment]
    progress = BatchProgress(rows=10, tokens_left=1000.0)
    screen.show(progress, 0)
    progress.answered, progress.tokens_worked, progress.tokens_left = 9, 100.0, 900.0
    screen.show(progress, 0)
    assert "left" not in said[0]
    assert said[1].endswith(" left")
    looks = [float(part.split()[0]) for part in said[1].split(", ") if "tokens/s" in part]
    assert looks == [0.0]


def test_a_long_run_is_remembered_in_few_looks() -> None:
    history = History()
    for at in range(10_000):
        history.add(Look(at, at, 0, at, at))
    assert len(history.looks) < 400
    assert [look.at for look in history.looks] == sorted(look.at for look in history.looks)
    assert history.looks[-1].at > 9900


def test_compressed_and_columnar_files_are_read(command: Command, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    with pyarrow.output_stream(str(tmp_path / "in.jsonl.zst"), compression="zstd") as file:
        file.write(b'{"prompt": "One", "id": "a"}\n{"prompt": "Two", "id": "b"}\n')
    table = pyarrow.table({"id": ["a", "b"], "prompt": ["One", "Two"], "max_tokens": [3, None]})
    parquet.write_table(table, tmp_path / "in.parquet")
    for name in ("in.jsonl.zst", "in.parquet"):
        assert command("batch", name, "-o", f"{name}.out", "-m", "sim/fast").code == 0
        assert sorted(ids(tmp_path / f"{name}.out")) == ["a", "b"]
