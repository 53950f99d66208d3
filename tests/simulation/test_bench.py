"""A benchmark of a simulated provider on the virtual clock: what it must find is known."""

import pytest
from trio.testing import MockClock

from streamnursery.bench.load_run import RunMonitor, measure_load
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.run_summary import ALL, LoadRun
from streamnursery.bench.runners import InProcess
from streamnursery.bench.samples import CANCELLED, FAILED, OK, Sample
from streamnursery.bench.session import Level, find_highest, run_levels
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Replay, Shape
from streamnursery.bench.thresholds import parse
from streamnursery.bench.workload import Given, Lengths, Synthetic
from streamnursery.config import config_from_mapping
from streamnursery.simulator import Overload, Plan, Profile, Stall
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, simulated_world
from streamnursery.values.request import make_request

PACE = Profile(0.5, 0.5, 10, (5, 5))


def steady(world: World, *script: Fault) -> None:
    world.add_provider("steady", models={"m": PACE}, plan=Plan.always(*script))


def target(world: World, *, max_streams: int | None = None, attempts: int = 1) -> Target:
    config = world.config(default_endpoint="steady")
    workload = Synthetic({"m": 1.0}, Lengths(8), None)
    return Target.of("steady", config, workload, max_streams=max_streams, attempts=attempts)


async def measured(
    world: World, shape: Shape, options: Options, samples: list[Sample] | None = None, **of: int
) -> LoadRun:
    watch = RunMonitor()
    if samples is not None:
        watch.samples = lambda _target, _load, _repetition, sample: samples.append(sample)
    return await measure_load(target(world, **of), shape, options, 0, watch, network=world.network)


async def test_an_open_loop_measures_what_the_provider_did(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world)
        load_run = await measured(world, Constant(2), Options(seconds=10))
    tally = load_run.tallies[ALL]
    assert tally.outcomes == {OK: 20}
    assert tally.times["ttft"].quantile(0.5) == pytest.approx(0.5, rel=0.03)
    assert tally.times["ttft_send"].quantile(0.99) == pytest.approx(0.5, rel=0.03)
    assert tally.times["itl_read"].quantile(0.5) == pytest.approx(0.1, rel=0.03)
    assert tally.times["second"].quantile(0.5) == pytest.approx(0.6, rel=0.03)
    assert load_run.leaks == ()
    assert load_run.max_lateness == 0


async def test_a_target_that_stalls_cannot_slow_down_its_clock(autojump_clock: MockClock) -> None:
    # One at a time, and a second of work for each: request k waits k/2 s for its turn.
    async with simulated_world() as world:
        steady(world)
        samples: list[Sample] = []
        await measured(world, Constant(2), Options(count=10), samples, max_streams=1)
    ttft = sorted(s.times()["ttft"] for s in samples)
    assert ttft == pytest.approx([0.5 + k * 0.4 for k in range(10)], abs=0.01)
    assert {round(s.times()["ttft_send"], 2) for s in samples} == {0.5}


async def test_a_closed_loop_keeps_its_users_busy(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world)
        load_run = await measured(world, Concurrency(3), Options(count=9))
    assert load_run.tallies[ALL].outcomes == {OK: 9}
    assert load_run.seconds == pytest.approx(2.7, rel=0.02)
    assert load_run.connections_opened == 3


async def test_the_warm_up_is_run_and_not_counted(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world)
        load_run = await measured(world, Constant(1), Options(seconds=10, warmup=4))
    assert load_run.tallies[ALL].requests == 6
    assert len(world.providers["steady"].log) == 10


async def test_truncation_and_refusals_are_errors(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world, Overload(beyond=1))
        load_run = await measured(world, Concurrency(2), Options(count=6))
    tally = load_run.tallies[ALL]
    assert tally.outcomes[FAILED] >= 1
    assert sum(tally.categories.values()) == tally.outcomes[FAILED]
    assert tally.times["e2e"].count == tally.outcomes[OK]


