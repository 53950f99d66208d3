"""Scenarios R and H: while the request goes out, and what the head of the answer may say
(SCENARIOS 5.2, 5.3)."""

import pytest
import trio

from streamnursery import (
    AuthError,
    ContentError,
    EngineError,
    ModelError,
    Patience,
    QuotaError,
    RateLimitedError,
    Rerouted,
    ServerError,
)
from streamnursery.errors import (
    FirstByteTimeoutError,
    RedirectRefusedError,
    TooLargeError,
    UnexpectedContentError,
)
from streamnursery.records import AttemptState
from streamnursery.simulator import CutUpload, Delay, Garbage, Plan, Redirect, Status
from streamnursery.simulator.fault import Fault
from tests.support.scene import always, ask, once, scene, virtual

PROXY_PAGE = "<html><body><h1>503 Service Unavailable</h1></body></html>"


@virtual
async def test_r1_a_reset_while_the_body_is_written_is_retried() -> None:
    async with scene(once(CutUpload(after=0))) as s:
        reading = await ask(s.engine)
        assert reading.finished
        assert reading.tokens == 10
        total = s.engine.statistics().total
        assert (total.succeeded, total.retries) == (1, 1)


@virtual
async def test_r2_an_early_refusal_is_not_hidden_by_the_broken_upload() -> None:
    big = [{"role": "user", "content": "x" * 300_000}]
    for code, kind in ((413, ContentError), (401, AuthError)):
        async with scene(always(Status(code, early=True))) as s:
            async with s.engine.stream("m", big) as stream:
                with pytest.raises(kind) as caught:
                    await stream.completion()
            assert caught.value.status == code
            assert not caught.value.retryable


@virtual
async def test_r3_endless_informational_answers_end_and_are_retried() -> None:
    async with scene(once(Garbage("endless_informational"))) as s:
        assert (await ask(s.engine)).finished
        assert s.engine.statistics().total.retries == 1


@virtual
async def test_r3_no_head_at_all_is_a_first_byte_timeout() -> None:
    one = {"retries": {"attempts": 1}}
    async with scene(always(Delay(first_byte=1e6)), model=one) as s:
        error = (await ask(s.engine, patience=Patience(first_byte=5))).error
        assert isinstance(error, FirstByteTimeoutError)
        assert trio.current_time() == pytest.approx(5, abs=0.01)
        assert error.attempts[0].state is AttemptState.MAYBE_SENT


@virtual
async def test_h1_retry_after_is_a_floor_with_jitter_on_top_and_no_slot_is_held() -> None:
    async with scene(once(Status(429, retry_after=2)), model={"max_streams": 1}) as s:
        free: list[int] = []

        async def look() -> None:
            await trio.sleep(1.5)
            free.append(s.engine.statistics().active)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            reading = await ask(s.engine)
        assert reading.finished
        second = s.provider.log[1].received_at
        assert 2.0 <= second <= 4.0
        assert free == [0]


@virtual
async def test_h1_a_429_pauses_the_route_for_everybody_and_they_come_back_spread_out() -> None:
    async with scene(once(Status(429, retry_after=5)), model={"max_streams": 50}) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, s.engine)
            await trio.sleep(1)
            for _ in range(40):
                nursery.start_soon(ask, s.engine)
        arrivals = [record.received_at for record in s.provider.log][1:]
        assert len(arrivals) == 41
        assert min(arrivals) >= 5
        slots = [int(at * 10) for at in arrivals]
        assert max(slots.count(slot) for slot in slots) <= 0.2 * len(slots)


@virtual
async def test_h2_a_wait_beyond_the_cap_fails_at_once() -> None:
    async with scene(always(Status(429, retry_after=3600))) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 3600
        assert trio.current_time() < 1
        assert s.asked == 1
        again = (await ask(s.engine)).error  # waits for 120 s, and asks whether that was meant
        assert isinstance(again, RateLimitedError)
        assert s.asked == 2 and 120 < trio.current_time() < 125
        for _ in range(100):
            assert isinstance((await ask(s.engine)).error, RateLimitedError)
        assert s.asked == 2  # nobody hammers a route that asked to be left alone
        assert trio.current_time() < 125


@virtual
async def test_h2_a_long_wait_that_was_not_meant_is_over_after_two_minutes() -> None:
    async with scene(once(Status(429, retry_after=10**9))) as s:
        assert isinstance((await ask(s.engine)).error, RateLimitedError)
        readings = []

        async def one() -> None:
            readings.append((await ask(s.engine)).finished)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
        assert readings == [True] * 20
        assert 120 < trio.current_time() < 180  # after a 429 there are few slots


@virtual
async def test_h2_a_wait_beyond_the_cap_falls_back_at_once() -> None:
    async with scene(always(Status(429, retry_after=3600)), backups={"spare": Plan()}) as s:
        reading = await ask(s.engine)
        assert reading.finished
        assert isinstance(reading.events[0], Rerouted)
        assert trio.current_time() < 2.1


@virtual
async def test_h3_an_empty_account_is_never_asked_again_with_the_same_key() -> None:
    quota = Status(429, error="insufficient_quota")
    async with scene(always(quota)) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, QuotaError)
        assert s.asked == 1
    async with scene(always(quota), backups={"spare": Plan()}) as s:
        assert (await ask(s.engine)).finished
        assert s.asked == 1


@pytest.mark.parametrize("code", [408, 409, 500, 502, 503, 504, 529])
def test_h4_failures_that_pass_are_retried(code: int) -> None:
    @virtual
    async def check() -> None:
        async with scene(once(Status(code), requests=(1, 2, 3))) as s:
            assert (await ask(s.engine)).finished
            assert s.asked == 4

    check()


@virtual
async def test_h4_failures_that_stay_end_after_all_attempts() -> None:
    async with scene(always(Status(503))) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, ServerError)
        assert s.asked == 5
        assert [a.status for a in error.attempts] == [503] * 5


@pytest.mark.parametrize("code", [401, 403])
def test_h5_a_refused_key_is_not_tried_again(code: int) -> None:
    @virtual
    async def check() -> None:
        async with scene(always(Status(code))) as s:
            error = (await ask(s.engine)).error
            assert isinstance(error, AuthError)
            assert s.asked == 1

    check()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Garbage("html"), UnexpectedContentError),
        (Garbage("json"), UnexpectedContentError),
        (Garbage("no_content"), UnexpectedContentError),
        (Garbage("gzip"), UnexpectedContentError),
        (Garbage("long_header"), TooLargeError),
        (Garbage("many_headers"), TooLargeError),
        (Garbage("endless_header"), TooLargeError),
        (Status(503, body=PROXY_PAGE), ServerError),
        (Status(404, error="model_not_found"), ModelError),
        (Redirect("https://evil.example.com/v1?key=canary"), RedirectRefusedError),
    ],
)
def test_h6_h7_h8_what_is_no_stream_is_one_typed_error(
    fault: Fault, kind: type[EngineError]
) -> None:
    @virtual
    async def check() -> None:
        async with scene(always(fault), model={"retries": {"attempts": 1}}) as s:
            reading = await ask(s.engine)
            assert isinstance(reading.error, kind), repr(reading.error)
            assert not reading.events
            assert "canary" not in str(reading.error)
            assert len(reading.error.body or "") <= 2048
            assert s.asked == 1

    check()


@virtual
async def test_h6_an_event_stream_without_a_type_or_as_plain_text_is_read() -> None:
    for kind in ("plain", "untyped"):
        async with scene(always(Garbage(kind))) as s:
            reading = await ask(s.engine)
            assert reading.finished
            assert reading.tokens == 10
