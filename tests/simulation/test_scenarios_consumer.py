"""Scenarios X, P, K and O: cancellation, capacity, consumers, overload (SCENARIOS 5.6 to 5.11),
and what the block, the deadline and the drain promise."""

import random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import (
    ChatRequest,
    DeadlineError,
    EngineClosedError,
    EngineError,
    Failed,
    Finished,
    OverloadedError,
    Patience,
    Priority,
    RequestError,
    Rerouted,
    ServerError,
    StreamCancelledError,
    open_engine,
)
from streamnursery.errors import QueueDeadlineError
from streamnursery.simulator import (
    HangAfterDone,
    Overload,
    Plan,
    Profile,
    Respond,
    Rule,
    Status,
    When,
)
from streamnursery.testing import assert_quiescent
from tests.support.scene import AT_ONCE, always, ask, once, read, scene, virtual

LONG = Profile(tokens_per_second=1000, output_tokens=(5000, 5000))


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest("m", [{"role": "user", "content": f"q{i}"}]) for i in range(count)]


@pytest.mark.parametrize("k", range(10))
def test_x1_leaving_after_k_tokens_leaves_nothing(k: int) -> None:
    @virtual
    async def check() -> None:
        async with scene() as s:
            async with s.engine.stream("m", "hello") as stream:
                for _ in range(k):
                    await anext(stream)
            assert_quiescent(s.engine)
            await trio.sleep(0.1)
            if k or s.provider.log:
                assert s.provider.log[0].aborted
            total = s.engine.statistics().total
            assert (total.cancelled, total.succeeded) == (1, 0)
            assert (await ask(s.engine)).finished

    check()


@virtual
async def test_a_streams_block_is_entered_once() -> None:
    async with scene() as s:
        block = s.engine.stream("m", "hello")
        async with block as stream:
            await stream.completion()
        with pytest.raises(RequestError, match="entered once"):
            async with block:
                pass
        assert s.engine.statistics().total.requests == 1


@virtual
async def test_x4_the_deadline_and_the_last_token_never_both() -> None:
    for seed in range(40):
        random.seed(seed)
        async with scene() as s:
            now = trio.current_time()
            reading = await ask(s.engine, deadline=now + 1.9 + random.choice([-1e-9, 0, 1e-9]))
            assert reading.finished != (reading.error is not None)
            total = s.engine.statistics().total
            assert total.succeeded == reading.finished
            assert total.failed == (not reading.finished)


@virtual
async def test_x6_cancel_in_backoff_and_in_the_queue_is_at_once() -> None:
    async with scene(always(Status(503)), model={"max_streams": 1}) as s:
        for pause in (0.5, 3.0, 10.0):
            before = trio.current_time()
            with trio.move_on_after(pause):
                async with s.engine.stream("m", "hello") as stream:
                    await read(stream)
            assert trio.current_time() <= before + pause
            assert_quiescent(s.engine)


@virtual
async def test_p1_limits_go_down_to_nothing_and_up_under_load() -> None:
    async with scene(model={"max_streams": 10}) as s:
        peaks: list[int] = []

        async def change() -> None:
            for limit, pause in ((3, 3), (0, 6), (10, 1)):
                s.engine.set_limits(model="m", max_streams=limit)
                await trio.sleep(2.5)
                peaks.append(s.engine.statistics().active)
                await trio.sleep(pause)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            outcomes = await s.engine.settle(requests(40))
        assert all(outcome.ok for outcome in outcomes)
        assert peaks[0] <= 3
        assert peaks[1] == 0


