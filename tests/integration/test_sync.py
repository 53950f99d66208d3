"""The engine for plain threads."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import streamnursery.sync as sn
from streamnursery.errors import DeadlineError
from streamnursery.simulator import Cut, Stall, Status
from streamnursery.values.events import Finished, StreamEvent
from streamnursery.values.lifecycle import LifecycleRecord, StreamEnded
from tests.support.bridged import in_threads, standing, sync_scene
from tests.support.guard import GUARD
from tests.support.scene import AT_ONCE, always, once

SOON: dict[str, Any] = {"timeout": 5}
"""Seconds of the engine's virtual clock."""


def test_a_stream_gives_its_events_and_ends() -> None:
    with sync_scene() as (eng, hosted):
        with eng.stream("m", "Hi") as stream:
            events = list(stream)
            assert list(stream) == []
        assert type(events[-1]) is Finished
        text = "".join(e.text for e in events if isinstance(e, sn.TextDelta))
        with eng.stream("m", "Hi") as stream:
            again = "".join(stream.text())
        with eng.stream("m", "Hi") as stream:
            batch = stream.receive()
            completion = stream.completion()
        whole = eng.complete("m", "Hi")
        log = [record.intended() for record in hosted.scene.provider.log]
        assert [text, again, completion.text, whole.text] == log
        assert batch
        with pytest.raises(trio.EndOfChannel):
            stream.receive()


def test_errors_are_raised_behind_the_events_before_them() -> None:
    with sync_scene(always(Cut(3))) as (eng, _):
        seen: list[StreamEvent] = []
        with eng.stream("m", "Hi", on_interrupt="fail") as stream:
            with pytest.raises(sn.ConnectionLostError) as error:
                while True:
                    seen.append(next(stream))
        assert error.value.partial is not None
        assert len(seen) == 3
        with pytest.raises(sn.RequestError):
            eng.complete("", "Hi")
        with pytest.raises(sn.RequestError, match="inside its block"):
            iter(eng.stream("m", "Hi"))  # type: ignore[call-overload]


def test_leaving_a_silent_stream_ends_it() -> None:
    with sync_scene(always(Stall(2)), profile=AT_ONCE, clock=standing()) as (eng, hosted):
        with eng.stream("m", "Hi") as stream:
            next(stream)
            assert eng.statistics().active == 1
        statistics = eng.statistics()
        assert (statistics.streams, statistics.active, statistics.buffered_bytes) == (0, 0, 0)
        assert hosted.scene.asked == 1


def test_many_requests_are_settled_in_order_or_as_they_finish() -> None:
    closed: list[bool] = []

    def source() -> Iterator[sn.ChatRequest]:
        try:
            for number in range(12):
                yield sn.ChatRequest("m", f"Question {number}")
        finally:
            closed.append(True)

    with sync_scene(once(Status(400), requests=(3,)), model={"max_streams": 4}) as (eng, hosted):
        outcomes = eng.settle(source(), max_in_flight=5)
        assert [o.index for o in outcomes] == list(range(12))
        assert sum(o.ok for o in outcomes) == 11
        assert sorted(o.index for o in eng.as_completed(source())) == list(range(12))
        with eng.as_completed(source(), max_in_flight=2) as some:
            next(some)
        merged = list(eng.merge(source(), max_in_flight=3))
        assert sum(isinstance(event, Finished) for _, event in merged) == 12
        assert len(closed) == 4
        assert hosted.scene.provider.log


def test_an_error_of_the_source_is_raised_and_a_break_ends_what_runs() -> None:
    def source() -> Iterator[sn.ChatRequest]:
        yield sn.ChatRequest("m", "Hi")
        raise LookupError("no more")

    with sync_scene(always(Stall(1)), profile=AT_ONCE, clock=standing()) as (eng, _):
        with pytest.raises(LookupError):
            eng.settle(source())
        with eng.merge([sn.ChatRequest("m", "Hi")]) as merged:
            for _, event in merged:
                assert isinstance(event, sn.TextDelta)
                break
        assert eng.statistics().streams == 0
        with pytest.raises(sn.RequestError):
            eng.settle(5)  # type: ignore[arg-type]


def test_own_calls_run_in_the_calling_thread_under_the_limits() -> None:
    with sync_scene(model={"max_streams": 2}) as (eng, _):
        lock, running, most = threading.Lock(), 0, 0

        def call(thread: int) -> int:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            assert threading.get_ident() == thread
            eng.statistics()
            with lock:
                running -= 1
            return thread

        def one() -> None:
            here = threading.get_ident()
            assert eng.run("m", call, here) == here

        in_threads(*[one] * 10)
        assert most <= 2
        with eng.lease("m") as lease:
            lease.report(input_tokens=7)
            assert eng.statistics().models["m"].active == 1
        with pytest.raises(LookupError):
            with eng.lease("m"):
                raise LookupError
        model = eng.statistics().models["m"]
        assert (model.active, model.input_tokens, model.succeeded, model.failed) == (0, 7, 11, 1)


