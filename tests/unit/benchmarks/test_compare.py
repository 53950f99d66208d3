"""What is compared, and that a client which does less than its work has failed."""

import json
from hashlib import sha256
from pathlib import Path

import attrs
import pytest

from benchmarks.compare import prompts
from benchmarks.compare.clients.job import Answer, Job
from benchmarks.compare.kinds import Burst, First, Hold, Paced
from benchmarks.compare.measure import Sample, Server
from benchmarks.compare.roster import CLIENTS
from benchmarks.compare.roster import Job as Order
from benchmarks.compare.rows import ROWS

HERE = Server(0, None)
TEXT = "what the server says"
DIGEST = sha256(TEXT.encode()).hexdigest()
GOOD = Sample(cpu=1.0, wall=1.0, reads=10, tokens=20, latency_us=None, ended=2, text=DIGEST)
BURST = Burst("b", "", "token", (), streams=2, each=(5, 10))
TWO = Order("http://h/burst-10/v1", 2)
SENT = 2 * len("hi")


def wrong(sample: Sample, client: str = "Go", received: int = SENT, job: Order = TWO) -> str | None:
    return BURST.wrong(CLIENTS[client], job, sample, TEXT, received)


def test_a_client_that_brings_tokens_text_and_ends_is_not_wrong() -> None:
    assert wrong(GOOD) is None


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (attrs.evolve(GOOD, tokens=19), "19 of 20 tokens"),
        (attrs.evolve(GOOD, ended=1), "1 of 2 answers"),
        (attrs.evolve(GOOD, text=sha256(b"other").hexdigest()), "another text"),
        (attrs.evolve(GOOD, text=None), "another text"),
    ],
)
def test_a_client_that_loses_a_token_an_end_or_the_text_is_wrong(sample: Sample, says: str) -> None:
    assert says in (wrong(sample) or "")


def test_a_client_that_parses_nothing_is_asked_for_no_text_but_for_every_token() -> None:
    unread = attrs.evolve(GOOD, text=None)
    assert wrong(unread, "C receiver") is None
    assert "tokens" in (wrong(attrs.evolve(unread, tokens=0), "C receiver") or "")


def test_a_client_that_does_not_send_its_prompts_is_wrong(tmp_path: Path) -> None:
    varied = attrs.evolve(TWO, prompts=str(tmp_path))
    least = prompts.sent(2)
    assert "prompts" in (wrong(GOOD, received=least - 1, job=varied) or "")
    assert wrong(GOOD, received=least, job=varied) is None


def test_a_held_stream_has_no_end_and_a_stamped_one_no_text_of_its_own() -> None:
    held = attrs.evolve(GOOD, ended=0, text=None)
    assert wrong(held, job=attrs.evolve(TWO, hold=True)) is None
    stamped = attrs.evolve(GOOD, text=None)
    assert wrong(stamped, job=attrs.evolve(TWO, stamped=True)) is None


def test_a_figure_is_the_difference_of_two_runs_for_one_more_token() -> None:
    jobs = BURST.jobs(HERE)
    samples = {"small": GOOD, "large": attrs.evolve(GOOD, cpu=1.5)}
    assert BURST.figures(jobs, samples).cpu_us == pytest.approx(1e6 * 0.5 / (2 * 5))


def test_reads_that_cannot_be_seen_are_a_gap() -> None:
    unseen = attrs.evolve(GOOD, reads=None)
    samples = {"small": unseen, "large": unseen}
    paced = Paced("p", "", "token", ())
    assert paced.figures(paced.jobs(HERE), samples).events_per_read is None
    assert BURST.figures(BURST.jobs(HERE), samples).events_per_read is None


def test_of_ten_requests_the_first_stands_beside_the_tenth() -> None:
    first = First("f", "", "request", ())
    ten = attrs.evolve(GOOD, request_cpu_us=[900.0, *[1.0] * 8, 30.0], first_ms=[2.0, *[1.0] * 9])
    found = first.figures(first.jobs(HERE), {"ten": ten})
    assert (found.first_cpu_us, found.tenth_cpu_us, found.first_ms) == (900.0, 30.0, 2.0)


def test_a_row_that_begins_together_asks_the_server_for_a_gate() -> None:
    paced = Paced("p", "", "token", (), streams=7, rate=3, each=(1, 2), together=True)
    assert [job.base.split("/")[3] for job in paced.jobs(HERE).values()] == [
        "paced-1-3-7",
        "paced-2-3-7",
    ]
    assert [paced.tokens(job) for job in paced.jobs(HERE).values()] == [1, 2]


def test_every_client_of_a_row_is_on_the_roster_and_can_do_what_the_row_asks() -> None:
    for row in ROWS.values():
        clients = [CLIENTS[name] for name in row.clients]
        assert all(client.tls for client in clients) or not (row.secure or row.http == "2")
        assert len(set(row.clients)) == len(row.clients)
    assert {name for row in ROWS.values() for name in row.clients} <= set(CLIENTS)
    assert any(isinstance(row, Hold) and not row.varied for row in ROWS.values())


def test_no_two_prompts_are_alike_and_their_sizes_are_those_of_real_ones(tmp_path: Path) -> None:
    found = prompts.prompts()
    sizes = sorted(len(prompt.encode()) for prompt in found)
    assert len(set(found)) == prompts.COUNT
    assert (sizes[0], sizes[-1]) == (prompts.SMALLEST, prompts.LARGEST)
    assert prompts.sent(prompts.COUNT + 1) == sum(sizes) + len(found[0].encode())
    assert any(not prompt.isascii() for prompt in found)
    lines = prompts.file(tmp_path).read_text(encoding="utf-8").splitlines()
    assert tuple(json.loads(line) for line in lines) == found


def test_no_request_of_a_client_is_like_another(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in prompts.file(tmp_path).read_text().splitlines()]
    job = Job("", 1, lines=lines)
    assert len({job.answer().prompt for _ in range(3 * len(lines))}) == 3 * len(lines)


def answered(job: Job, *texts: str, ended: bool = True) -> Answer:
    answer = job.answer()
    for text in texts:
        answer.saw(text)
    answer.ended = ended
    return answer


def test_an_answer_without_its_end_fails_the_client() -> None:
    job = Job("", 1)
    with pytest.raises(ValueError, match="did not see the end"):
        job.over(answered(job, "a", ended=False))


def test_an_answer_that_says_something_else_fails_the_client() -> None:
    job = Job("", 1)
    job.over(answered(job, "a", "b"))
    job.over(answered(job, "ab"))
    with pytest.raises(ValueError, match="'ac' is not what"):
        job.over(answered(job, "a", "c"))
    assert (job.tokens, job.ended) == (5, 3)


def test_held_streams_have_all_begun_when_the_last_one_has_its_first_token() -> None:
    job, begun = Job("", 2, hold=True), list[int]()
    one, two = (job.held(lambda: begun.append(job.tokens)) for _ in range(2))
    for answer in (one, one, two, two):
        answer.saw("t")
    assert begun == [3]
    assert job.tokens == 4