@virtual
async def test_p2_a_stuck_model_does_not_touch_a_free_one() -> None:
    settings: dict[str, Any] = {
        "endpoints": {"main": {"url": "http://main.example.com/v1"}},
        "models": {
            "m": {"routes": [{"endpoint": "main"}], "max_streams": 1},
            "free": {"routes": [{"endpoint": "main", "model": "m"}], "max_streams": 10},
        },
    }
    async with scene(Plan(), **settings) as s:
        async with s.engine.stream("m", "holds the only slot", buffer_events=1):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(s.engine.complete, "m", "stuck")
                await wait_all_tasks_blocked()
                before = trio.current_time()
                outcomes = await s.engine.settle(
                    ChatRequest("free", [{"role": "user", "content": str(i)}]) for i in range(10)
                )
                assert all(outcome.ok for outcome in outcomes)
                assert trio.current_time() - before == pytest.approx(1.9, abs=0.01)
                nursery.cancel_scope.cancel()


@virtual
async def test_k1_a_slow_consumer_is_no_stall_and_holds_back_the_provider() -> None:
    async with scene(profile=LONG) as s:
        patience = Patience(idle=1, total=60)
        async with s.engine.stream(
            "m", "hello", patience=patience, buffer_events=50, buffer_bytes=20_000
        ) as stream:
            await trio.sleep(500)
            buffer = stream.statistics().buffer
            assert buffer.sender_waiting
            assert stream.waiting_for() == "the consumer"
            assert s.provider.log[0].sent_tokens < 5000
            reading = await read(stream)
            buffer = stream.statistics().buffer
        assert reading.finished
        assert reading.text == s.provider.log[0].intended()
        assert buffer.peak_bytes <= 20_000 + 64 * 1024
        assert s.engine.statistics().buffered_bytes == 0


@virtual
async def test_k2_the_consumers_own_error_leaves_bare() -> None:
    async with scene() as s:
        with pytest.raises(ValueError, match="mine") as caught:
            async with s.engine.stream("m", "hello") as stream:
                async for _ in stream:
                    raise ValueError("mine")
        assert caught.value.__context__ is None
        assert_quiescent(s.engine)


@virtual
async def test_k2_it_leaves_the_engine_bare_too() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_engine({}) as eng, eng.stream("sim/fast", "hello") as stream:
            await anext(stream)
            raise ValueError("mine")


@virtual
async def test_k3_only_the_deadline_ends_a_stream_that_nobody_reads() -> None:
    async with scene(profile=LONG) as s:
        async with s.engine.stream(
            "m", "hello", timeout=5000, patience=Patience(idle=1, total=10), buffer_events=10
        ) as stream:
            await trio.sleep(4999)
            assert stream.error is None
            await trio.sleep(2)
            reading = await read(stream)
        assert isinstance(reading.error, DeadlineError)
        assert not reading.events
        assert reading.error.partial


@virtual
async def test_k3_the_deadline_counts_to_the_last_event_delivered() -> None:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.stream("m", "hello", timeout=5) as stream:
            await anext(stream)  # the whole answer lies in the buffer
            await trio.sleep(6)
            with pytest.raises(DeadlineError):
                await anext(stream)
        assert s.engine.statistics().total.failed == 1


@virtual
async def test_k3_the_last_bytes_do_not_outlast_the_deadline() -> None:
    async with scene(always(HangAfterDone(9)), profile=AT_ONCE) as s:
        async with s.engine.stream("m", "hello", timeout=0.02) as stream:
            await trio.sleep(0.01)
            assert stream.attempts  # the answer is whole, the message is not
            await trio.sleep(1)
            with pytest.raises(DeadlineError, match=r"0\.020 s, while waiting for the consumer"):
                await anext(stream)
        assert stream.timings.duration == pytest.approx(0.02)


@virtual
async def test_a_callers_own_cancel_scope_counts_as_cancelled_and_a_timeout_as_failed() -> None:
    for model in ({}, {"max_streams": 0}):  # it waits for content, or for a slot
        async with scene(profile=LONG, model=model) as s:
            with trio.move_on_after(3) as scope:
                await ask(s.engine)
            assert scope.cancelled_caught
            total = s.engine.statistics().total
            assert (total.cancelled, total.failed) == (1, 0)
            with trio.move_on_after(6):
                assert isinstance((await ask(s.engine, timeout=3)).error, EngineError)
            assert s.engine.statistics().total.failed == 1


