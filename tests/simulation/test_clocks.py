"""The provider's clocks: what lies unread, answers that take long, thinking that is not seen."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from streamnursery import Patience
from streamnursery.errors import (
    FirstByteTimeoutError,
    FirstTokenTimeoutError,
    IdleTimeoutError,
    TotalTimeoutError,
)
from streamnursery.simulator import Delay, PingSilence, Profile, Stall
from streamnursery.transport import pump
from tests.support.scene import Reading, always, ask, scene, virtual

H2C = {"main": {"url": "http://main.example.com/v1", "http": "h2c"}}
TENTHS = Profile(ttft_mean=0.1, ttft_p95=0.1, tokens_per_second=10, output_tokens=(100, 100))
SLOW = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=5, output_tokens=(1000, 1000))
FAST = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=45, output_tokens=(4000, 4000))
IMPATIENT = Patience(first_byte=1.0, first_token=1.0, idle=1.0)

HTTP = pytest.mark.parametrize("more", [{}, {"endpoints": H2C}], ids=["http1", "http2"])
READER = pytest.mark.parametrize("pumped", [True, False], ids=["pump", "task readers"])


def stand_still(seconds: float) -> None:
    """As if the process had been stopped: time passes, and no task runs."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(seconds)


async def several(engine: Any, count: int, **options: Any) -> list[Reading]:
    readings: list[Reading] = []

    async def one() -> None:
        readings.append(await ask(engine, **options))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return readings


