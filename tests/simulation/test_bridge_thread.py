"""A call that is given when the engine's run is over, and its thread is not yet."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from streamnursery.bridge.asks import Tell
from streamnursery.bridge.thread import EngineThread
from streamnursery.facade.opening import open_engine
from tests.support.guard import GUARD


def after_the_run(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """Call `then` between the end of the run and all that follows it."""
    run = trio.run

    def run_and_then(*args: Any, **options: Any) -> Any:
        found = run(*args, **options)
        then()
        return found

    monkeypatch.setattr(trio, "run", run_and_then)


def test_a_call_that_comes_when_the_run_is_over_is_failed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    def late() -> None:
        for _ in range(2):
            thread.post(Tell(lambda: told.append("run"), lambda: told.append("over")))
        thread.stop()

    after_the_run(monkeypatch, late)
    thread = EngineThread(open_engine)
    thread.start()
    thread.stop()
    assert thread.join(GUARD)
    assert thread.failure is None
    assert told == ["over", "over"]
