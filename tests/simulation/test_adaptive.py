"""`max_streams = "adaptive"` over the whole engine: the knee of a simulated provider."""

from statistics import mean

import pytest
import trio

from streamnursery import Engine, EngineError
from streamnursery.simulator import Overload, Profile
from tests.support.scene import always, scene, virtual

KNEE = 12
SERVER = Profile(ttft_mean=0.5, ttft_p95=0.6, tokens_per_second=2, output_tokens=(2, 4), knee=KNEE)


async def load(eng: Engine) -> None:
    """Ask again and again."""
    while True:
        try:
            await eng.complete("m", "x")
        except EngineError:
            await trio.sleep(1)


async def limits(eng: Engine, seconds: float) -> list[int]:
    found = []
    for _ in range(int(seconds)):
        await trio.sleep(1)
        found.append(eng.statistics().models["m"].max_streams)
    return found


@virtual
async def test_it_finds_the_knee_of_a_provider_and_stays_there() -> None:
    async with scene(profile=SERVER, model={"max_streams": "adaptive"}) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(load, s.engine)
            await trio.sleep(120)
            assert mean(await limits(s.engine, 60)) == pytest.approx(KNEE, rel=0.2)
            nursery.cancel_scope.cancel()


@virtual
async def test_refusals_bring_it_down_to_what_the_provider_takes() -> None:
    plan = always(Overload(beyond=4))
    model = {
        "max_streams": "adaptive",
        "adaptive": {"min_streams": 2, "max_streams": 40, "start": 20},
    }
    flat = Profile(ttft_mean=0.5, ttft_p95=0.6, tokens_per_second=2, output_tokens=(2, 4))
    async with scene(plan, profile=flat, model=model) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(load, s.engine)
            await trio.sleep(100)
            assert mean(await limits(s.engine, 40)) <= 8
            nursery.cancel_scope.cancel()
        assert s.engine.statistics().models["m"].succeeded > 50


@virtual
async def test_a_reload_makes_slots_adaptive_and_fixed_again() -> None:
    async with scene(model={"max_streams": 3}) as s:
        await s.engine.complete("m", "x")
        base = {"endpoints": {"main": {"url": "http://main.example.com/v1"}}}
        model = {"routes": [{"endpoint": "main"}]}
        s.engine.reload({**base, "models": {"m": {**model, "max_streams": "adaptive"}}})
        assert s.engine.statistics().models["m"].max_streams == 10
        await s.engine.complete("m", "x")
        s.engine.reload({**base, "models": {"m": {**model, "max_streams": 4}}})
        assert s.engine.statistics().models["m"].max_streams == 4
        await s.engine.complete("m", "x")
