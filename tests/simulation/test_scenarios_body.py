"""Scenarios B and E: the body of the stream, and its end (SCENARIOS 5.4, 5.5)."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import (
    ConnectionLostError,
    DeadlineError,
    EngineError,
    Patience,
    ServerError,
    TruncatedStreamError,
    UsageReport,
)
from streamnursery.errors import (
    FirstTokenTimeoutError,
    IdleTimeoutError,
    MalformedChunkError,
    TooLargeError,
    TotalTimeoutError,
)
from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    CloseDelimited,
    Comments,
    Crlf,
    Cut,
    Delay,
    Drip,
    Garbage,
    HangAfterDone,
    InStreamError,
    NoEndMark,
    NoFinish,
    NoUsage,
    Reset,
    Split,
    Stall,
    UsageLie,
)
from streamnursery.simulator.fault import Fault
from tests.support.scene import AT_ONCE, always, ask, once, scene, virtual

BREAKS: list[tuple[str, type[EngineError]]] = [
    ("reset", ConnectionLostError),
    ("cut", ConnectionLostError),
    ("cut chunked", TruncatedStreamError),
    ("bad json", MalformedChunkError),
    ("error", ServerError),
]


def broken(kind: str, at: int) -> Fault:
    return {
        "reset": Reset(at),
        "cut": Cut(at),
        "cut chunked": Cut(at, how="end"),
        "bad json": BadJson(at),
        "error": InStreamError(at, type="overloaded_error", code=None),
    }[kind]


@pytest.mark.parametrize(("kind", "error"), BREAKS)
def test_b2_b5_b9_b10_a_break_before_the_first_token_is_not_seen(
    kind: str, error: type[EngineError]
) -> None:
    @virtual
    async def check() -> None:
        async with scene(once(broken(kind, 0))) as s:
            reading = await ask(s.engine)
            assert reading.finished
            assert reading.text == s.provider.log[1].intended()
            assert s.engine.statistics().total.retries == 1

    check()


@pytest.mark.parametrize("at", range(1, 11))
@pytest.mark.parametrize(("kind", "error"), BREAKS)
def test_b3_b5_b9_b10_after_k_tokens_the_error_carries_the_partial(
    kind: str, error: type[EngineError], at: int
) -> None:
    if kind == "bad json" and at == 10:
        return  # there are ten tokens, 0 to 9: nothing would be broken

    @virtual
    async def check() -> None:
        async with scene(always(broken(kind, at))) as s:
            reading = await ask(s.engine)
            assert isinstance(reading.error, error), repr(reading.error)
            assert reading.tokens == at
            assert reading.text == reading.error.partial.text  # type: ignore[union-attr]
            assert s.provider.log[0].intended().startswith(reading.text)
            assert reading.error.committed
            assert len(reading.error.attempts) == 1
            assert s.asked == 1
            total = s.engine.statistics().total
            assert (total.failed, total.succeeded) == (1, 0)

    check()


@virtual
async def test_b5_a_close_delimited_cut_is_no_completion() -> None:
    async with scene(always(CloseDelimited(), Cut(4))) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, TruncatedStreamError)


@virtual
async def test_b6_silence_after_k_tokens_is_an_idle_timeout() -> None:
    async with scene(always(Stall(at=3, seconds=None))) as s:
        reading = await ask(s.engine, patience=Patience(idle=20))
        assert isinstance(reading.error, IdleTimeoutError)
        assert reading.tokens == 3
        assert trio.current_time() == pytest.approx(1.2 + 20, abs=0.01)


@virtual
async def test_b6_a_silence_shorter_than_the_clock_is_none() -> None:
    async with scene(always(Stall(at=3, seconds=19))) as s:
        assert (await ask(s.engine, patience=Patience(idle=20))).finished


@virtual
async def test_b7_a_drip_ends_at_the_total_clock() -> None:
    async with scene(always(Drip(bytes=1, every=4.9))) as s:
        reading = await ask(s.engine, patience=Patience(total=300, first_token=None, idle=None))
        assert isinstance(reading.error, TotalTimeoutError)
        assert s.asked == 1


@virtual
async def test_b7_a_drip_ends_at_the_deadline_where_that_is_earlier() -> None:
    async with scene(always(Drip(bytes=1, every=4.9))) as s:
        patience = Patience(total=None, first_token=None, idle=None)
        error = (await ask(s.engine, patience=patience, timeout=100)).error
        assert isinstance(error, DeadlineError)
        assert trio.current_time() == 100


@virtual
async def test_b8_comments_do_not_feed_the_first_token_clock() -> None:
    one = {"retries": {"attempts": 1}}
    async with scene(always(Stall(at=0, seconds=None, pings=1.0)), model=one) as s:
        error = (await ask(s.engine, patience=Patience(first_token=30))).error
        assert isinstance(error, FirstTokenTimeoutError)
        assert trio.current_time() == pytest.approx(30, abs=1.1)


@virtual
async def test_b8_pings_do_not_feed_the_idle_clock() -> None:
    async with scene(always(Stall(at=2, seconds=None, pings=1.0))) as s:
        error = (await ask(s.engine, patience=Patience(idle=10))).error
        assert isinstance(error, IdleTimeoutError)
        assert trio.current_time() == pytest.approx(1.1 + 10, abs=0.01)


@pytest.mark.parametrize("shape", ["openai", "openrouter"])
@pytest.mark.parametrize("code", ["server_error", 502])
def test_b9_an_error_object_in_the_stream_is_the_providers_error(
    shape: str, code: str | int
) -> None:
    @virtual
    async def check() -> None:
        async with scene(always(InStreamError(2, code=code, shape=shape, done=True))) as s:
            reading = await ask(s.engine)
            assert isinstance(reading.error, ServerError)
            assert reading.error.status == 200
            assert reading.tokens == 2

    check()


@pytest.mark.parametrize("kind", ["endless_line", "endless_event", "endless_comment"])
def test_b11_what_never_ends_is_refused_at_its_bound(kind: str) -> None:
    @virtual
    async def check() -> None:
        async with scene(always(Garbage(kind))) as s:
            error = (await ask(s.engine)).error
            assert isinstance(error, TooLargeError)
            assert s.asked == 1

    check()


@pytest.mark.parametrize("most", [20, 10_000])
@virtual
async def test_the_bound_of_an_event_is_a_setting_of_the_endpoint(most: int) -> None:
    endpoint = {"url": "http://main.example.com/v1", "max_event_bytes": most}
    async with scene(endpoints={"main": endpoint}) as s:
        error = (await ask(s.engine)).error
        assert (type(error) is TooLargeError) == (most == 20)
        assert error is None or "raise the endpoint's max_event_bytes" in str(error)
        assert s.asked == 1


@virtual
async def test_oddities_that_are_no_faults_change_nothing() -> None:
    for faults in (
        (Crlf(),),
        (Comments(3),),
        (Split((1,)),),
        (Split((7, 1, 300)), Crlf(), Comments(1)),
        (NoEndMark(),),
        (NoFinish(),),
        (NoUsage(), NoEndMark(), CloseDelimited()),
    ):
        async with scene(always(*faults), profile=AT_ONCE) as s:
            reading = await ask(s.engine)
            assert reading.finished, (faults, reading.error)
            assert reading.text == s.provider.log[0].intended()


@virtual
async def test_invalid_utf8_is_replaced_and_the_rest_is_read() -> None:
    async with scene(always(BadUtf8(4))) as s:
        reading = await ask(s.engine)
        assert reading.finished
        assert "�" in reading.text


@virtual
async def test_half_a_character_at_the_end_of_a_cut_body_is_a_cut() -> None:
    async with scene(always(BadUtf8(4), Cut(5))) as s:
        assert isinstance((await ask(s.engine)).error, ConnectionLostError)


@virtual
async def test_e1_complete_at_the_end_mark_and_the_connection_is_used_again() -> None:
    async with scene(always(HangAfterDone(0.03)), profile=AT_ONCE) as s:
        for _ in range(50):
            async with s.engine.stream("m", "hello") as stream:
                before = trio.current_time()
                await stream.completion()
                assert trio.current_time() == before
        assert s.network.statistics().accepted == 1


@virtual
async def test_e1_a_server_that_holds_the_line_loses_the_connection_after_50_ms() -> None:
    async with scene(always(HangAfterDone(None)), profile=AT_ONCE) as s:
        async with s.engine.stream("m", "hello") as stream:
            await stream.completion()
            assert trio.current_time() == 0
        assert trio.current_time() == pytest.approx(0.05)
        assert s.engine.statistics().connections.idle == 0


@virtual
async def test_e2_a_finish_and_a_clean_end_are_enough_and_usage_may_be_missing() -> None:
    async with scene(always(NoEndMark(), NoUsage(), CloseDelimited())) as s:
        completion = await s.engine.complete("m", "hello")
        assert completion.finish_reason == "stop"
        assert completion.usage is not None
        assert completion.usage.estimated
        assert completion.usage.output_tokens == 10
        assert completion.usage.input_tokens
        assert s.engine.statistics().total.output_tokens == 10


@pytest.mark.parametrize("lie", [-5, True, "7", 10**40, None])
def test_e4_a_usage_that_lies_spoils_nothing_but_itself(lie: object) -> None:
    @virtual
    async def check() -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": lie, "total_tokens": 3}
        async with scene(always(UsageLie(usage))) as s:
            reading = await ask(s.engine)
            assert reading.finished
            (report,) = (e for e in reading.events if isinstance(e, UsageReport))
            assert report.usage.output_tokens is None
            assert report.usage.input_tokens == 3
            assert s.engine.statistics().total.output_tokens == 10

    check()


@virtual
async def test_a_late_first_token_counts_into_ttft_with_the_queue() -> None:
    async with scene(always(Delay(first_token=4)), model={"max_streams": 1}) as s:
        async with s.engine.stream("m", "a") as first:
            await wait_all_tasks_blocked()
            async with s.engine.stream("m", "b") as second:
                await first.completion()
                timings = (await second.completion()).timings
        assert timings.queue_time == pytest.approx(4.9, abs=0.01)
        assert timings.time_to_first_token == pytest.approx(8.9, abs=0.01)
        assert timings.provider_time_to_first_token == pytest.approx(4.0, abs=0.01)
        assert timings.time_per_output_token() == pytest.approx(0.1)
