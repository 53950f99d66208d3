"""What an answer is for, when the engine is to choose the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from streamnursery.values.errors import RequestError
from streamnursery.values.request import ChatRequest, Message, make_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamnursery.values.routing_rules import BudgetNeed

AUTO = "auto"
"""The model's name that leaves the choice to the engine."""
_BUDGETS = ("low", "normal", "high")


@attrs.frozen
class TaskProfile:
    """A task: `eng.stream(TaskProfile("Sum this up: ...", complexity=3, budget="low"))`."""

    messages: str | Sequence[Message] = attrs.field(repr=False)
    """A prompt, or messages as in `ChatRequest`."""
    complexity: float = 5
    """From 0, which any model can do, to 10, which asks for the strongest."""
    max_latency: float | None = None
    """Seconds to the first token that are wished for."""
    budget: BudgetNeed = "normal"
    """What the answer may cost; limits in money are those of the budgets."""
    strategy: str | None = None
    """Instead of the default rules: "cheapest", "fastest", "balanced" or "strongest"."""
    max_tokens: int | None = None
    tools: Sequence[Mapping[str, Any]] | None = attrs.field(default=None, repr=False)
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Other fields of `ChatRequest`."""

    def request(self, **more: Any) -> ChatRequest:
        """The request, for a model that is still to be chosen.

        Raises:
            RequestError: naming everything that cannot be used.
        """
        problems = [*_problems(self)]
        if problems:
            raise RequestError("; ".join(problems))
        own = {"max_tokens": self.max_tokens, "tools": self.tools}
        given = {name: value for name, value in own.items() if value is not None}
        return make_request(AUTO, self.messages, **{**self.fields, **given, **more})


def _problems(task: TaskProfile) -> list[str]:
    problems = []
    if not _number(task.complexity) or not 0 <= task.complexity <= 10:
        problems.append(f"complexity must be a number from 0 to 10, not {task.complexity!r}")
    if task.max_latency is not None and not (_number(task.max_latency) and task.max_latency > 0):
        problems.append(f"max_latency must be seconds > 0, not {task.max_latency!r}")
    if task.budget not in _BUDGETS:
        problems.append(f"budget must be one of {', '.join(_BUDGETS)}, not {task.budget!r}")
    if "model" in task.fields:
        problems.append("a task names no model: ask for a model by its name instead")
    return problems


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