@virtual
async def test_o1_beyond_the_queue_requests_are_refused_at_once() -> None:
    async with scene(model={"max_streams": 5}, engine={"max_queued": 20}) as s:
        outcomes = await s.engine.settle(requests(250), max_in_flight=250)
        refused = [o for o in outcomes if isinstance(o.error, OverloadedError)]
        assert len(refused) == 225
        assert all(o.ok for o in outcomes if o not in refused)
        assert s.asked == 25


@virtual
async def test_o4_two_endpoints_that_fail_are_asked_in_turn_and_never_in_a_loop() -> None:
    failing = always(Status(500))
    async with scene(failing, backups={"spare": failing}, model={"retries": {"attempts": 2}}) as s:
        reading = await ask(s.engine)
        assert isinstance(reading.error, ServerError)
        asked = [len(provider.log) for provider in s.providers.values()]
        assert sum(asked) <= 4
        assert min(asked) >= 1
        assert sum(isinstance(e, Rerouted) for e in reading.events) == 1


@virtual
async def test_an_overloaded_provider_gets_everything_done_in_the_end() -> None:
    async with scene(always(Overload(beyond=4, retry_after=1)), model={"max_streams": 8}) as s:
        outcomes = await s.engine.settle(requests(30))
        assert all(o.ok for o in outcomes), [o.error for o in outcomes if not o.ok]


@virtual
async def test_cancel_reaches_the_reader_and_frees_everything() -> None:
    async with scene() as s:
        async with s.engine.stream("m", "hello") as stream:
            await anext(stream)
            stream.cancel()
            stream.cancel()
            reading = await read(stream)
            assert isinstance(reading.error, StreamCancelledError)
            assert not reading.events
            await wait_all_tasks_blocked()
            assert_quiescent(s.engine)
            with pytest.raises(StreamCancelledError) as again:
                await stream.completion()
            assert again.value is reading.error


@virtual
async def test_cancel_all_ends_streams_and_calls() -> None:
    async with scene() as s:
        errors: list[EngineError] = []

        async def call() -> None:
            with pytest.raises(StreamCancelledError) as caught:
                await s.engine.run("own", trio.sleep, 100)
            errors.append(caught.value)

        async def stream() -> None:
            error = (await ask(s.engine)).error
            assert error is not None
            errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(stream)
            await trio.sleep(0.5)
            assert s.engine.cancel_all() == 2
        assert [type(e) for e in errors] == [StreamCancelledError] * 2
        assert trio.current_time() == 0.5


@virtual
async def test_a_drain_lets_work_finish_and_takes_nothing_new() -> None:
    async with scene(model={"max_streams": 1}) as s:
        readings = []

        async def one() -> None:
            readings.append(await ask(s.engine))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
            await trio.sleep(0.5)
            report = await s.engine.drain(timeout=10)
            assert report.finished
        assert all(reading.finished for reading in readings)
        with pytest.raises(EngineClosedError, match="draining"):
            s.engine.stream("m", "late")


@virtual
async def test_a_drain_lets_accepted_requests_start_and_try_again() -> None:
    async with scene(once(Status(503))) as s:
        readings = []

        async def one() -> None:
            readings.append(await ask(s.engine))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(0.01)  # the first attempt has failed by now
            report = await s.engine.drain()
        assert report.finished
        assert readings[0].finished


@virtual
async def test_a_drain_cancels_what_its_time_does_not_reach() -> None:
    async with scene() as s:
        readings = []

        async def one() -> None:
            readings.append(await ask(s.engine))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(0.5)
            report = await s.engine.drain(timeout=1)
            assert (report.finished, report.cancelled) == (False, 1)
            assert trio.current_time() == 1.5
        assert isinstance(readings[0].error, StreamCancelledError)


