"""What docs/testing.md shows works."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from streamnursery.testing import World

PAGE = Path(__file__).parents[2] / "docs/testing.md"


def examples() -> dict[str, Any]:
    """Everything that the page's code defines."""
    names: dict[str, Any] = {"__name__": "docs_testing"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_every_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: value for name, value in examples().items() if name.startswith("test_")}
    assert len(found) == 8
    unsound = found.pop("test_an_answer_is_whole_or_an_error")
    with pytest.raises(AssertionError, match="a part of an answer, said to be the whole"):
        unsound()
    for test in found.values():
        if inspect.iscoroutinefunction(test):
            World(0).run(test)
        elif inspect.signature(test).parameters:
            test(1)  # the first case of a parametrised one
        else:
            (settings(max_examples=25)(test) if hasattr(test, "hypothesis") else test)()


def test_the_machine_runs() -> None:
    case = examples()["TestVisitors"]
    case.settings = settings(max_examples=5, stateful_step_count=10)
    case("runTest").runTest()
