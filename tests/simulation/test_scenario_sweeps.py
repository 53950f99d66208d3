"""Twenty scenarios, each cancelled before every one of its task steps: nothing may be left, and
the engine must go on working."""

import pytest
import trio

from streamnursery import EngineError
from streamnursery.simulator import (
    BadJson,
    BlackHole,
    CloseDelimited,
    CloseIdle,
    Comments,
    Cut,
    CutUpload,
    Delay,
    Drip,
    Garbage,
    HangAfterDone,
    InStreamError,
    Plan,
    Redirect,
    RefuseConnect,
    Reset,
    ResolveFail,
    Rule,
    Split,
    Stall,
    Status,
    When,
)
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent

POINTS = {"test": 5, "proof": 25, "soak": None}

SCENARIOS: dict[str, tuple[Fault, ...]] = {
    "C1 no such name": (ResolveFail(),),
    "C2 refused": (RefuseConnect(),),
    "C3 black hole": (BlackHole(),),
    "C8 keep-alive race": (CloseIdle(after=0.0),),
    "R1 reset upload": (CutUpload(after=0),),
    "H1 429 with a date": (Status(429, retry_after=2),),
    "H3 empty account": (Status(429, error="insufficient_quota"),),
    "H4 503": (Status(503),),
    "H5 401": (Status(401),),
    "H6 html": (Garbage("html"),),
    "H7 redirect": (Redirect("http://elsewhere.example.com/"),),
    "B2 reset before the first token": (Reset(0),),
    "B3 reset after two tokens": (Reset(2),),
    "B5 close-delimited cut": (CloseDelimited(), Cut(2)),
    "B6 silence": (Stall(at=2, seconds=None),),
    "B8 only pings": (Stall(at=0, seconds=None, pings=1.0), Comments(2)),
    "B9 error in the stream": (InStreamError(0),),
    "B10 no JSON": (BadJson(1),),
    "E1 holds the line": (HangAfterDone(None),),
    "a drip in pieces": (Drip(bytes=40, every=0.5), Split((3, 50)), Delay(first_token=1)),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_x2_a_scenario_cancelled_at_any_step_leaves_nothing(name: str, tier: str) -> None:
    plan = Plan((Rule(SCENARIOS[name], When(requests=(1, 2))),))

    async def scenario(world: World, scope: trio.CancelScope) -> None:
        errors: list[EngineError] = []
        async with world.open_engine(world.config(max_streams=1)) as eng:

            async def ask(prompt: str) -> None:
                try:
                    await eng.complete("gpt-4.1", prompt, max_tokens=4, timeout=120)
                except EngineError as error:
                    errors.append(error)

            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, "one")
                    nursery.start_soon(ask, "two")
            await wait_quiescent(eng)
        assert all(error.attempts for error in errors), errors

    report = cancel_at_every_step(scenario, plan=plan, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)
