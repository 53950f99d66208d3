"""A request that has waited too long in a model's queue goes to the next model of its plan."""

from typing import Any

import pytest
import trio

from streamnursery import Rerouted
from streamnursery.simulator import Delay, Plan
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.lifecycle import RouteChanged
from streamnursery.values.settings import EngineConfig, ModelSettings, Route
from tests.support.scene import Scene, once, scene, virtual

POINTS = {"test": 15, "proof": 50, "soak": None}
SLOW = once(Delay(first_token=10.0))
CHEAP, DEAR = ({"price": {"input": "1", "output": price}} for price in ("1", "9"))


def models(here: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    own = {"routes": [{"endpoint": "main"}], "max_streams": 1, "fallback": ["other"]}
    other = {"routes": [{"endpoint": "spare", "model": "m"}]}
    return {"m": {**own, "downgrade_after": 2.0, **here}, "other": {**other, **there}}


async def behind_another(s: Scene) -> tuple[list[tuple[str, str]], float]:
    """The marks of a request that finds its model's slot taken for 10 s, and its first token."""
    async with s.engine.stream("m", "first"):
        await trio.sleep(0.1)
        async with s.engine.stream("m", "second", max_tokens=5, timeout=60) as stream:
            events = [event async for event in stream]
        first_token = stream.timings.first_token_at
        assert first_token is not None
        return [(e.target, e.why) for e in events if isinstance(e, Rerouted)], first_token


@virtual
async def test_a_wait_that_is_too_long_goes_to_the_next_model() -> None:
    records: list[object] = []
    async with scene(
        SLOW, backups={"spare": Plan()}, models=models({}, {}), observers=[records.append]
    ) as s:
        marks, at = await behind_another(s)
        assert marks == [("spare/m", "queue")]
        assert at == pytest.approx(0.1 + 2.0 + 1.0, abs=0.01)
        assert s.engine.statistics().queued == 0
    (changed,) = [r for r in records if isinstance(r, RouteChanged)]
    assert (changed.source, changed.target, changed.why) == ("main/m", "spare/m", "queue")


@pytest.mark.parametrize(
    ("here", "there", "goes"),
    [
        (CHEAP, DEAR, False),
        ({**CHEAP, "downgrade_to_higher_price": True}, DEAR, True),
        (DEAR, CHEAP, True),
        (DEAR, DEAR, True),
        ({"downgrade_after": "off"}, {}, False),
        ({"fallback": []}, {}, False),
        ({"downgrade_after": 30}, {}, False),
    ],
)
def test_it_never_goes_to_a_dearer_model_unless_that_is_allowed(
    here: dict[str, Any], there: dict[str, Any], *, goes: bool
) -> None:
    @virtual
    async def check() -> None:
        async with scene(SLOW, backups={"spare": Plan()}, models=models(here, there)) as s:
            async with s.engine.stream("m", "first"):
                await trio.sleep(0.1)
                async with s.engine.stream("m", "second", max_tokens=5) as stream:
                    await trio.sleep(5)
                    assert (stream.route == "spare/m") == goes

    check()


@virtual
async def test_a_backup_of_the_same_model_is_no_downgrade() -> None:
    routes = [{"endpoint": "main"}, {"endpoint": "spare"}]
    async with scene(
        SLOW,
        backups={"spare": Plan()},
        models={"m": {**models({}, {})["m"], "routes": routes, "fallback": []}},
    ) as s:
        marks, at = await behind_another_in_turn(s)
        assert marks == []
        assert at > 10


async def behind_another_in_turn(s: Scene) -> tuple[list[tuple[str, str]], float]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(s.engine.complete, "m", "first")
        await trio.sleep(0.1)
        async with s.engine.stream("m", "second") as stream:
            events = [event async for event in stream]
        assert stream.timings.first_token_at is not None
        marks = [(e.target, e.why) for e in events if isinstance(e, Rerouted)]
        return marks, stream.timings.first_token_at


def test_a_downgrade_is_cancelled_at_any_step_and_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine(_config(world)) as eng:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_ask, eng)
                    nursery.start_soon(_ask, eng)
            await wait_quiescent(eng)

    async def _ask(eng: Any) -> None:
        await eng.complete("a", "x", max_tokens=4)

    cancel_at_every_step(scenario, plan=SLOW, most=POINTS[tier])


def _config(world: World) -> EngineConfig:
    first = ModelSettings(
        "a", (Route("sim", "gpt-4.1"),), max_streams=1, fallback=("b",), downgrade_after=1.0
    )
    return world.config(models={"a": first, "b": ModelSettings("b", (Route("sim", "fast"),))})
