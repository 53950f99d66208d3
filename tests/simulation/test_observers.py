"""Records of what happens: told without waiting, and at nobody's cost."""

import json
import logging
from contextvars import ContextVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery.logs import JsonFormatter, log_observer, record_fields
from streamnursery.scheduler.run.observers import ObserverBlocked, ObserverFailed, Observers
from streamnursery.simulator import Status
from streamnursery.values.errors import AttemptRecord, AttemptState, ServerError
from streamnursery.values.lifecycle import (
    Admitted,
    AttemptEnded,
    LifecycleRecord,
    Retrying,
    StreamEnded,
)
from tests.support.scene import ask, once, scene, virtual


def admitted(number: int) -> Admitted:
    return Admitted(1.0, number, "m", 0.5)


async def numbers(observers: Observers, most: int, drop: str, sent: int) -> tuple[list[int], int]:
    assert drop in ("oldest", "newest")
    with observers.listen(most, drop) as records:  # type: ignore[arg-type]
        for number in range(sent):
            observers.emit(admitted(number))
        observers.close()
        return [record.request async for record in records], records.dropped


async def test_a_full_channel_drops_by_its_policy_and_counts() -> None:
    assert await numbers(Observers(), 3, "oldest", 5) == ([2, 3, 4], 2)
    assert await numbers(Observers(), 3, "newest", 5) == ([0, 1, 2], 2)
    assert await numbers(Observers(), 3, "newest", 2) == ([0, 1], 0)


async def test_a_listener_that_waits_is_woken() -> None:
    observers = Observers()
    seen: list[int] = []

    async def listen() -> None:
        with observers.listen(10, "oldest") as records:
            seen.extend([record.request async for record in records])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for number in range(3):
            await wait_all_tasks_blocked()
            observers.emit(admitted(number))
        await wait_all_tasks_blocked()
        observers.close()
    assert seen == [0, 1, 2]


async def test_an_observer_that_raises_is_reported_and_called_no_more() -> None:
    calls: list[str] = []
    seen: list[LifecycleRecord] = []

    def broken(record: LifecycleRecord) -> None:
        calls.append("broken")
        raise KeyError("mine")

    observers = Observers((broken, seen.append))
    observers.emit(admitted(1))
    observers.emit(admitted(2))
    assert calls == ["broken"]
    failed = [record for record in seen if isinstance(record, ObserverFailed)]
    assert len(failed) == 1
    assert isinstance(failed[0].error, KeyError)
    assert [record.request for record in seen if isinstance(record, Admitted)] == [1, 2]


async def test_observers_that_all_raise_are_each_called_once() -> None:
    calls: list[str] = []

    def one(_: LifecycleRecord) -> None:
        calls.append("one")
        raise KeyError

    def two(_: LifecycleRecord) -> None:
        calls.append("two")
        raise ValueError

    observers = Observers((one, two, "no function"))  # type: ignore[arg-type]
    for number in range(3):
        observers.emit(admitted(number))
    assert calls == ["one", "two"]


async def test_t22_an_observer_that_blocks_is_reported_once() -> None:
    now, seen = [0.0], list[LifecycleRecord]()

    def slow(_: LifecycleRecord) -> None:
        now[0] += 0.25

    observers = Observers((slow, seen.append), wall=lambda: now[0])
    for number in range(3):
        observers.emit(admitted(number))
    (blocked,) = [record for record in seen if isinstance(record, ObserverBlocked)]
    assert blocked.seconds == pytest.approx(0.25)
    assert blocked.observer.endswith("slow")
    assert [record.request for record in seen if isinstance(record, Admitted)] == [0, 1, 2]


def test_log_lines_have_the_level_of_what_happened(caplog: pytest.LogCaptureFixture) -> None:
    observe = log_observer(logging.getLogger("engine.test"))
    with caplog.at_level(logging.DEBUG, "engine.test"):
        observe(admitted(1))
        observe(Retrying(1.0, 1, "m", 0.5, "ServerError 503"))
        observe(StreamEnded(2.0, 1, "m", "complete", None, 1, 10))
        observe(StreamEnded(2.0, 2, "m", "failed", "server_error", 1, 0))
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.DEBUG, logging.WARNING, logging.INFO, logging.WARNING]
    assert "delay=0.5" in caplog.records[1].getMessage()


def test_a_json_line_holds_the_fields_of_the_record() -> None:
    record = AttemptRecord(
        2, "main/m", AttemptState.MAYBE_SENT, 1.0, 2.5, ServerError("down", body="secret"), 503
    )
    fields = record_fields(AttemptEnded(2.5, 7, "m", record))
    assert fields["route"] == "main/m"
    assert fields["category"] == "server_error"
    assert "secret" not in repr(fields)
    line = logging.LogRecord("streamnursery", logging.INFO, "f", 1, "message", None, None)
    line.__dict__["streamnursery"] = fields
    shown = json.loads(JsonFormatter().format(line))
    assert (shown["event"], shown["request"], shown["level"]) == ("AttemptEnded", 7, "info")


def test_a_plain_line_and_its_exception_are_json_too() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    line = logging.LogRecord("other", logging.ERROR, "f", 1, "a %s", ("b",), info)
    shown = json.loads(JsonFormatter().format(line))
    assert shown["message"] == "a b"
    assert "ValueError: x" in shown["exception"]


@virtual
async def test_a_line_has_the_trace_of_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    trace: ContextVar[str | None] = ContextVar("trace", default=None)
    async with scene(once(Status(503)), observers=[log_observer(trace_id=trace.get)]) as s:

        async def job(name: str | None) -> None:
            trace.set(name)
            await s.engine.complete("m", "hello")

        async with trio.open_nursery() as nursery:
            for name in ("a" * 32, "b" * 32, None):
                nursery.start_soon(job, name)
    fields = [vars(record)["streamnursery"] for record in caplog.records if record.args]
    ended = {f["request"]: f.get("trace_id") for f in fields if f["event"] == "StreamEnded"}
    assert sorted(ended.values(), key=str) == [None, "a" * 32, "b" * 32]
    for line in fields:
        if line["event"] in ("Retrying", "FirstToken", "AttemptStarted"):
            assert line.get("trace_id") == ended[line["request"]]


@virtual
async def test_the_line_of_a_request_says_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scene(observers=[log_observer()]) as s:
        await ask(s.engine, tenant="acme")
    (line,) = [vars(r)["streamnursery"] for r in caplog.records if r.levelno == logging.INFO]
    assert (line["event"], line["outcome"], line["attempts"]) == ("StreamEnded", "complete", 1)
    assert line["seconds"] == pytest.approx(1.9, abs=0.01)
    assert line["ttft"] == pytest.approx(1.0, abs=0.01)
    assert (line["input_tokens"], line["output_tokens"]) == (4, 10)
