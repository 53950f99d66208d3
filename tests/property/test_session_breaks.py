"""Sessions whose connections break at random moments, in random ways.

Every message has one outcome and keeps its place, no event comes twice within an answer, delays
follow the schedule, and once the faults are over everything goes on.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from streamnursery import EngineError
from streamnursery.sessions import Receipt, Session
from streamnursery.simulator import Cut, Link, Plan, RefuseConnect, Reset, Rule, Socket, Stall, When
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, assert_quiescent
from streamnursery.values.lifecycle import (
    ConnectionLost,
    LifecycleRecord,
    Reconnected,
    Reconnecting,
)
from streamnursery.values.session import Reconnect, SendOutcome, SessionSettings, SessionState

EXAMPLES = {"test": 15, "proof": 100, "soak": 800}[os.environ.get("STREAMNURSERY_TIER", "test")]
OVER = 60.0
"""When the faults stop."""
SETTINGS = SessionSettings(reconnect=Reconnect(attempts=20, max_restarts=1000))
POLICY = SETTINGS.reconnect

_moments = st.floats(0.0, 20.0)


def connection_faults() -> st.SearchStrategy[Fault]:
    """What happens to one connection."""
    return st.one_of(
        st.builds(Socket, st.just("drop"), after=_moments),
        st.builds(
            Socket, st.just("close"), after=_moments, code=st.sampled_from((1001, 1011, 1013))
        ),
        st.builds(Socket, st.just("silence"), after=_moments),
        st.builds(Socket, st.just("no_pong"), after=_moments),
    )


def answer_faults() -> st.SearchStrategy[Fault]:
    """What happens within one answer."""
    at = st.integers(0, 12)
    return st.one_of(
        st.builds(Cut, at),
        st.builds(Reset, at),
        st.builds(Socket, st.just("drop"), at=at),
        st.builds(Socket, st.just("duplicate"), at=at),
        st.builds(Socket, st.just("close"), at=at, code=st.just(1012)),
        st.builds(Stall, at, st.sampled_from((1.0, 8.0))),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Faults of connections and answers by their numbers, and times without any connection."""
    rules = [
        Rule((fault,), When(requests=(draw(st.integers(1, 12)),), until=OVER))
        for fault in draw(st.lists(connection_faults() | answer_faults(), max_size=10))
    ]
    rules += [
        Rule((RefuseConnect(),), When(since=start, until=start + 15.0))
        for start in draw(st.lists(st.floats(0.0, 40.0), max_size=2))
    ]
    return Plan(tuple(rules))


async def send_all(session: Session, sends: Sequence[tuple[float, bool]]) -> list[Receipt]:
    receipts = []
    for number, (pause, idempotent) in enumerate(sends):
        await trio.sleep(pause)
        message = {"type": "echo", "id": number}
        receipts.append(session.send_nowait(message, idempotent=idempotent))
    return receipts


async def ask(session: Session, at: float, model: str, outcomes: list[object]) -> None:
    await trio.sleep(at)
    try:
        async with session.stream(model, "Hi") as stream:
            outcomes.append(await stream.completion())
    except EngineError as error:
        outcomes.append(error)


def heard(world: World) -> list[int]:
    said = [json.loads(data) for data in world.provider.heard]
    return [message["id"] for message in said if message["type"] == "echo" and "id" in message]


def check_messages(
    receipts: list[Receipt], sends: Sequence[tuple[float, bool]], world: World
) -> None:
    times = Counter(heard(world))
    for number, (receipt, (_, idempotent)) in enumerate(zip(receipts, sends, strict=True)):
        most = inf if idempotent else 1
        match receipt.outcome:
            case SendOutcome.DELIVERED:
                assert 1 <= times[number] <= most, number
            case SendOutcome.REFUSED:
                assert times[number] == 0, number
            case SendOutcome.UNKNOWN:
                assert times[number] <= 1, number
                assert not idempotent, "it would have been sent again"
            case None:
                pytest.fail(f"message {number} has no outcome")
    first = list(dict.fromkeys(heard(world)))
    assert first == sorted(first)


def check_schedule(told: list[LifecycleRecord]) -> None:
    """Waits grow by the policy; each begins with the first attempt after a break."""
    attempt = 0
    for record in told:
        if isinstance(record, Reconnecting):
            attempt += 1
            assert record.attempt == attempt
            plain = min(POLICY.cap, POLICY.base * POLICY.factor ** (attempt - 1))
            assert plain <= record.delay <= min(POLICY.cap, plain * (1 + POLICY.jitter))
        elif isinstance(record, Reconnected):
            assert record.attempts == attempt
            attempt = 0
        elif isinstance(record, ConnectionLost):
            assert not record.permanent
            attempt = 0


@settings(max_examples=EXAMPLES)
@given(
    seed=st.integers(0, 2**32),
    plan=plans(),
    sends=st.lists(st.tuples(st.floats(0.0, 5.0), st.booleans()), max_size=25),
    answers=st.lists(st.floats(0.0, 40.0), max_size=8),
    latency=st.sampled_from((0.0, 0.05, 0.7)),
    disturbed=st.booleans(),
)
def test_whatever_breaks_every_message_and_every_answer_has_one_outcome(
    seed: int,
    plan: Plan,
    sends: list[tuple[float, bool]],
    answers: list[float],
    latency: float,
    disturbed: bool,
) -> None:
    told: list[LifecycleRecord] = []
    outcomes: list[object] = []
    world = World(seed, plan=plan, link=Link(latency=latency), buggify=disturbed)

    async def main(world: World) -> list[Receipt]:
        config: dict[str, Any] = {"defaults": {"max_streams": 100}}
        async with world.open_engine(config, observers=(told.append,)) as eng:
            async with eng.session("sim", settings=SETTINGS) as session:
                async with trio.open_nursery() as nursery:
                    for at in answers:
                        model = f"gpt-4.1?respond={5 + len(outcomes)}"
                        nursery.start_soon(ask, session, at, model, outcomes)
                    receipts = await send_all(session, sends)
                await trio.sleep_until(OVER + 60)
                assert session.state is SessionState.OPEN
                await session.send({"type": "echo"})
                async with session.stream("fast?respond=3", "Hi") as stream:
                    await stream.completion()
                for receipt in receipts:
                    await receipt.wait()
                assert session._core.lanes.in_flight == 0
            assert_quiescent(eng)
        return receipts

    receipts = world.run(main)
    check_messages(receipts, sends, world)
    check_schedule(told)
    assert len(outcomes) == len(answers)


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32), plan=plans(), after=st.floats(0.0, 30.0), how=st.integers(0, 2))
def test_leaving_at_any_moment_leaves_nothing(
    seed: int, plan: Plan, after: float, how: int
) -> None:
    """By the end of the block, by a cancel, by a crash."""
    receipts: list[Receipt] = []

    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            with trio.move_on_after(after if how == 1 else inf):
                async with eng.session("sim", settings=SETTINGS) as session:
                    async with trio.open_nursery() as nursery:
                        for number in range(3):
                            nursery.start_soon(ask, session, float(number), "gpt-4.1", [])
                        receipts.extend(await send_all(session, [(after / 4, False)] * 4))
                        if how != 1:
                            nursery.cancel_scope.cancel()
                    if how == 2:
                        raise KeyError("mine")
            await trio.testing.wait_all_tasks_blocked(0)
            assert_quiescent(eng)

    try:
        World(seed, plan=plan).run(main)
    except KeyError:
        assert how == 2
    assert all(receipt.outcome is not None for receipt in receipts)
