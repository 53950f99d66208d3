"""When a simulated provider speaks, and that it notices at once when nobody listens."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.simulator import (
    Cut,
    Delay,
    HangAfterDone,
    InStreamError,
    Link,
    Overload,
    Plan,
    Profile,
    RateLimit,
    Respond,
    Rule,
    Stall,
    When,
)
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.pipe import PipeConnection
from tests.support.simulator import (
    STEADY,
    Answer,
    Site,
    chat,
    http,
    open_site,
    read_until,
    talk,
)

TOKENS = [pytest.approx(1 + k / 10) for k in range(5)]


def times(answer: Answer, mark: bytes = b'"content":" ') -> list[float]:
    """When the reads with words in them came; the first word has no space before it."""
    return [at for at, data in answer.reads if mark in data or b'"content":"' in data][1:]


async def steady(*script: Fault, **fields: object) -> Answer:
    async with open_site(*script) as site:
        return await site.ask(chat("steady", **fields))


async def test_tokens_come_when_the_profile_says(autojump_clock: MockClock) -> None:
    answer = await steady()
    assert times(answer) == TOKENS
    # The head and the role go out at once, the end with the last token.
    assert answer.reads[0][0] == 0
    assert trio.current_time() == pytest.approx(1.4)


async def test_choices_share_the_pace(autojump_clock: MockClock) -> None:
    answer = await steady(n=2)
    assert len(times(answer)) == 10
    assert trio.current_time() == pytest.approx(1 + 9 * 0.05)


async def test_an_answer_that_is_not_streamed_takes_as_long(autojump_clock: MockClock) -> None:
    answer = await steady(stream=False)
    assert [at for at, _ in answer.reads] == [pytest.approx(1.4)]


async def test_speed_is_a_factor(autojump_clock: MockClock) -> None:
    async with open_site(speed=10) as site:
        answer = await site.ask(chat("steady"))
        assert times(answer) == [pytest.approx(0.1 + k / 100) for k in range(5)]


async def test_delays_can_be_fixed(autojump_clock: MockClock) -> None:
    answer = await steady(Delay(first_token=5, first_byte=3))
    assert answer.reads[0][0] == 3
    assert times(answer)[0] == 5
    assert (await steady(Delay(first_token=0))).reads[0][0] == trio.current_time() - 0.4


async def test_a_stall_moves_all_that_follows(autojump_clock: MockClock) -> None:
    answer = await steady(Stall(0, 10), Stall(3, 2))
    assert times(answer) == [pytest.approx(t) for t in (11, 11.1, 11.2, 13.3, 13.4)]


async def test_a_stall_can_keep_the_line_alive_with_comments(autojump_clock: MockClock) -> None:
    answer = await steady(Stall(2, 10, pings=3))
    pings = [at for at, data in answer.reads if data.endswith(b": keep-alive\n\n\r\n")]
    assert pings == [pytest.approx(1.1 + k) for k in (3, 6, 9)]


async def test_the_end_can_be_late(autojump_clock: MockClock) -> None:
    answer = await steady(HangAfterDone(7))
    done = next(at for at, data in answer.reads if b"[DONE]" in data)
    assert done == pytest.approx(1.4)
    at, data = answer.reads[-1]
    assert data == b"0\r\n\r\n"
    assert at == pytest.approx(8.4)


async def test_an_error_and_a_cut_come_at_their_token_s_time(autojump_clock: MockClock) -> None:
    answer = await steady(InStreamError(2))
    assert answer.reads[-1][0] == pytest.approx(1.2)
    start = trio.current_time()
    await steady(Cut(2))
    assert trio.current_time() - start == pytest.approx(1.1)


async def test_who_reads_late_gets_all_that_is_due_together(autojump_clock: MockClock) -> None:
    async with open_site(back=Link(window=300)) as site:
        line = await site.connect()
        await line.send_all(http(chat("steady")))
        await trio.sleep(100)
        answer = await talk(line, b"")
        assert answer.done and len(answer.said().split()) == 5
        assert trio.current_time() == 100


async def test_slow_links_delay_what_is_read(autojump_clock: MockClock) -> None:
    async with open_site(link=Link(latency=1), back=Link(latency=2)) as site:
        answer = await site.ask(chat("steady"))
        # Connecting takes a round trip, the request one second, the answer two.
        assert times(answer)[0] == 3 + 1 + 1 + 2


# Leaving. -------------------------------------------------------------------------------------


async def left(site: Site, after: float) -> PipeConnection:
    """A client that asks and closes `after` seconds later."""
    line = await site.connect()
    await line.send_all(http(chat("steady")))
    with trio.move_on_after(after):
        while True:
            await line.wait_readable()
            if not line.recv_nowait(65536):
                break
    line.close()
    return line


@pytest.mark.parametrize("after", [0.5, 1.15, 1.4])
@pytest.mark.parametrize(
    "script", [(), (Stall(1),), (Stall(0, None, 0.2),), (HangAfterDone(),), (Delay(99),)]
)
async def test_a_client_that_leaves_is_noticed_at_once(
    autojump_clock: MockClock, script: tuple[Fault, ...], after: float
) -> None:
    async with open_site(*script) as site:
        await left(site, after)
        await wait_all_tasks_blocked()
        record = site.provider.log[0]
        if record.ending != "complete":
            assert (record.ending, record.aborted) == ("client gone", True)
            assert record.ended_at == pytest.approx(after)
        assert site.network.statistics().current_connections == 0
        assert trio.lowlevel.current_statistics().tasks_living < 12


async def test_a_client_that_resets_is_noticed_at_once(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        await line.send_all(http(chat("steady")))
        await trio.sleep(0.5)
        line.reset()
        await wait_all_tasks_blocked()
        assert (site.provider.log[0].ending, site.provider.log[0].ended_at) == ("client gone", 0.5)


async def test_what_a_client_sends_ahead_is_bounded_and_its_leaving_seen_with_the_next_token(
    autojump_clock: MockClock,
) -> None:
    async with open_site() as site:
        line = await site.connect()
        await line.send_all(http(chat("steady"), close=False))
        with trio.move_on_after(0.5) as scope:
            await line.send_all(bytes(1 << 20))
        assert scope.cancelled_caught
        # One read, and one more where the provider looks again before it has begun to answer.
        assert line.statistics().outgoing.received_bytes < 130 * 1024
        line.close()
        await trio.sleep(1)
        assert site.provider.log[0].aborted
        assert site.provider.log[0].ended_at == 1


async def test_a_client_that_leaves_while_its_window_is_full_is_noticed(
    autojump_clock: MockClock,
) -> None:
    async with open_site(back=Link(window=100)) as site:
        line = await site.connect()
        await line.send_all(http(chat()))
        await trio.sleep(5)
        assert site.network.statistics().current_requests == 1
        line.close()
        await wait_all_tasks_blocked()
        assert site.provider.log[0].aborted
        assert site.provider.log[0].ended_at == 5


async def test_the_log_knows_how_far_it_came(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        await left(site, 1.25)
        await wait_all_tasks_blocked()
        record = site.provider.log[0]
        assert (record.sent_tokens, record.first_token_at) == (3, 1)
        assert record.sent() == " ".join(record.intended().split(" ")[:3])
        assert record.first_byte_at == 0


async def test_a_client_that_leaves_during_its_upload_is_logged(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        await line.send_all(http(chat())[:-5])
        await trio.sleep(1)
        line.close()
        await wait_all_tasks_blocked()
        assert (site.provider.log[0].ending, site.provider.log[0].status) == ("client gone", None)


# Limits. --------------------------------------------------------------------------------------


async def test_a_rate_limit_tells_its_figures_and_lets_later_requests_in(
    autojump_clock: MockClock,
) -> None:
    async with open_site(RateLimit(rpm=2, tpm=1000)) as site:
        first = await site.ask(chat())
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-tokens"] == str(1000 - 8 - 5)
        await site.ask(chat())
        refused = await site.ask(chat())
        assert (refused.status, refused.headers["retry-after"]) == (429, "30")
        assert refused.error["code"] == "rate_limit_exceeded"
        assert site.provider.log[2].ending == "status"
        assert (await site.ask(chat("gpt-4.1"))).status == 200
        await trio.sleep(30)
        assert (await site.ask(chat())).status == 200


async def test_an_overload_depends_on_what_is_in_progress(autojump_clock: MockClock) -> None:
    async with open_site(Overload(beyond=2, retry_after=1.5)) as site:
        statuses = []

        async def client() -> None:
            statuses.append((await site.ask(chat("steady"))).status)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client)
        assert sorted(statuses) == [200, 200, 503, 503]
        refused = next(record for record in site.provider.log if record.status == 503)
        assert refused.ended_at == 0
        assert (await site.ask(chat("steady"))).status == 200


async def test_faults_can_keep_hours(autojump_clock: MockClock) -> None:
    plan = Plan((Rule((Cut(0),), When(since=10, until=20)),))
    async with open_site(plan=plan) as site:
        done = []
        for _ in range(4):
            done.append((await site.ask(chat())).done)
            await trio.sleep(8)
        assert done == [True, True, False, True]


async def test_a_thousand_paced_answers_need_no_task_step_each(autojump_clock: MockClock) -> None:
    steps = Steps()
    models = {"steady": Profile(1, 1, 10, (20, 20))}
    async with open_site(models=models) as site:
        lines = [await site.connect() for _ in range(100)]
        for line in lines:
            await line.send_all(http(chat("steady")))
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(2.95)
        trio.lowlevel.remove_instrument(steps)
        assert all(record.sent_tokens == 20 for record in site.provider.log)
        # 100 answers of 20 tokens: 20 rounds of the pacer, then each conversation's end.
        assert steps.count < 100 * 8
        for line in lines:
            assert b"[DONE]" in await read_until(line, b"0\r\n\r\n")
            line.close()
        assert site.network.statistics().paced_answers == 0


class Steps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_a_single_answer_can_be_as_long_as_one_likes(autojump_clock: MockClock) -> None:
    async with open_site(Respond(tokens=4_000)) as site:
        answer = await site.ask(chat())
        assert len(answer.said().split(" ")) == 4_000
    assert STEADY.gap == 0.1
