"""A simulated model with a script is a model by itself."""

from streamnursery import ChatRequest, open_engine
from streamnursery.values.settings import Route
from tests.support.scene import virtual

GOOD, BAD = "sim/fast", "sim/fast?status=500"


@virtual
async def test_a_script_that_fails_does_not_open_the_breaker_of_the_others() -> None:
    settings = {"defaults": {"retries": {"attempts": 1}}}
    async with open_engine(settings, seed=1) as eng:
        models = [BAD, GOOD, "sim/fast?respond=5"] * 15
        outcomes = await eng.settle([ChatRequest(model, "Hi") for model in models])
        more = await eng.settle([ChatRequest(model, "Hi") for model in models])
        for outcome in [*outcomes, *more]:
            assert outcome.ok is (outcome.request.model != BAD), outcome.error


@virtual
async def test_the_gates_of_scripts_are_bounded() -> None:
    async with open_engine(seed=1) as eng:
        gates = eng._supervisor.routes
        plain = gates.gate(Route("sim", "fast"))
        for number in range(1_000):
            gates.gate(Route("sim", f"fast?seed={number}"))
        assert len(gates.gates) == 201
        assert gates.gate(Route("sim", "fast")) is plain
