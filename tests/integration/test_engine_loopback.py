"""The whole engine on real sockets of this machine, against the simulator's loopback server."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from streamnursery import ChatRequest, Engine, EngineError, open_engine
from streamnursery.simulator import (
    Cut,
    LoopbackServer,
    Plan,
    Profile,
    Provider,
    Rule,
    Stall,
    Status,
    When,
    serve_loopback,
)
from streamnursery.testing import assert_quiescent, no_files_left_open
from tests.support.guard import GUARD, Rounds
from tests.support.scene import AT_ONCE
from tests.support.toy_dialect import Toy

SOME_STALL = Plan((Rule((Stall(3),), When(every=3)),))
TIMES = {"test": 1, "proof": 10, "soak": 10}
MOMENTS = 400
"""Rounds of the scheduler: some streams wait then, some are being read, some have ended."""


@attrs.frozen
class Site:
    engine: Engine
    provider: Provider
    server: LoopbackServer


@asynccontextmanager
async def site(profile: Profile, plan: Plan | None = None, **model: object) -> AsyncIterator[Site]:
    provider = Provider(dice=random.Random(1), models={"m": profile}, plan=plan)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        settings = {
            "endpoints": {"main": {"url": server.url}},
            "models": {"m": {"routes": [{"endpoint": "main"}], **model}},
        }
        async with open_engine(settings) as engine:
            yield Site(engine, provider, server)
        await server.stop()


def requests(count: int) -> Sequence[ChatRequest]:
    return [ChatRequest("m", [{"role": "user", "content": f"q{i}"}]) for i in range(count)]


async def test_a_thousand_streams_cancelled_at_random_moments_leave_nothing(tier: str) -> None:
    dice = random.Random(7)

    async def one(eng: Engine, scope: trio.CancelScope) -> None:
        with scope:
            await eng.complete("m", "hello")

    with no_files_left_open():
        for _ in range(TIMES[tier]):
            opened = site(AT_ONCE, SOME_STALL, max_streams=100)
            async with opened as s, trio.open_nursery() as clock:
                rounds = Rounds(clock)
                async with trio.open_nursery() as nursery:
                    for _ in range(1000):
                        scope = rounds.cancelled_after(dice.randrange(MOMENTS))
                        nursery.start_soon(one, s.engine, scope)
                clock.cancel_scope.cancel()
                assert_quiescent(s.engine)
                completion = await s.engine.complete("m", "after all that")
                assert completion.text == s.provider.log[-1].intended()


async def test_fifty_streams_one_after_another_use_one_connection() -> None:
    async with site(Profile(output_tokens=(20, 20))) as s:
        for _ in range(50):
            assert (await s.engine.complete("m", "hello")).text
        assert s.server.statistics().accepted == 1


async def test_leaving_the_block_ends_the_generation_at_the_provider() -> None:
    slow = Profile(tokens_per_second=50, output_tokens=(1000, 1000))
    async with site(slow) as s:
        async with s.engine.stream("m", "hello") as stream:
            await anext(stream)
        await s.server.stop(grace=GUARD)  # returns once every connection has ended at its side
        assert s.provider.log[0].aborted
        assert s.provider.log[0].sent_tokens < 1000


async def test_a_slow_consumer_stops_the_reads_of_the_socket() -> None:
    flood = Profile(output_tokens=(100_000, 100_000))
    async with site(flood, patience={"total": 600}) as s:
        async with s.engine.stream("m", "hi", buffer_events=100, buffer_bytes=10_000) as stream:
            await anext(stream)
            flooded, sent = s.provider.log[0], -1
            while flooded.sent_bytes > sent:  # until nothing goes while others are answered
                sent = flooded.sent_bytes
                for _ in range(5):
                    await s.engine.complete("m", "hi", max_tokens=5)
            assert flooded.ended_at is None  # the kernel's buffers are full
            assert stream.statistics().buffer.sender_waiting
            text = (await stream.completion()).text
        assert text == flooded.intended()


async def test_many_models_and_failures_at_once_are_all_settled() -> None:
    plan = Plan((
        Rule((Status(503),), When(probability=0.1)),
        Rule((Cut(5),), When(probability=0.1)),
    ))
    async with site(
        Profile(output_tokens=(20, 20)), plan, max_streams=50, retries={"base": 0.001}
    ) as s:
        outcomes = await s.engine.settle(requests(500))
        assert len(outcomes) == 500
        assert all(o.ok or isinstance(o.error, EngineError) for o in outcomes)
        texts = {record.intended() for record in s.provider.log}
        for outcome in outcomes:
            if outcome.completion is not None:
                assert outcome.completion.text in texts
            elif outcome.error is not None and outcome.error.partial is not None:
                partial = outcome.error.partial.text
                assert any(text.startswith(partial) for text in texts)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_where_nobody_listens_is_a_connect_error(host: str) -> None:
    settings = {
        "endpoints": {"main": {"url": f"http://{host}:9/v1"}},
        "models": {"m": {"routes": [{"endpoint": "main"}], "retries": {"attempts": 1}}},
    }
    async with open_engine(settings) as eng:
        with pytest.raises(EngineError, match="no connection to"):
            await eng.complete("m", "hello")


async def test_a_dialect_from_outside_is_spoken_over_loopback() -> None:
    provider = Provider(dice=random.Random(1), models={"m": Profile()})
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        config = {
            "endpoints": {"toy": {"url": server.url, "dialect": "toy", "team": "red"}},
            "models": {"m": {"routes": [{"endpoint": "toy"}]}},
        }
        async with open_engine(config, dialects=[Toy()]) as engine:
            completion = await engine.complete("m", "hello")
        assert completion.text == provider.log[-1].intended()
        assert provider.log[-1].headers["x-request-id"] == "red"
        await server.stop()