@HTTP
@READER
def test_what_came_while_the_loop_stood_still_moves_the_clocks_before_they_strike(
    more: dict[str, Any], pumped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pumped:
        monkeypatch.setattr(pump.Readers, "_readiness_for", lambda *_: None)

    @virtual
    async def check() -> None:
        async with scene(profile=TENTHS, **more) as s, trio.open_nursery() as nursery:

            async def read() -> None:
                readings = await several(s.engine, 8, patience=IMPATIENT)
                assert [r.tokens for r in readings] == [100] * 8
                assert s.asked == 8

            nursery.start_soon(read)
            for _ in range(6):
                await trio.sleep(0.4)
                stand_still(1.15)

    check()


@HTTP
def test_a_head_that_lies_unread_is_no_first_byte_timeout(
    more: dict[str, Any],
) -> None:
    @virtual
    async def check() -> None:
        async with scene(profile=TENTHS, **more) as s:
            for number in range(1, 9):
                async with trio.open_nursery() as nursery:

                    async def read() -> None:
                        assert (await ask(s.engine, patience=IMPATIENT)).finished

                    nursery.start_soon(read)
                    await trio.sleep(0.05)
                    stand_still(1.5)
                assert s.asked == number

    check()


@HTTP
def test_a_provider_that_says_nothing_is_given_up_whether_the_loop_stood_still_or_not(
    more: dict[str, Any],
) -> None:
    @virtual
    async def check() -> None:
        one = {"retries": {"attempts": 1}}
        async with (
            scene(always(Delay(first_byte=1e6)), model=one, **more) as s,
            trio.open_nursery() as nursery,
        ):

            async def read() -> None:
                error = (await ask(s.engine, patience=IMPATIENT)).error
                assert isinstance(error, FirstByteTimeoutError)
                # It was answerable for a second in all while somebody looked, and no longer.
                assert 1 <= trio.current_time() <= 5.2

            nursery.start_soon(read)
            await trio.sleep(0.5)
            stand_still(3)

    check()


@virtual
async def test_an_idle_stream_is_given_up_though_the_loop_stood_still() -> None:
    one = {"retries": {"attempts": 1}}
    async with (
        scene(always(Stall(at=2, seconds=None, pings=0.1)), model=one) as s,
        trio.open_nursery() as nursery,
    ):

        async def read() -> None:
            reading = await ask(s.engine, patience=Patience(idle=2))
            assert isinstance(reading.error, IdleTimeoutError)
            assert reading.tokens == 2
            assert trio.current_time() <= 1.1 + 2 + 2 + 2

        nursery.start_soon(read)
        await trio.sleep(2)
        stand_still(3)


@virtual
async def test_a_connection_that_nobody_watched_is_begun_again() -> None:
    async with scene(profile=TENTHS) as s, trio.open_nursery() as nursery:

        async def read() -> None:
            assert (await ask(s.engine, patience=Patience(connect=1.0))).finished

        nursery.start_soon(read)
        await trio.lowlevel.checkpoint()
        stand_still(1.5)


@virtual
async def test_http2_asks_for_signs_of_life_and_sees_the_one_that_lies_unread() -> None:
    profile = Profile(ttft_mean=40, ttft_p95=40, tokens_per_second=10, output_tokens=(10, 10))
    async with scene(profile=profile, endpoints=H2C) as s, trio.open_nursery() as nursery:

        async def read() -> None:
            assert (await ask(s.engine)).finished
            assert s.asked == 1

        nursery.start_soon(read)
        await trio.sleep(29.99)
        stand_still(0.01)  # the PING goes out
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        stand_still(8)


@virtual
async def test_a_silent_http2_connection_is_still_given_up() -> None:
    one = {"retries": {"attempts": 1}}
    async with scene(always(PingSilence()), model=one, endpoints=H2C) as s:
        assert (await ask(s.engine, patience=Patience(first_byte=None))).error is not None
        assert trio.current_time() == pytest.approx(35, abs=0.1)


# Answers that take long. ---------------------------------------------------------------------


@virtual
async def test_an_answer_without_max_tokens_has_no_total_clock() -> None:
    async with scene(profile=FAST) as s:
        assert (await ask(s.engine)).tokens == 4000
        assert trio.current_time() > 80


@virtual
async def test_the_pace_of_the_running_stream_extends_a_derived_total() -> None:
    """A minute was derived from 45 tokens a second; this model has 5, and nothing is learned."""
    async with scene(profile=SLOW) as s:
        reading = await ask(s.engine, max_tokens=1000)
        assert (reading.error, reading.tokens) == (None, 1000)
        assert trio.current_time() > 190


@virtual
async def test_a_total_that_was_given_ends_a_healthy_answer() -> None:
    async with scene(profile=SLOW) as s:
        reading = await ask(s.engine, max_tokens=1000, patience=Patience(total=20))
        assert isinstance(reading.error, TotalTimeoutError)
        assert trio.current_time() == pytest.approx(20, abs=1.1)


@virtual
async def test_hidden_thinking_does_not_use_up_the_derived_total() -> None:
    profile = Profile(ttft_mean=200, ttft_p95=200, tokens_per_second=5, output_tokens=(50, 50))
    async with scene(profile=profile) as s:
        assert (await ask(s.engine, max_tokens=50, reasoning_effort="high")).finished


# Thinking that is not seen. -------------------------------------------------------------------

THINKS = {"model": {"reasoning": True}}


@virtual
async def test_after_a_head_a_first_token_timeout_is_retried_once() -> None:
    backups = {"spare": always(Stall(at=0)), "third": always(Stall(at=0))}
    for others in (None, backups):
        async with scene(always(Stall(at=0)), backups=others) as s:
            error = (await ask(s.engine)).error
            assert isinstance(error, FirstTokenTimeoutError)
            assert len(error.attempts) == 2
            assert sum(len(p.log) for p in s.providers.values()) == 2


@pytest.mark.parametrize(
    "asked", [{"reasoning_effort": "high"}, {"extra": {"thinking": {"type": "enabled"}}}, {}]
)
def test_who_asks_for_reasoning_waits_five_minutes_for_it(asked: dict[str, Any]) -> None:
    @virtual
    async def check() -> None:
        profile = Profile(ttft_mean=290, ttft_p95=290, tokens_per_second=10, output_tokens=(9, 9))
        model = {} if asked else {"reasoning": True}
        async with scene(profile=profile, model=model) as s:
            assert (await ask(s.engine, **asked)).finished
            assert s.asked == 1

    check()


@pytest.mark.parametrize(
    "asked", [{"reasoning_effort": "none"}, {"extra": {"thinking": {"type": "disabled"}}}]
)
def test_who_asks_for_no_reasoning_does_not(asked: dict[str, Any]) -> None:
    @virtual
    async def check() -> None:
        model = {"retries": {"attempts": 1}}
        async with scene(always(Stall(at=0)), model=model) as s:
            assert isinstance((await ask(s.engine, **asked)).error, FirstTokenTimeoutError)
            assert trio.current_time() == pytest.approx(61, abs=1.1)

    check()


@virtual
async def test_signs_of_work_put_the_first_token_of_a_reasoning_model_off_to_ten_minutes() -> None:
    model = {"reasoning": True, "retries": {"attempts": 1}}
    async with scene(always(Stall(at=0, pings=15.0)), model=model) as s:
        error = (await ask(s.engine)).error
        assert isinstance(error, FirstTokenTimeoutError)
        assert trio.current_time() == pytest.approx(600, abs=2)


@virtual
async def test_silence_of_a_reasoning_model_ends_after_five_minutes() -> None:
    model = {"reasoning": True, "retries": {"attempts": 1}}
    async with scene(always(Stall(at=0)), model=model) as s:
        error = (await ask(s.engine)).error
        assert "first_token_reasoning = 300 s" in str(error)
        assert trio.current_time() == pytest.approx(301, abs=2)


@virtual
async def test_the_waits_for_reasoning_are_settings() -> None:
    patience = {"first_token_reasoning": 70, "first_token_working": 90}
    model = {"reasoning": True, "retries": {"attempts": 1}, "patience": patience}
    for pings, seconds in ((None, 70), (5.0, 90)):
        async with scene(always(Stall(at=0, pings=pings)), model=model) as s:
            began = trio.current_time()
            await ask(s.engine)
            assert trio.current_time() - began == pytest.approx(seconds, abs=2)


# A floor under the pace. ----------------------------------------------------------------------


@virtual
async def test_an_answer_below_the_floor_of_its_pace_is_ended() -> None:
    one = {"retries": {"attempts": 1}}
    async with scene(profile=SLOW, model=one) as s:
        patience = Patience(min_tokens_per_second=8, pace_window=10)
        reading = await ask(s.engine, patience=patience)
        assert isinstance(reading.error, IdleTimeoutError)
        assert "fewer than 8 tokens a second" in str(reading.error)
        assert trio.current_time() == pytest.approx(11, abs=0.5)


@virtual
async def test_an_answer_above_the_floor_of_its_pace_goes_on() -> None:
    async with scene(profile=SLOW) as s:
        patience = Patience(min_tokens_per_second=4, pace_window=10)
        assert (await ask(s.engine, patience=patience)).tokens == 1000


@virtual
async def test_a_slow_consumer_is_not_a_slow_answer() -> None:
    profile = Profile(ttft_mean=1, ttft_p95=1, tokens_per_second=20, output_tokens=(200, 200))
    async with scene(profile=profile) as s:
        patience = Patience(min_tokens_per_second=10, pace_window=5)
        async with s.engine.stream("m", "x", patience=patience, buffer_events=8) as stream:
            async for _ in stream:
                await trio.sleep(1)
        assert s.engine.statistics().total.succeeded == 1
