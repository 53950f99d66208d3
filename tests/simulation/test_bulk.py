"""Many requests from one source."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.scheduler.run import bulk
from streamnursery.values.completion import Completion
from streamnursery.values.errors import RequestError, ServerError
from streamnursery.values.partial import Choice
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings


def request(number: int) -> ChatRequest:
    return ChatRequest(f"m{number}", [{"role": "user", "content": "x"}])


def completion(text: str) -> Completion:
    return Completion((Choice(0, text),), None, Timings(0.0), "r", None, None, None)


class Server:
    """Answers after a while; fails where it is told to."""

    def __init__(self, delays: list[float], broken: frozenset[int] = frozenset()) -> None:
        self.delays = delays
        self.broken = broken
        self.running = 0
        self.peak = 0

    @property
    def answer(self) -> bulk.Answer:
        return bulk.answering(self.complete)

    async def complete(self, request: ChatRequest) -> Completion:
        number = int(request.model[1:])
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await trio.sleep(self.delays[number % len(self.delays)])
        finally:
            self.running -= 1
        if number in self.broken:
            raise ServerError("down")
        return completion(request.model)


class Source:
    """Counts what was taken from it and knows whether it was closed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[ChatRequest]:
        try:
            for number in range(self.count):
                self.taken += 1
                yield request(number)
        finally:
            self.closed = True


@given(
    schedule=st.random_module(),
    delays=st.lists(st.floats(0, 3), min_size=1, max_size=10),
    count=st.integers(0, 15),
    broken=st.frozensets(st.integers(0, 14)),
    at_once=st.integers(1, 5),
)
def test_settle_gives_every_outcome_in_the_order_of_the_source(
    schedule: object, delays: list[float], count: int, broken: frozenset[int], at_once: int
) -> None:
    server = Server(delays, broken)

    async def main() -> None:
        outcomes = await bulk.settle(server.answer, map(request, range(count)), at_once)
        assert [o.index for o in outcomes] == list(range(count))
        assert [o.request.model for o in outcomes] == [f"m{i}" for i in range(count)]
        for outcome in outcomes:
            assert outcome.ok == (outcome.index not in broken)
            assert (outcome.error is None) == outcome.ok

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert server.peak <= at_once


async def test_a_slow_consumer_holds_back_the_source(autojump_clock: MockClock) -> None:
    source = Source(100)
    server = Server([0.1])
    async with bulk.as_completed(server.answer, source, 4) as outcomes:
        await trio.sleep(10)
        assert source.taken <= 5
        seen = 0
        async for outcome in outcomes:
            seen += 1
            assert outcome.ok
            assert source.taken <= seen + 5
            if seen == 20:
                break
    assert source.closed
    assert server.running == 0


async def test_outcomes_come_as_they_finish(autojump_clock: MockClock) -> None:
    server = Server([3.0, 1.0, 2.0])
    async with bulk.as_completed(server.answer, map(request, range(3)), 3) as outcomes:
        assert [outcome.index async for outcome in outcomes] == [1, 2, 0]


async def test_the_consumers_error_leaves_bare_and_cancels_the_rest(
    autojump_clock: MockClock,
) -> None:
    server = Server([100.0])
    with pytest.raises(ValueError, match="mine") as caught:
        async with bulk.as_completed(server.answer, Source(10), 3):
            await wait_all_tasks_blocked()
            assert server.running == 3
            raise ValueError("mine")
    assert caught.value.__context__ is None
    assert server.running == 0
    assert trio.current_time() == 0


async def test_the_sources_error_leaves_the_block_bare(autojump_clock: MockClock) -> None:
    def broken_source() -> Iterator[ChatRequest]:
        yield request(0)
        raise KeyError("source")

    server = Server([1.0])
    with pytest.raises(KeyError, match="source"):
        await bulk.settle(server.answer, broken_source(), 2)
    assert server.running == 0


async def test_an_async_source_is_pulled_and_closed(autojump_clock: MockClock) -> None:
    closed = trio.Event()

    async def source() -> AsyncIterator[ChatRequest]:
        try:
            for number in range(10):
                await trio.sleep(0.1)
                yield request(number)
        finally:
            closed.set()

    async with aclosing(source()) as requests:  # type: ignore[type-var]
        async with bulk.as_completed(Server([0.1]).answer, requests, 2) as outcomes:
            async for _ in outcomes:
                break
        assert closed.is_set()


async def test_what_is_no_request_is_an_outcome_of_its_own(autojump_clock: MockClock) -> None:
    source = [request(0), "hello", request(2)]
    outcomes = await bulk.settle(Server([0.1]).answer, source, 2)  # type: ignore[arg-type]
    assert [o.ok for o in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, RequestError)


@pytest.mark.parametrize("bad", [0, -1])
async def test_nothing_in_flight_is_refused(bad: int) -> None:
    with pytest.raises(RequestError, match="max_in_flight must be 1 or more"):
        await bulk.settle(Server([0.0]).answer, [], bad)


async def test_a_string_is_no_source() -> None:
    with pytest.raises(RequestError, match="iterable of ChatRequest"):
        await bulk.settle(Server([0.0]).answer, "prompt", 1)  # type: ignore[arg-type]
