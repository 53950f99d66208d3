"""What a refused request leaves behind, however often it is refused: nothing that grows."""

import gc
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from streamnursery import Engine, EngineError, open_engine
from streamnursery.testing import assert_quiescent
from tests.support.scene import virtual

ROUND = 100
PRICED = {"price": {"input": "0", "output": "1000"}}


async def ask(engine: Engine, **fields: Any) -> type[BaseException] | None:
    model = fields.pop("model", "sim/fast")
    try:
        await engine.complete(model, "Hi", **{"max_tokens": 10, **fields})
    except EngineError as error:
        return type(error)
    return None


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "the queue is full": (
        {"engine": {"max_queued": 0}, "models": {"sim/fast": {"max_streams": 1}}},
        {},
        "OverloadedError",
    ),
    "the tenant's queue is full": (
        {"models": {"sim/fast": {"max_streams": 1}}, "tenants": {"a": {"max_queued": 0}}},
        {"tenant": "a"},
        "OverloadedError",
    ),
    "its deadline passes in the queue": (
        {"models": {"sim/fast": {"max_streams": 1}}},
        {"timeout": 0.01},
        "QueueDeadlineError",
    ),
    "a hard budget has no room": (
        {"models": {"sim/fast": PRICED}, "budgets": {"daily": "20"}},
        {"max_tokens": 100_000_000},
        "BudgetExceededError",
    ),
    "a soft budget has no room": (
        {
            "models": {"sim/fast": PRICED},
            "budgets": {"daily": "1", "mode": "soft"},
        },
        {"max_tokens": 2_000},
        "BudgetExceededError",
    ),
    "there is no such model": ({}, {"model": "nothing-like-it"}, "ConfigError"),
    "its model has no price": (
        {
            "endpoints": {"main": {"url": "http://main.example.com/v1"}},
            "models": {"m": {"routes": [{"endpoint": "main"}]}},
            "budgets": {"daily": "1"},
        },
        {"model": "m"},
        "BudgetExceededError",
    ),
}


def tracked() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.every(3)
@pytest.mark.parametrize("why", REFUSALS)
@virtual
async def test_however_often(why: str) -> None:
    config, fields, expected = REFUSALS[why]
    async with open_engine(config, seed=1) as engine:
        async with AsyncExitStack() as stack:
            if "sim/fast" in config.get("models", ()):
                await stack.enter_async_context(engine.lease("sim/fast"))
            counts = []
            for _ in range(4):
                for _ in range(ROUND):
                    found = await ask(engine, **fields)
                    assert found is not None
                    assert found.__name__ == expected, found
                counts.append(tracked())
            assert counts[-1] - counts[1] < ROUND / 4, counts
        await trio.sleep(1)
        assert_quiescent(engine)