@virtual
async def test_leases_runs_and_streams_obey_one_limit_and_one_queue() -> None:
    async with scene(model={"max_streams": 3}) as s:
        running = peak = 0

        async def own() -> None:
            nonlocal running, peak
            running += 1
            peak = max(peak, s.engine.statistics().active)
            await trio.sleep(0.7)
            running -= 1

        async def lease() -> None:
            async with s.engine.lease("m", priority=Priority.BATCH) as held:
                await own()
                held.report(input_tokens=3, output_tokens=5)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lease)
                nursery.start_soon(s.engine.run, "m", own)
                nursery.start_soon(ask, s.engine)
        statistics = s.engine.statistics().models["m"]
        assert peak == 3 == statistics.peak_active
        assert (statistics.requests, statistics.succeeded) == (15, 15)
        assert statistics.output_tokens == 25 + 50


@virtual
async def test_a_lease_that_waits_too_long_says_what_for() -> None:
    async with scene(model={"max_streams": 0}) as s:
        with pytest.raises(QueueDeadlineError, match="0 of 0 taken"):
            async with s.engine.lease("m", timeout=2):
                pass
        assert trio.current_time() == 2
        assert s.engine.statistics().total.failed == 1


@virtual
async def test_merge_brings_the_events_of_many_streams() -> None:
    plan = Plan((Rule((Status(400),), When(requests=(2,))),))
    async with scene(plan) as s:
        ends: dict[int, type] = {}
        texts: dict[int, str] = {}
        async with s.engine.merge(requests(3)) as events:
            async for index, event in events:
                assert index not in ends
                if isinstance(event, Finished | Failed):
                    ends[index] = type(event)
                else:
                    texts[index] = texts.get(index, "") + getattr(event, "text", "")
        assert sorted(kind.__name__ for kind in ends.values()) == ["Failed", "Finished", "Finished"]
        intended = {record.intended() for record in s.provider.log if record.ending == "complete"}
        assert set(filter(None, texts.values())) == intended


@virtual
async def test_consumers_outside_the_engines_block_do_not_wait_for_ever() -> None:
    readings = []
    async with trio.open_nursery() as nursery:
        async with open_engine({}) as eng:

            async def outside() -> None:
                async with eng.stream("sim/gpt-4.1", "hello") as stream:
                    readings.append(await read(stream))

            nursery.start_soon(outside)
            await trio.sleep(0.1)
    assert isinstance(readings[0].error, EngineClosedError)


@virtual
async def test_a_bug_ends_the_engine_loudly_and_every_stream_names_it() -> None:
    readings = []

    async def outside(eng: object) -> None:
        async with eng.stream("sim/gpt-4.1", "hello") as stream:  # type: ignore[attr-defined]
            readings.append(await read(stream))

    with pytest.RaisesGroup(KeyError):  # the group is this nursery's own
        async with trio.open_nursery() as nursery:
            async with open_engine({}) as eng:
                nursery.start_soon(outside, eng)
                await trio.sleep(0.1)

                class Broken:
                    def __getattr__(self, _: str) -> object:
                        raise KeyError("bug")

                eng._supervisor.routes = Broken()  # type: ignore[assignment]
                async with eng.stream("sim/fast", "hello") as stream:
                    await read(stream)
    assert isinstance(readings[0].error, EngineClosedError)
    assert isinstance(readings[0].error.__cause__, KeyError)


@virtual
async def test_several_choices_are_told_apart_and_text_refuses_them() -> None:
    async with scene(always(Respond(tokens=4))) as s:
        async with s.engine.stream("m", "hello", n=2) as stream:
            with pytest.raises(RequestError, match="n > 1"):
                stream.text()
            completion = await stream.completion()
        assert [c.index for c in completion.choices] == [0, 1]
        assert completion.choices[0].text != completion.choices[1].text
        assert all(c.finish_reason for c in completion.choices)