async def test_what_does_not_end_is_cancelled_after_its_grace(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world, Stall(2))
        load_run = await measured(world, Constant(1), Options(seconds=3, grace=5))
    assert load_run.tallies[ALL].outcomes == {CANCELLED: 3}
    assert load_run.leaks == ()


async def test_a_replay_ends_with_its_trace(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world)
        samples: list[Sample] = []
        await measured(world, Replay((0.0, 0.25, 40.0)), Options(), samples)
    assert [sample.intended_at for sample in samples] == [0.0, 0.25, 40.0]


PRICED = {
    "endpoints": {"steady": {"url": "http://steady.test/v1"}},
    "models": {
        "m": {"routes": [{"endpoint": "steady"}], "price": {"input": "0", "output": "1000"}},
        "n": {"routes": [{"endpoint": "steady", "model": "m"}]},
    },
}


async def test_requests_cost_what_their_attempts_did(autojump_clock: MockClock) -> None:
    samples: list[Sample] = []
    watch = RunMonitor()
    watch.samples = lambda _target, _load, _repetition, sample: samples.append(sample)
    async with simulated_world() as world:
        steady(world)
        workload = Given((make_request("m", "Hi"), make_request("n", "Hi")))
        chosen = Target.of(
            "steady", config_from_mapping(PRICED), workload, max_streams=None, attempts=1
        )
        load_run = await measure_load(
            chosen, Constant(2), Options(count=4), 0, watch, network=world.network
        )
    costs = {(sample.model, sample.output_tokens, sample.cost_usd) for sample in samples}
    assert costs == {("m", 5, 0.005), ("n", 5, None)}
    assert load_run.tallies[ALL].cost_usd == pytest.approx(0.01)


async def test_cancels_and_slow_consumers_leave_nothing(autojump_clock: MockClock) -> None:
    async with simulated_world() as world:
        steady(world)
        options = Options(count=40, cancel_rate=0.5, slow_rate=0.5)
        load_run = await measured(world, Poisson(20), options)
    outcomes = load_run.tallies[ALL].outcomes
    assert outcomes[OK] + outcomes[CANCELLED] == 40
    assert outcomes[CANCELLED] > 2
    assert load_run.leaks == ()


async def test_targets_take_turns_and_a_file_is_asked_in_order(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with simulated_world() as world:
        steady(world)
        asked = Given(tuple(make_request("m", text, max_tokens=1) for text in ("a", "b")))
        config = world.config(default_endpoint="steady")
        targets = [
            Target.of(name, config, asked, max_streams=None, attempts=1) for name in ("x", "y")
        ]
        options = Options(count=2, repetitions=2)
        watch = RunMonitor()

        class In(InProcess):
            async def load_run(self, index: int, shape: Shape, repetition: int) -> LoadRun:
                return await measure_load(
                    targets[index], shape, options, repetition, watch, network=world.network
                )

        levels = await run_levels(
            targets,
            [Concurrency(1)],
            options,
            In(targets, options, watch),
            lambda name, _shape, _stint: seen.append(name),
        )
    assert seen == ["x", "y", "x", "y"]
    assert [(level.target, len(level.runs)) for level in levels] == [("x", 2), ("y", 2)]


async def test_the_highest_load_that_keeps_an_slo_is_found(autojump_clock: MockClock) -> None:
    class Knee:
        """Breaks the SLO beyond 37 at once."""

        async def load_run(self, _target: int, shape: Shape, _repetition: int) -> LoadRun:
            ttft = 0.1 if shape.level <= 37 else 9.0
            async with simulated_world(int(shape.level)) as world:
                world.add_provider("steady", models={"m": Profile(ttft, ttft)})
                return await measured(world, Concurrency(1), Options(count=1))

    slo = parse("ttft.p99<1s")
    made = Target("t", World().config(), Synthetic({"m": 1.0}))
    levels, found = await find_highest(
        0, made, Concurrency(2), Options(count=1, slo=slo), Knee(), lambda *_: None
    )
    assert isinstance(found, Concurrency)
    assert 33 <= found.users <= 37
    assert all(isinstance(level, Level) for level in levels)
