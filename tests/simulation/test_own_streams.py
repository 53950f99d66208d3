"""The caller's own async iterators on the way that all streams take."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import streamnursery as sn
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from tests.support.bridged import aio_scene, run, standing, sync_scene
from tests.support.guard import GUARD
from tests.support.scene import PACED, read, scene, virtual

POINTS = {"test": 15, "proof": 80, "soak": None}
OWN: dict[str, Any] = {
    "models": {
        "m": {"routes": [{"endpoint": "main"}]},
        "own": {
            "max_streams": 2,
            "price": {"input": "1", "output": "2"},
            "retries": {"attempts": 3, "base": 1, "cap": 2},
            "fallback": ["m"],
        },
    }
}


@attrs.define
class Local:
    """A model of the caller's: says so many words, one each second, and fails as it is told to."""

    words: int = 3
    fails: int = 0
    """Iterators that fail."""
    after: int = 0
    """Words that they say before."""
    error: Exception = attrs.field(factory=lambda: OSError("flaky"))
    opened: int = 0
    running: int = 0
    most: int = 0
    given: int = 0

    async def __call__(self) -> AsyncIterator[Any]:
        self.opened += 1
        fails = self.opened <= self.fails
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for number in range(self.words):
                await trio.sleep(1)
                if fails and number == self.after:
                    raise self.error
                self.given += 1
                yield f"w{number} "
            yield sn.Usage(input_tokens=1000, output_tokens=500)
        finally:
            self.running -= 1


@virtual
async def test_it_has_all_that_a_stream_has() -> None:
    records: list[Any] = []
    local = Local()
    async with scene(observers=[records.append], **OWN) as place:
        async with place.engine.stream_from("own", local, prompt="Hi", tenant="a") as stream:
            answer = await stream.completion()
        statistics = place.engine.statistics().models["own"]
        report = place.engine.usage_report()
    assert (answer.text, answer.route, answer.finish_kind) == ("w0 w1 w2 ", "own/own", "stop")
    assert answer.cost.money == sn.Money.parse("0.002")
    assert answer.timings.time_to_first_token == 1.0
    assert (statistics.requests, statistics.succeeded, statistics.output_tokens) == (1, 1, 500)
    assert statistics.ttft.p50 == pytest.approx(1.0, rel=0.1)
    assert report.total.spent == answer.cost.money
    names = [type(record).__name__ for record in records]
    begun = ["StreamStarted", "Admitted", "AttemptStarted", "FirstToken"]
    assert names == [*begun, "AttemptEnded", "StreamEnded"]
    assert place.asked == 0


@given(
    fails=st.integers(0, 4),
    after=st.integers(0, 2),
    again=st.booleans(),
    streams=st.integers(1, 5),
    leave=st.none() | st.integers(0, 3),
)
def test_each_stream_has_one_outcome_and_no_iterator_is_left(
    fails: int, after: int, again: bool, streams: int, leave: int | None
) -> None:
    locals_ = [Local(fails=fails, after=after) for _ in range(streams)]
    running: list[int] = []

    async def main() -> None:
        async with scene(profile=PACED, **OWN) as place:
            eng = place.engine

            async def one(local: Local, tenant: str) -> None:
                retry_on = OSError if again else ()
                async with eng.stream_from(
                    "own", local, retry_on=retry_on, tenant=tenant
                ) as stream:
                    if leave is not None:
                        with trio.move_on_after(leave):
                            await read(stream)
                        return
                    reading = await read(stream)
                    tries = min(fails + 1, 3) if again and after == 0 else 1
                    assert local.opened == tries
                    assert reading.finished == (fails < tries)
                    if not reading.finished:
                        kind = sn.ServerError if again else sn.CallbackError
                        assert isinstance(reading.error, kind)
                        assert isinstance(reading.error.__cause__, OSError)
                        assert reading.tokens == after
                assert local.running == 0
                running.append(sum(each.running for each in locals_))

            async with trio.open_nursery() as nursery:
                for number, local in enumerate(locals_):
                    nursery.start_soon(one, local, "ab"[number % 2])
            statistics = eng.statistics().models["own"]
            assert statistics.requests == streams
            assert statistics.succeeded + statistics.failed + statistics.cancelled == streams
            assert statistics.peak_active <= 2

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert all(count <= 2 for count in running)
    assert sum(local.running for local in locals_) == 0


@virtual
async def test_a_slot_is_free_when_the_iterator_is_closed_and_not_before() -> None:
    closed: list[float] = []

    async def slow_to_close() -> AsyncIterator[str]:
        try:
            yield "a"
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            closed.append(trio.current_time())

    async with scene(models={"own": {"max_streams": 1}}) as place:
        began: list[float] = []

        async def next_one() -> None:
            async with place.engine.lease("own"):
                began.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            async with place.engine.stream_from("own", slow_to_close) as stream:
                await stream.receive()
                nursery.start_soon(next_one)
                await trio.sleep(1)
            assert closed == [trio.current_time()]
        assert began == closed


@virtual
async def test_no_more_is_taken_than_there_is_room_for() -> None:
    local = Local(words=500)
    async with scene(**OWN) as place:
        async with place.engine.stream_from("own", local, buffer_events=4) as stream:
            await trio.sleep(100)
            assert local.given <= 5
            assert len((await stream.completion()).text.split()) == 500


@virtual
async def test_silence_is_bounded_by_the_clocks() -> None:
    async def silent(words: int) -> AsyncIterator[str]:
        for _ in range(words):
            yield "word "
        await trio.sleep_forever()

    patience = sn.Patience(first_token=5, idle=3)
    async with scene(**OWN) as place:
        for words, kind in ((0, "FirstTokenTimeoutError"), (2, "IdleTimeoutError")):
            async with place.engine.stream_from(
                "own", silent, words, patience=patience, retries=sn.Retries(attempts=1)
            ) as stream:
                reading = await read(stream)
            assert (type(reading.error).__name__, reading.tokens) == (kind, words)


