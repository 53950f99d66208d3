"""Limits per minute over the whole engine: streams and calls, in simulated worlds."""

from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from streamnursery import Engine, RequestError
from streamnursery.errors import QueueDeadlineError, TooManyTokensError
from streamnursery.simulator import RateLimit, Status
from streamnursery.testing.quiescence import assert_quiescent
from tests.support.scene import AT_ONCE, PACED, always, ask, once, scene, virtual


async def read(eng: Engine, started: list[float], **options: object) -> None:
    async with eng.stream("m", "Hello", **options) as stream:  # type: ignore[arg-type]
        completion = await stream.completion()
        started.append(completion.timings.admitted_at or 0.0)


async def call(eng: Engine, started: list[float]) -> None:
    async with eng.lease("m"):
        started.append(trio.current_time())


@virtual
async def test_the_providers_limit_as_our_own_is_never_met() -> None:
    plan = always(RateLimit(rpm=60))
    async with scene(plan, profile=AT_ONCE, model={"rpm": 60, "max_streams": 100}) as s:
        started: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(read, s.engine, started)
        assert s.engine.statistics().total.retries == 0
        assert s.asked == 40
        assert started == pytest.approx([0.0] * 6 + [n * 60 / 54 for n in range(1, 35)], abs=0.01)


@virtual
async def test_calls_and_streams_take_from_the_same_minute() -> None:
    async with scene(profile=AT_ONCE, model={"rpm": 10, "burst": 1}) as s:
        started: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(read, s.engine, started)
                nursery.start_soon(call, s.engine, started)
        assert len([at for at in started if at < 60]) == 10
        assert len([at for at in started if at >= 60]) == 4


@virtual
async def test_tokens_are_reserved_by_estimate_and_settled_with_the_usage() -> None:
    async with scene(profile=PACED, model={"tpm": 10_000, "burst": 1}) as s:
        limit = s.engine._admission.lanes.model("m").rates.buckets["tpm"]
        async with s.engine.stream("m", "x" * 400, max_tokens=5000) as stream:
            await anext(stream)
            assert limit.used(trio.current_time()) == 104 + 5000
            completion = await stream.completion()
        assert completion.usage is not None
        assert limit.used(trio.current_time()) == completion.usage.total_tokens


@virtual
async def test_a_request_above_the_limit_has_a_typed_error() -> None:
    async with scene(model={"tpm": 1000}) as s:
        async with s.engine.stream("m", "Hi", max_tokens=2000) as stream:
            with pytest.raises(TooManyTokensError, match="tpm = 1000 of model 'm'"):
                await stream.completion()
        assert s.asked == 0


@virtual
async def test_rates_change_under_load() -> None:
    async with scene(profile=AT_ONCE, model={"rpm": 1}) as s:
        started: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read, s.engine, started)
            await trio.sleep(10)
            assert len(started) == 1
            s.engine.set_rates(model="m", rpm=1000)
            await trio.sleep(1)
            assert len(started) == 5
        s.engine.set_rates(endpoint="main", rpm=1)
        s.engine.set_rates(endpoint="main")
        with pytest.raises(RequestError, match="one at a time"):
            s.engine.set_rates(rpm=5)
        with pytest.raises(RequestError, match="rpm must be a whole number >= 1, not 0"):
            s.engine.set_rates(model="m", rpm=0)


@given(
    schedule=st.random_module(),
    rpm=st.integers(1, 12),
    tpm=st.integers(100, 3000),
    burst=st.sampled_from([0.1, 0.5, 1.0]),
    arrivals=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 1.0, 20.0]),
            st.booleans(),
            st.sampled_from([0.5, 30.0, 500.0]),
        ),
        min_size=1,
        max_size=15,
    ),
)
def test_no_minute_reserves_more_than_its_limit_whoever_asks_and_leaves(
    schedule: object,
    rpm: int,
    tpm: int,
    burst: float,
    arrivals: list[tuple[float, bool, float]],
) -> None:
    started: list[float] = []

    async def one(eng: Engine, streamed: bool, patience: float) -> None:
        with trio.move_on_after(patience), suppress(QueueDeadlineError):
            if streamed:
                await read(eng, started, max_tokens=60)
            else:
                await call(eng, started)

    @virtual
    async def main() -> None:
        model = {"rpm": rpm, "tpm": tpm, "burst": burst, "max_streams": 3}
        async with scene(profile=PACED, model=model) as s:
            async with trio.open_nursery() as nursery:
                for pause, streamed, patience in arrivals:
                    await trio.sleep(pause)
                    nursery.start_soon(one, s.engine, streamed, patience)
            for kind, bucket in s.engine._admission.lanes.model("m").rates.buckets.items():
                assert bucket.used(trio.current_time()) <= {"rpm": rpm, "tpm": tpm}[kind]
            assert_quiescent(s.engine)

    main()
    for at in started:
        assert sum(other <= at < other + 60 for other in started) <= rpm


@virtual
async def test_a_limit_that_only_the_provider_knows_is_learned_from_its_answers() -> None:
    plan = always(RateLimit(rpm=30))
    async with scene(plan, profile=AT_ONCE, model={"max_streams": 5}) as s:
        started: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(read, s.engine, started)
        assert len(started) == 60
        # Answers may overtake each other, so now and then one asks too early: of those that ignore
        # the headers every second one does.
        assert s.engine.statistics().total.retries <= 8
        assert trio.current_time() == pytest.approx(60, abs=3)


@virtual
async def test_what_a_provider_states_can_be_ignored() -> None:
    endpoints = {"main": {"url": "http://main.example.com/v1", "learn_rates": False}}
    plan = always(RateLimit(rpm=30))
    async with scene(plan, profile=AT_ONCE, model={"max_streams": 5}, endpoints=endpoints) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(read, s.engine, [])
        assert s.engine.statistics().total.retries > 8


@virtual
async def test_a_429_without_retry_after_waits_for_the_reset_its_headers_name() -> None:
    headers = (
        ("x-ratelimit-limit-requests", "100"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "20s"),
    )
    async with scene(once(Status(429, headers=headers)), profile=AT_ONCE) as s:
        readings = [await ask(s.engine) for _ in range(3)]
        assert all(reading.finished for reading in readings)
        assert 20 <= trio.current_time() < 23
