import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.bench.workload import Lengths, Synthetic, WorkloadError, read_requests


@given(seed=st.integers(), mean=st.floats(1, 500), stdev=st.floats(0, 200))
def test_lengths_stay_within_their_ends(seed: int, mean: float, stdev: float) -> None:
    lengths = Lengths(mean, stdev, 3, 400)
    dice = random.Random(seed)
    assert all(3 <= lengths.draw(dice) <= 400 for _ in range(20))


@pytest.mark.parametrize(
    ("text", "mean", "stdev"), [("200", 200, 0), ("200+-50", 200, 50), ("100..400", 250, 75)]
)
def test_lengths_are_read(text: str, mean: float, stdev: float) -> None:
    found = Lengths.parse(text)
    assert (found.mean, found.stdev) == (mean, stdev)


@pytest.mark.parametrize("text", ["", "0", "-5", "4..2", "a", "1e999", "5+-x", "nan", "1..2..3"])
def test_lengths_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(WorkloadError, match="no length in tokens"):
        Lengths.parse(text)


def test_synthetic_prompts_have_their_length_and_are_all_different() -> None:
    workload = Synthetic({"a": 3.0, "b": 1.0}, Lengths(50), Lengths(10))
    found = list(islice(workload.requests(random.Random(1)), 400))
    prompts = [request.messages[0]["content"] for request in found]
    assert len(set(prompts)) == 400
    assert {len(prompt) for prompt in prompts} == {200}
    assert 0.65 < sum(request.model == "a" for request in found) / 400 < 0.85
    assert {request.max_tokens for request in found} == {10}


def test_a_seed_gives_the_same_requests() -> None:
    workload = Synthetic({"a": 1.0, "b": 1.0}, Lengths(20, 5), None)
    one, two = (list(islice(workload.requests(random.Random(3)), 50)) for _ in range(2))
    assert one == two


LINES = """\
{"prompt": "one"}
{"model": "own", "messages": [{"role": "user", "content": "two"}], "top_k": 5, "stream": true}

{"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": {"prompt": "three"}}
"""


def test_requests_are_read_in_every_form() -> None:
    given_, dates = read_requests(LINES, ["m"])
    assert [item.model for item in given_.items] == ["m", "own", "m"]
    assert given_.items[1].extra == {"top_k": 5}
    assert dates is None
    again = list(islice(given_.requests(random.Random(0)), 7))
    assert again[3] is given_.items[0]


def test_dates_are_read_where_every_line_has_one() -> None:
    _, dates = read_requests('{"prompt": "a", "at": 0}\n{"prompt": "b", "at": 1.5}', ["m"])
    assert dates == (0, 1.5)


def test_every_line_that_cannot_be_used_is_named() -> None:
    lines = 'x\n[]\n{"prompt": "a", "at": -1}\n{"prompt": "ok"}\n{"messages": []}'
    with pytest.raises(WorkloadError) as caught:
        read_requests(lines, ["m"])
    told = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in told] == ["line 1", "line 2", "line 3", "line 5"]


@pytest.mark.parametrize(("text", "says"), [("", "no request"), ('{"prompt": "a"}', "no model")])
def test_nothing_to_ask_is_refused(text: str, says: str) -> None:
    with pytest.raises(WorkloadError, match=says):
        read_requests(text, [])