@virtual
async def test_events_of_every_kind_come_through_and_the_end_says_why() -> None:
    async def thinking() -> AsyncIterator[Any]:
        yield sn.ReasoningDelta("hm")
        yield sn.ToolCallDelta(0, "c1", "look", '{"a": 1}')
        yield sn.ChoiceFinished(0, "tool_calls")
        await trio.lowlevel.checkpoint()

    async with scene(**OWN) as place:
        async with place.engine.stream_from("own", thinking) as stream:
            answer = await stream.completion()
    assert (answer.reasoning, answer.finish_kind) == ("hm", "tool_calls")
    assert answer.tool_calls[0].name == "look"


@virtual
async def test_a_model_behind_it_answers_where_it_fails_and_a_prompt_was_given() -> None:
    async with scene(**OWN) as place:
        local = Local(fails=9)
        async with place.engine.stream_from("own", local, prompt="Hi", retry_on=OSError) as stream:
            answer = await stream.completion()
        assert (answer.route, local.opened, place.asked) == ("main/m", 3, 1)
        async with place.engine.stream_from("own", Local(fails=9), retry_on=OSError) as stream:
            assert isinstance((await read(stream)).error, sn.ServerError)
        assert place.asked == 1, "there is nothing that it could be asked"


@virtual
async def test_what_broke_may_begin_again_and_readers_share_it() -> None:
    local = Local(fails=1, after=2)
    async with scene(**OWN) as place:
        async with place.engine.stream_from(
            "own", local, retry_on=OSError, on_interrupt="restart"
        ) as stream:
            shared = stream.broadcast()
            with shared.reader() as one, shared.reader() as two:
                found = [[event async for event in reader] for reader in (one, two)]
    assert found[0] == found[1]
    assert [type(event).__name__ for event in found[0]].count("Restarted") == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [1], "TypeError"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
@virtual
async def test_what_is_no_iterator_fails_its_own_stream(make: Any, message: str) -> None:
    async with scene(**OWN) as place:
        async with place.engine.stream_from("own", make) as stream:
            reading = await read(stream)
        assert isinstance(reading.error, sn.CallbackError)
        assert message in str(reading.error)

        async def wrong() -> AsyncIterator[Any]:
            yield 5
            await trio.lowlevel.checkpoint()

        async with place.engine.stream_from("own", wrong) as stream:
            assert "it gave a int; text, Usage" in str((await read(stream)).error)
        with pytest.raises(sn.RequestError, match="needs a model and a function"):
            place.engine.stream_from("own", wrong())  # type: ignore[arg-type]


def test_an_own_stream_that_is_cancelled_anywhere_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        local = Local(fails=1)
        async with world.open_engine(world.config(max_streams=1)) as eng:
            with scope:
                for tenant in "ab":
                    async with eng.stream_from(
                        "own", local, retry_on=OSError, tenant=tenant
                    ) as stream:
                        await stream.completion()
            assert local.running == 0
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 10)


async def step() -> None:
    """Let the loop run once."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, None)
    await future


def test_from_asyncio_the_iterator_runs_on_the_callers_loop() -> None:
    async def words(count: int) -> AsyncIterator[str]:
        loops.add(asyncio.get_running_loop())
        for number in range(count):
            await step()
            yield f"w{number} "

    loops: set[asyncio.AbstractEventLoop] = set()

    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise OSError("flaky")

    async def main() -> None:
        async with aio_scene(clock=standing(), **OWN) as (eng, _):
            async with eng.stream_from("own", words, 300, buffer_events=4) as stream:
                assert len((await stream.completion()).text.split()) == 300
            assert loops == {asyncio.get_running_loop()}
            async with eng.stream_from("own", broken) as stream:
                with pytest.raises(sn.CallbackError, match="OSError: flaky"):
                    await stream.completion()
                assert stream.partial.text == "a"

    run(main)


def test_from_asyncio_an_iterator_is_closed_before_the_block_is_left() -> None:
    ended: list[str] = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                await step()
                yield "x"
        finally:
            await step()
            ended.append("closed")

    async def main() -> None:
        async with aio_scene(clock=standing(), **OWN) as (eng, _):
            for count in range(1, 4):
                async with eng.stream_from("own", endless) as stream:
                    await anext(stream)
                assert ended == ["closed"] * count
            assert (await eng.statistics()).models["own"].active == 0

    run(main)


def test_from_threads_the_iterator_has_a_thread_of_its_own() -> None:
    ended: list[int] = []

    def words(count: int) -> Iterator[str]:
        try:
            for number in range(count):
                yield f"w{number} "
        finally:
            ended.append(threading.get_ident())

    with sync_scene(clock=standing(), **OWN) as (eng, _):
        with eng.stream_from("own", words, 300, buffer_events=4) as stream:
            assert len(stream.completion().text.split()) == 300
        with eng.stream_from("own", words, 10**9) as stream:
            next(iter(stream))
        assert len(ended) == 2
        assert threading.get_ident() not in ended
        assert eng.statistics().models["own"].active == 0


def test_an_engine_that_closes_does_not_wait_for_an_iterator_of_a_thread() -> None:
    go_on = threading.Event()

    def stuck() -> Iterator[str]:
        yield "a"
        go_on.wait(GUARD)

    with sync_scene(clock=standing(), **OWN) as (eng, _):
        eng._bridge.seconds_to_leave = 0.1
        with eng.stream_from("own", stuck) as stream:
            next(iter(stream))
        assert eng._bridge.left_behind == 1
        go_on.set()