def test_cancel_all_ends_streams_and_a_call_hears_of_it_at_its_end() -> None:
    with sync_scene(always(Stall(1)), profile=AT_ONCE, clock=standing()) as (eng, _):
        with pytest.raises(sn.StreamCancelledError, match="cancel_all"):
            with eng.lease("m"):
                with eng.stream("m", "Hi") as stream:
                    next(stream)
                    assert eng.cancel_all() == 2
                    with pytest.raises(sn.StreamCancelledError):
                        next(stream)
                assert eng.statistics().models["m"].active == 1  # until the block has ended
        assert eng.statistics().active == 0


def test_records_limits_and_the_other_verbs() -> None:
    with sync_scene() as (eng, _):
        with eng.events() as heard:
            eng.complete("m", "Hi")
            kinds: list[type[LifecycleRecord]] = []
            for record in heard:
                kinds.append(type(record))
                if isinstance(record, StreamEnded):
                    break
        assert list(heard) == []
        assert kinds[-1] is StreamEnded
        eng.set_limits(model="m", max_streams=1)
        eng.set_rates(model="m", rpm=1000)
        assert eng.plan("m", "Hi").stops
        assert "m" in str(eng.explain("m", "Hi"))
        assert eng.snapshot().streams == ()
        assert eng.usage_report() is not None
        assert eng.choose(sn.TaskProfile("Hi")).model == "m"
        assert eng.reload(eng.config).changed == ()
        assert eng.drain().finished
        with pytest.raises(sn.EngineClosedError):
            eng.complete("m", "Hi")


def test_a_timeout_and_a_deadline_end_a_stream() -> None:
    with sync_scene(always(Stall(0))) as (eng, _):
        with pytest.raises(DeadlineError):
            eng.complete("m", "Hi", **SOON)
        with pytest.raises(sn.AdmissionError):
            eng.complete("m", "Hi", deadline=0.0)


def test_a_stream_is_shared_by_threads() -> None:
    with sync_scene() as (eng, _), eng.stream("m", "Hi") as stream:
        shared = stream.broadcast()
        readers = [shared.reader() for _ in range(5)]
        read: list[list[StreamEvent]] = []
        for reader in readers:
            reader.__enter__()

        def one(reader: Iterator[StreamEvent]) -> None:
            read.append(list(reader))

        in_threads(*[lambda reader=reader: one(reader) for reader in readers])
        for reader in readers:
            reader.detach()
        assert len(read) == 5
        assert all(events == read[0] for events in read)
        assert type(read[0][-1]) is Finished


def test_two_hundred_threads_read_two_hundred_streams() -> None:
    with sync_scene() as (eng, hosted):
        texts: list[str] = []

        def one() -> None:
            with eng.stream("m", "Hi") as stream:
                texts.append("".join(stream.text()))

        in_threads(*[one] * 200)
        assert sorted(texts) == sorted(r.intended() for r in hosted.scene.provider.log)
        assert threading.active_count() < 10
        assert eng.statistics().buffered_bytes == 0


def test_two_engines_live_in_one_process() -> None:
    with sync_scene() as (one, _), sync_scene() as (other, _):
        with one.stream("m", "Hi") as first, other.stream("m", "Hi") as second:
            pairs = list(zip(first, second, strict=True))
        assert pairs
        assert one.statistics().total.requests == other.statistics().total.requests == 1


def test_a_served_stream_is_json_and_its_errors_are_its_last_line() -> None:
    with sync_scene(once(Status(400), requests=(2,))) as (eng, _):
        body = b"".join(eng.stream("m", "Hi").sse())
        assert body.startswith(b'data: {"event":"text_delta"')
        assert body.endswith(b'data: {"event":"finished","reason":"stop","kind":"stop"}\n\n')
        lines = list(eng.stream("m", "Hi").lines())
        assert len(lines) == 1
        assert b'"event":"failed"' in lines[0]
        served = eng.stream("m", "Hi").lines()
        next(served)
        del served
        assert eng.statistics().streams == 0


def test_the_engine_of_the_process_is_opened_once_and_again_after_its_end() -> None:
    assert sn.complete("sim/fast", "Hi").text
    with sn.stream("sim/fast", "Hi") as stream:
        assert stream.completion().text
    shared = sn.shared()
    assert shared._bridge.thread is sn.shared()._bridge.thread
    shared._bridge.thread.stop()
    assert shared._bridge.thread.join(GUARD)
    assert sn.complete("sim/fast", "Hi").text
    assert sn.shared()._bridge.thread is not shared._bridge.thread
    sn.shared()._bridge.thread.stop()
