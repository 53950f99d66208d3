"""A provider that comes and goes by turns, or stays away: what the breaker makes of it."""

from typing import Any

import attrs
import pytest
import trio

from streamnursery.core.recovery.breaker import BreakerPolicy
from streamnursery.records import CircuitChanged
from streamnursery.simulator import Cut, Plan, Profile, Rule, Status, When
from streamnursery.simulator.fault import Fault
from streamnursery.values.settings import Route
from tests.support.scene import AT_ONCE, ask, scene, virtual

QUICK = Profile(ttft_mean=0.1, ttft_p95=0.1, tokens_per_second=50, output_tokens=(10, 10))
SLOWER = Profile(ttft_mean=0.3, ttft_p95=0.3, tokens_per_second=50, output_tokens=(10, 10))
NEVER = BreakerPolicy(min_calls=10**9)
ASKED, SECONDS = 300, 8.0


@attrs.frozen
class Run:
    succeeded: int
    sent: int


def by_turns(fault: Fault, up: float, down: float) -> Plan:
    # For fifteen times as long as requests are made: each turn is a rule that all requests look at.
    turns = [n * (up + down) for n in range(int(15 * SECONDS / (up + down)))]
    return Plan(tuple(Rule((fault,), When(since=t + up, until=t + up + down)) for t in turns))


def run(plan: Plan, profile: Profile, policy: BreakerPolicy | None = None) -> Run:
    runs: list[Run] = []

    @virtual
    async def main() -> None:
        async with scene(plan, profile=profile) as s:
            if policy is not None:
                s.engine._supervisor.routes.gate(Route("main", "m")).breaker.policy = policy
            errors: list[Any] = []

            async def one() -> None:
                errors.append((await ask(s.engine)).error)

            async with trio.open_nursery() as nursery:
                for _ in range(ASKED):
                    nursery.start_soon(one)
                    await trio.sleep(SECONDS / ASKED)
            runs.append(Run(sum(error is None for error in errors), s.asked))

    main()
    return runs[0]


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("fault", "profile", "turn"),
    [
        (Status(503), AT_ONCE, 0.4),
        (Status(503), QUICK, 0.2),
        (Status(503), QUICK, 0.4),
        (Status(503), SLOWER, 0.4),
        (Cut(at=0), QUICK, 0.4),
        (Cut(at=0), QUICK, 0.8),
    ],
)
def test_a_provider_that_comes_and_goes_is_used_as_if_there_were_no_breaker(
    fault: Fault, profile: Profile, turn: float
) -> None:
    plan = by_turns(fault, turn, turn)
    without, with_it = run(plan, profile, NEVER), run(plan, profile)
    assert without.succeeded > 250
    assert with_it.succeeded >= 0.9 * without.succeeded
    assert with_it.sent <= 1.5 * without.sent


def test_a_provider_that_is_mostly_away_is_not_hammered() -> None:
    plan = by_turns(Status(503), 0.1, 1.5)
    without, with_it = run(plan, AT_ONCE, NEVER), run(plan, AT_ONCE)
    assert with_it.succeeded >= 0.7 * without.succeeded
    assert with_it.sent <= 0.5 * without.sent


@virtual
async def test_an_outage_costs_a_few_probes_and_the_provider_is_found_back_within_seconds() -> None:
    records: list[Any] = []
    plan = Plan((Rule((Status(503),), When(until=12.0)),))
    async with scene(plan, profile=AT_ONCE, observers=[records.append]) as s:
        ended: list[float] = []

        async def one() -> None:
            assert (await ask(s.engine)).finished
            ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(1200):
                nursery.start_soon(one)
                await trio.sleep(0.01)
        assert sum(r.received_at < 12 for r in s.provider.log) <= 30
        assert min(ended) <= 12 + 5 + 2
        circuits = [r.circuit for r in records if isinstance(r, CircuitChanged)]
        assert circuits[:3] == ["open", "half open", "open"] and circuits[-1] == "closed"
        assert {r.route for r in records if isinstance(r, CircuitChanged)} == {"main/m"}
        opened = next(r for r in records if isinstance(r, CircuitChanged))
        assert opened.until is not None and opened.at < opened.until <= opened.at + 5
